//! The unified message model as the station keeps it: ids, times, numbers, messages, commands.
//!
//! A mirror of `wit/` in plain serde types. It knows no wasmtime, no redb and no tokio, so that the journal can be
//! read by anything that can read this module. The binary form (postcard) is part of the journal's format: enums
//! and fields are only ever appended. The JSON form, which scripts rely on, is written by hand in `json`.

#[macro_use]
mod names;

mod bytes;
mod civil;
mod command;
mod distinct;
mod ids;
pub mod json;
mod message;
mod number;
mod record;
mod register;
mod text;

pub use bytes::HexBytes;
pub use civil::{Civil, Day};
pub use command::*;
pub use distinct::check_distinct;
pub use ids::{DeviceKey, Digest, KeyError, KeySlot, NoSlot, Seq, SessionId};
pub use message::*;
pub use number::decimal;
pub use record::{Column, Fields, Flaw, FlawKind, Particulars, Record, bare};
pub use register::{Quality, Quantity, Register, Role, Sample, Series, Unit};
pub use text::{in_a_line, kind_plainly, moves_text, plainly};
