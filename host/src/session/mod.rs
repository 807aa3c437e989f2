//! One conversation with one peer.

pub mod machine;
pub mod registry;
pub mod stagger;
