//! Polymeter, the station: modules in layer order, lowest first. Nothing below reaches up.

pub mod background;
pub mod clock;
pub mod limits;
#[macro_use]
pub mod model;

pub mod adapter;
pub mod journal;
pub mod link;
pub mod views;

pub mod lifecycle;

pub mod review;

pub mod command;
pub mod keys;
pub mod metrics;
pub mod records;
pub mod session;

pub mod api;
pub mod web;

pub mod config;
pub mod station;

pub mod cli;
pub mod kit;
