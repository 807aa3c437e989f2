//! What a simulated meter measures and how it stands, and its two report bodies. Numbers are as on the wire.

use polymeter_sdk::{Civil, civil};

/// Why a report is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportKind {
    Scheduled,
    Manual,
    Alarm,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Valve {
    Absent,
    Open,
    ClosedTemporary,
    ClosedForced,
    Unknown,
    Fault,
}

impl Valve {
    pub const fn number(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Open => 1,
            Self::ClosedTemporary => 2,
            Self::ClosedForced => 3,
            Self::Unknown => 4,
            Self::Fault => 5,
        }
    }
}

/// Everything a report says. The default is a healthy meter with an open valve; its values are those of the sheet's example.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// 1 diaphragm, 2 Roots, 3 ultrasonic, 4 turbine, 5 other.
    pub meter_type: u16,
    pub valve: Valve,
    /// 0.1 m³
    pub working_total: u32,
    /// 0.1 m³
    pub standard_total: u32,
    pub standard_flow: Option<u32>,
    /// 0.01 °C
    pub temperature: Option<i16>,
    /// 0.1 kPa
    pub pressure: Option<i16>,
    /// 0.01 yuan
    pub balance: i32,
    pub settled_reading: u32,
    pub settled_at: Option<Civil>,
    pub alarms: u32,
    pub reserved_alarms: u32,
    /// 0.01 V
    pub dry_battery: i16,
    /// 0.01 V
    pub lithium_battery: i16,
    /// 0.1 dBm
    pub rsrp: i16,
    /// 0.1 dB
    pub snr: i16,
    pub earfcn: u16,
    pub cell: [u8; 6],
    pub physical_cell: i16,
    pub ecl: u8,
    pub firmware: [u8; 4],
    /// 0.01 yuan, told when the account is read.
    pub purchased_total: u32,
    /// 0.01 yuan per m³
    pub price: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            meter_type: 1,
            valve: Valve::Open,
            working_total: 123_456,
            standard_total: 120_011,
            standard_flow: None,
            temperature: None,
            pressure: None,
            balance: 0,
            settled_reading: 0,
            settled_at: None,
            alarms: 0,
            reserved_alarms: 0,
            dry_battery: 600,
            lithium_battery: 360,
            rsrp: -950,
            snr: 125,
            earfcn: 2506,
            cell: [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB],
            physical_cell: 321,
            ecl: 0,
            firmware: *b"0102",
            purchased_total: 0,
            price: 0,
        }
    }
}

impl State {
    /// Body of 7021.
    pub(super) fn single(&self, read_at: Civil, kind: ReportKind) -> Vec<u8> {
        let mut body = Vec::with_capacity(73);
        body.extend_from_slice(&self.meter_type.to_le_bytes());
        body.extend_from_slice(&bcd6(read_at));
        body.push(match kind {
            ReportKind::Scheduled => 0,
            ReportKind::Manual => 1,
            ReportKind::Alarm => 2,
        });
        self.block(&mut body);
        body
    }

    /// The known part of 7022's body.
    pub(super) fn packed(&self, read_at: Civil, sent_at: Civil) -> Vec<u8> {
        let mut body = Vec::with_capacity(78);
        body.extend_from_slice(&self.meter_type.to_le_bytes());
        body.extend_from_slice(&bcd6(read_at));
        body.extend_from_slice(&bcd6(sent_at));
        self.block(&mut body);
        body
    }

    fn block(&self, body: &mut Vec<u8>) {
        body.push(self.valve.number());
        body.extend_from_slice(&self.working_total.to_le_bytes());
        body.extend_from_slice(&self.standard_total.to_le_bytes());
        body.extend_from_slice(&self.standard_flow.unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&self.temperature.unwrap_or(-1).to_le_bytes());
        body.extend_from_slice(&self.pressure.unwrap_or(-1).to_le_bytes());
        body.extend_from_slice(&self.balance.to_le_bytes());
        body.extend_from_slice(&self.settled_reading.to_le_bytes());
        body.extend_from_slice(&self.settled_at.map_or([0; 6], bcd6));
        body.extend_from_slice(&self.alarms.to_le_bytes());
        body.extend_from_slice(&self.reserved_alarms.to_le_bytes());
        for value in [self.dry_battery, self.lithium_battery, self.rsrp, self.snr] {
            body.extend_from_slice(&value.to_le_bytes());
        }
        body.extend_from_slice(&self.earfcn.to_le_bytes());
        body.extend_from_slice(&self.cell);
        body.extend_from_slice(&self.physical_cell.to_le_bytes());
        body.push(self.ecl);
        body.extend_from_slice(&self.firmware);
        body.extend_from_slice(&[0, 0]);
    }
}

/// All zero, unset, outside 2000..2099.
pub(super) fn bcd6(at: Civil) -> [u8; 6] {
    civil::to_bcd6(at).unwrap_or_default()
}
