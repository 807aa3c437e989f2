//! What an adapter's author needs, and nothing of the station.
//!
//! An adapter implements [`Adapter`] and says `adapter!(Type)`. Built for wasm32 that makes a component; built natively
//! the same crate is an ordinary library, tested in milliseconds with [`vectors`]. The words of the message model are
//! those of `wit/`; their generated Rust types are re-exported here one by one.

mod adapter;
#[doc(hidden)]
pub mod bindings;
mod build;
mod component;
mod fault;
#[cfg(target_arch = "wasm32")]
mod heap;
mod upgrade;

pub mod bcd;
pub mod bytes;
pub mod checksum;
pub mod civil;
pub mod keys;
pub mod log;
pub mod profile;
#[cfg(not(target_arch = "wasm32"))]
pub mod rehearsal;
#[cfg(not(target_arch = "wasm32"))]
pub mod vectors;

pub use adapter::Adapter;
pub use bindings::exports::polymeter::adapter::codec::{
    Admission, Context, Decoded, Device, Direction, Encoded, Fault, FaultKind, Framing, Sender, Transport,
};
pub use bindings::polymeter::adapter::commands::{
    ArchiveRange, BalanceLevel, BalanceSync, Command, EndReason, Endpoint, EndpointTransport, FirmwareActivation,
    FirmwareBlock, FirmwareImage, History, Interval, KeyChange, KeyCipher, ReadScope, Recharge, Relay, ScheduleChange,
    Tariff, TariffCycle, Valve, ValveOrder,
};
pub use bindings::polymeter::adapter::types::{
    Answer, AnswerBody, ArchiveEntry, ArchivePage, Capabilities, Civil, DeviceKind, Event, Heartbeat, Initiator,
    Message, Outcome, Parameter, ParameterValue, Quality, Quantity, Register, Registration, Relayed, Report,
    ReportCause, ReportPeriod, Role, Sample, Schedule, Series, Unit, Unknown, ValveState, ValveStatus,
};

pub use upgrade::Upgrade;

/// For an adapter's options, without a dependency of the adapter's own: `#[serde(crate = "polymeter_sdk::serde")]`.
pub use serde;

/// What `adapter!` expands to; not for use by hand.
#[doc(hidden)]
pub mod __macro {
    pub use crate::bindings::export;
    pub use crate::bindings::upgrading::export_upgrade;
    pub use crate::component::Cell;
}
