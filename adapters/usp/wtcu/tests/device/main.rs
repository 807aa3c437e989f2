//! The unit as a device among others: whole days against the real adapter, a network that fails, power that is cut at every step.

mod bare;
mod days;
mod noise;
mod power;
mod rig;
mod time;
