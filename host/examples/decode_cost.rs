//! What a call into an adapter costs, end to end: `cargo run --release --example decode_cost -- FILE.wasm HEX [PROFILE]`.
//!
//! Prints nanoseconds a call, the best of several rounds, for `frame` and for `decode` with a known device. For finding out,
//! not for judging: nothing depends on its numbers.

use anyhow::{Context as _, Result};
use polymeter::adapter::{Adapter, Admission, Context, Direction, Framing, KeyStore, Runtime, Transport};
use polymeter::model::{Civil, DeviceKey};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Short rounds: on a busy machine some of them run undisturbed.
const ROUNDS: u32 = 20_000;
const CALLS: u32 = 20;

struct NoKeys;

impl KeyStore for NoKeys {
    fn key(&self, _: &DeviceKey, _: &str) -> Option<[u8; 16]> {
        None
    }
    fn default_key_in_use(&self, _: &DeviceKey) {}
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let file = args.next().context("which file?")?;
    let frame = hex::decode(args.next().context("which frame?")?)?;
    let profile = args.next().unwrap_or_default();
    let adapter = Adapter::load(&Runtime::new(None)?, &std::fs::read(file)?, Arc::new(NoKeys))?;
    // What the adapter remembers of a device it has met belongs to a known device.
    let met = adapter.decode(&profile, &context(None, &[]), &frame)?;
    let address = met.sender.map(|sender| sender.address);
    let memory = met.memory.unwrap_or_default();
    anyhow::ensure!(matches!(adapter.frame(&profile, &frame)?, Framing::Frame(_)), "not one whole frame");
    let known = context(address.as_deref(), &memory);
    println!("frame  {:>7.0} ns", best(|| drop(black_box(adapter.frame(&profile, black_box(&frame))))));
    println!("decode {:>7.0} ns", best(|| drop(black_box(adapter.decode(&profile, &known, black_box(&frame))))));
    Ok(())
}

fn context<'a>(address: Option<&'a str>, memory: &'a [u8]) -> Context<'a> {
    Context {
        now: Civil(1_710_462_005),
        direction: Direction::Uplink,
        transport: Transport::Stream,
        admission: Admission::Welcome,
        pending: 0,
        device: address.map(|address| (address, memory)),
        state: &[],
    }
}

fn best(call: impl Fn()) -> f64 {
    let round = || {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
