//! The adapter from outside: its vectors, its framing, whole conversations with the device's side, and bytes at random.

mod conversation;
mod framing;
mod fuzz;
mod station;
mod vectors;
