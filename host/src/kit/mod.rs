//! The author's kit: what a vendor needs to build, test and try an adapter, without a station or a data directory.

pub mod build;
pub mod decode;
pub mod scaffold;
pub mod show;
pub mod signing;
mod toolchain;
