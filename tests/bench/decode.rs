//! Decoding alone: the same adapter and telegram, native and through wasm with every check of the station.

use super::table::{Bound, Table};
use super::telegrams::Device;
use polymeter::adapter::{Adapter, Admission, Context, Direction, KeyStore, Runtime, Transport};
use polymeter::model::{Civil, DeviceKey};
use polymeter_sdk as sdk;
use sdk::Adapter as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: u32 = 200_000;
const STRETCHES: u32 = 40;
const NOW: i64 = 1_710_462_005;

struct NoKeys;

impl KeyStore for NoKeys {
    fn key(&self, _: &DeviceKey, _: &str) -> Option<[u8; 16]> {
        None
    }
    fn default_key_in_use(&self, _: &DeviceKey) {}
}

pub fn compare(table: &mut Table) -> anyhow::Result<()> {
    let file = super::process::target_dir()?.join("adapters/usp.wasm");
    let wasm = Adapter::load(&Runtime::new(None)?, &std::fs::read(file)?, Arc::new(NoKeys))?;
    let native = usp::Usp::configure("{}").map_err(anyhow::Error::msg)?;
    let device = Device(1);
    let cases = [
        ("1 value (3043 daily)", device.daily(2, 1), 2.5),
        ("10 values (3046)", device.history(2, 10), f64::NAN),
        ("31 values (3046)", device.history(2, 31), 4.0),
    ];
    // Both see a registered device in the middle of its session.
    let state = registered_state(&wasm, device);
    for (name, frame, most) in cases {
        let native_us = time(|| drop(black_box(native.decode(&native_context(&state), &frame))));
        let wasm_us = time(|| drop(black_box(wasm.decode("{}", &context(&state), &frame))));
        anyhow::ensure!(wasm.decode("{}", &context(&state), &frame).is_ok(), "{name} does not decode");
        table.row(format!("c native decode, {name}"), native_us, "us", None, None);
        let bound = (!most.is_nan()).then_some(Bound::ValueAtMost(most));
        table.row(format!("c wasm decode, {name}"), wasm_us, "us", Some(wasm_us / native_us), bound);
    }
    Ok(())
}

/// Best of many short stretches, because another process can only make it slower.
fn time(mut call: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..STRETCHES {
        let started = Instant::now();
        for _ in 0..ROUNDS / STRETCHES {
            call();
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS / STRETCHES));
    }
    best
}

fn registered_state(wasm: &Adapter, device: Device) -> Vec<u8> {
    let decoded = wasm.decode("{}", &context(&[]), &device.registration(false));
    decoded.ok().and_then(|d| d.state).unwrap_or_default()
}

fn context(state: &[u8]) -> Context<'_> {
    Context {
        now: Civil(NOW),
        direction: Direction::Uplink,
        transport: Transport::Stream,
        admission: Admission::Welcome,
        pending: 0,
        device: Some(("50000000000001", &[])),
        state,
    }
}

fn native_context(state: &[u8]) -> sdk::Context {
    sdk::Context {
        now: NOW,
        direction: sdk::Direction::Uplink,
        transport: sdk::Transport::Stream,
        admission: sdk::Admission::Welcome,
        pending: 0,
        device: Some(sdk::Device { address: "50000000000001".into(), memory: Vec::new() }),
        state: state.to_vec(),
    }
}
