//! What people and scripts see of a station: its HTTP API, its page and the command line, against a real station on free
//! ports, with real files. Device conversations are tested elsewhere; here devices are entries in the journal.

mod access;
mod adapters;
mod cli;
mod commands;
mod credentials;
mod description;
mod devices;
mod files;
mod http;
mod outside;
mod registry;
mod served;
