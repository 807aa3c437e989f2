//! The contract as Rust types, generated from `wit/`, and its translation to and from the model.
//!
//! Nothing outside `adapter/` sees a generated type. `customs` checks everything that comes out of a guest; `lower`
//! dresses what goes in, without copying, `upgrade` is what a guest may also export.

mod customs;
mod lower;
mod upgrade;

pub use customs::is_kebab;
pub(super) use customs::{Violation, decoded, encoded, fault, framing};
pub(super) use generated::Adapter as Bindings;
pub(super) use generated::polymeter::adapter::{keys, log};
pub(super) use lower::{Lists, command, context};
pub(super) use upgrade::{Kept, Linked};

use generated::exports::polymeter::adapter::codec;
use generated::polymeter::adapter::{commands, types};

mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "adapter",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "polymeter:adapter/keys.key": crate::adapter::cipher::Key },
    });
}

#[cfg(test)]
mod tests;
