//! Words for the station's log: rate-limited there and cut at 512 bytes. Natively they go to standard error.

pub use crate::bindings::polymeter::adapter::log::Level;

/// For the adapter's author.
pub fn debug(text: &str) {
    write(Level::Debug, text);
}

/// Worth knowing.
pub fn info(text: &str) {
    write(Level::Info, text);
}

/// Somebody should look.
pub fn warn(text: &str) {
    write(Level::Warn, text);
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, text: &str) {
    crate::bindings::polymeter::adapter::log::log(level, text);
}

#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, text: &str) {
    eprintln!("{level:?}: {text}");
}
