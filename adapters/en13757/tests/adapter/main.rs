//! The adapter against its vectors, the public corpus, its own device side, and noise.

mod conversation;
mod corpus;
mod framing;
mod fuzz;
mod security;
mod station;
mod vectors;
mod xml;
