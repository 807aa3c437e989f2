//! What a terminal is and how it stands, in the units of the protocol (§C).

use crate::Civil;
use crate::buffer::Text;

/// What it says of itself in 3004.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// 0..=9999
    pub vendor: u16,
    pub model: Text<16>,
    pub hardware: Text<4>,
    pub firmware: Text<8>,
    pub iccid: Text<20>,
    pub imei: Text<15>,
    /// Capability bits of §E; bit 6 is always online.
    pub capabilities: u16,
}

/// SB without its clock and total, which a report fills in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// 0 none, 1 open, 2 temporarily closed, 3 forced closed, 4 unknown, 5 fault, 6 moving.
    pub valve: u8,
    /// Why it is closed.
    pub reason: u8,
    pub battery_mv: Option<u16>,
    pub backup_mv: Option<u16>,
    /// 0.1 dBm
    pub rsrp: Option<i16>,
    /// 0.1 dB
    pub snr: Option<i16>,
    pub csq: Option<u8>,
    pub ecl: u8,
    /// 0.01 °C
    pub temperature: Option<i16>,
    /// 0.1 kPa absolute
    pub pressure: Option<u16>,
    /// 0.001 m³/h
    pub flow: Option<u32>,
    /// 0.01 yuan
    pub balance: Option<i32>,
    pub alarms: u32,
}

impl Status {
    pub const STORAGE_FAULT: u32 = 1 << 18;
    pub const VALVE_FAULT: u32 = 1;

    pub const fn new(valve: u8) -> Self {
        Self {
            valve,
            reason: 0,
            battery_mv: None,
            backup_mv: None,
            rsrp: None,
            snr: None,
            csq: None,
            ecl: 0,
            temperature: None,
            pressure: None,
            flow: None,
            balance: None,
            alarms: 0,
        }
    }
}

/// What 4041 to 4044 keep. Money in 0.01 yuan, prices in 0.0001.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Account {
    pub balance: i32,
    pub price: u32,
    pub level: u8,
    pub settled_total: u32,
    pub settled_at: Option<Civil>,
    pub purchase_count: u16,
    pub plan: u16,
}

/// What the motor is to do. Opening is the user's, never the station's (§G 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Motion {
    Close,
}

/// A valve order that is being carried out: in the image before the motor starts, so that a power cut finds it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intent {
    /// 2 temporary, 3 forced.
    pub order: u8,
    pub id: u32,
    pub reason: u8,
}
