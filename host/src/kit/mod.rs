//! The author's kit: what a vendor needs to build, test and try an adapter, without a station or a data directory.

pub mod bench;
pub mod build;
pub mod capture;
pub mod check;
pub mod decode;
pub mod replay;
pub mod scaffold;
pub mod show;
pub mod signing;
mod toolchain;
pub mod trial;
