//! One conversation with one peer.
