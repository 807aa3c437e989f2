//! What the integration tests are built from.

pub mod guest;
pub mod hostile;
pub mod keys;
pub mod scratch;
