//! The station as devices and users meet it: a real process, real sockets, the real adapters. One module a theme:
//! `rules` of a conversation, `unknown` devices, `commands` and what becomes of them, `hot_load` of an adapter under open
//! connections, `lifecycle` of adapters (swaps under load, going back, trust, quarantine), `profiles` that change under open sessions, `reviews` of one version
//! against another, `power_cuts` under load, `damaged` bytes on every listener, a `full_disk`, `lost_files` of the journal, the device `registry`, `relays` to meters behind
//! a concentrator, `polls` that ask by themselves, a whole simulated fleet (`fleet_run`), devices that come through `tls`, by
//! `coap` and `mqtt`, frames that come together through `gateways`, recorded `traffic` said again, and what `upgrades` of an adapter take over.

mod coap;
mod commands;
mod damaged;
mod fleet_run;
mod full_disk;
mod gateways;
mod hot_load;
mod lifecycle;
mod lost_files;
mod mqtt;
mod nested;
mod polls;
mod power_cuts;
mod profiles;
mod registry;
mod relays;
mod reviews;
mod rules;
mod tls;
mod traffic;
mod unknown;
mod upgrades;
