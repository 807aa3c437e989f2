//! What the integration tests are built from.
//!
//! `site` starts, kills and restarts a real station; `peer` is a device's socket, `authority` its TLS, `coap` its CoAP, `broker` a
//! gateway's MQTT; `books` reads what a station wrote down; `usp` and `qianwei` put the adapters' device sides on one; `behind`
//! has the meters behind a concentrator. `guest` and `hostile` make adapters, `keys` holds theirs, `shop` keeps their lifecycle
//! without a station, `scratch` is a directory, `warm` spares one station compiling what another has compiled. Nothing here
//! measures time: waiting is bounded by patience, and patience is generous.

pub mod authority;
pub mod behind;
pub mod books;
pub mod broker;
pub mod coap;
pub mod guest;
pub mod hostile;
pub mod keys;
pub mod peer;
pub mod qianwei;
pub mod scratch;
pub mod shop;
pub mod site;
pub mod usp;
pub mod warm;
