//! WTCU (无线传输控制单元), the part of a gas meter that talks: the device side of USP/1 for firmware. No heap, no standard library, no clock,
//! no randomness and no input or output of its own.
//!
//! Two layers. [`Terminal`] knows the protocol: it writes reports, reads what the station says, carries out its orders and keeps what must
//! not be lost. [`Wtcu`] knows the day: it sleeps until its slot, goes on line, registers, reports, waits for orders, has the valve moved, and comes
//! again later when the network is congested. Both are state machines; the integrator does what they say (README).
//!
//! `§` refers to `PROTOCOL.md` of the adapter, whose other end this is. It shares no code with it but the stagger, so that each proves the other.

#![no_std]
#![forbid(unsafe_code)]

mod board;
mod buffer;
mod check;
mod cipher;
mod days;
pub mod frame;
mod image;
mod keyring;
mod machine;
mod orders;
mod parameters;
mod report;
mod schedule;
mod settings;
#[cfg(feature = "sketch")]
pub mod sketch;
mod state;
mod terminal;
pub mod time;

pub use board::{Board, Metrology, Reading, Storage, Upgrade, Valve};
pub use buffer::{Buffer, Reader, Text};
pub use check::{crc16, crc32};
pub use cipher::{Algorithm, Suite};
pub use days::{DAYS_KEPT, Days};
pub use image::IMAGE_BYTES;
pub use keyring::KeyRing;
pub use machine::{Action, Input, Wtcu};
pub use parameters::Parameters;
pub use report::{EVENTS_MAX, Event};
pub use schedule::{Period, Plan, RETRIES_MAX, retry_after_s};
pub use state::{Account, Identity, Motion, Status};
pub use terminal::{Counters, Heard, Ignored, Reply, Terminal};

/// Seconds since 1970-01-01 00:00:00 of the device's own wall clock.
pub type Civil = i64;

/// A frame of the protocol, at most.
pub const FRAME_BYTES_MAX: usize = 1045;
/// A body of it, as on the wire.
pub const BODY_BYTES_MAX: usize = 1024;

/// Result codes (§C).
pub mod result {
    pub const OK: u8 = 0x00;
    pub const MALFORMED: u8 = 0x01;
    pub const UNKNOWN: u8 = 0x02;
    pub const BAD_PARAMETER: u8 = 0x03;
    pub const BUSY: u8 = 0x04;
    pub const NOT_ALLOWED: u8 = 0x05;
    pub const NO_DATA: u8 = 0x06;
    pub const SECURITY: u8 = 0x07;
    pub const VALVE_FAILED: u8 = 0x08;
    pub const STORAGE_FULL: u8 = 0x0B;
    pub const DUPLICATE: u8 = 0x0C;
    pub const EXPIRED: u8 = 0x0D;
    pub const UNSUPPORTED: u8 = 0x0E;
}
