//! A fleet of simulated gas meters that talks to a station over real sockets, and then checks the station's books.
//!
//! Who is there: `population`, with `gauge` (what each has measured) and `plan` (what happens to it, and when).
//! How it lives: `time`, `world`, `life`, `conversation` over a `wire`, speaking through `terminal`.
//! Who is asked: `estate`, meters behind concentrators and correctors behind DTUs.
//! What is true: `truth` (each meter's own books), `orders` (the utility's side), `check` (both against the API).
//! Around it: `station` (a real station as a child process), `api` (its HTTP client), `edition` (another version of an
//! adapter's file), `fleet` (a whole run), `demo` and `progress` for people.

pub mod api;
pub mod check;
pub mod conversation;
pub mod demo;
pub mod edition;
pub mod estate;
pub mod fleet;
pub mod gauge;
pub mod life;
pub mod orders;
pub mod plan;
pub mod population;
pub mod progress;
pub mod station;
pub mod terminal;
pub mod time;
pub mod truth;
pub mod wire;
pub mod world;
