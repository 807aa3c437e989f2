//! One adapter for each way to misbehave, and what the station must say of it.

use crate::guest::{Guest, MESSAGES, RESULT, decoded, register, report, series};
use crate::keys::NoKeys;
use polymeter::adapter::{Adapter, Admission, Context, Direction, Runtime, Transport};
use polymeter::journal::FaultKind;
use polymeter::kit::build::pack;
use polymeter::model::Civil;
use std::sync::Arc;
use std::time::Instant;

/// A frame that every guest here takes as its own.
pub const FRAME: &[u8] = &[0x68, 1, 2, 3];

/// An adapter that loads, and then does something to whoever calls it.
pub struct Hostile {
    pub name: &'static str,
    pub component: Vec<u8>,
    /// The fault of its first `decode`, and words that must be in its detail.
    pub fault: (FaultKind, &'static str),
}

/// A file that must not become an adapter.
pub struct Refused {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// Words that must be in the reason.
    pub reason: &'static str,
}

/// Those that are found out when they are called.
pub fn callable() -> Vec<Hostile> {
    let mut all = busy();
    all.extend(absurd());
    all
}

/// They take time, memory or table.
fn busy() -> Vec<Hostile> {
    vec![
        code("endless-loop", "(loop $again (br $again))", "", (FaultKind::Deadline, "deadline")),
        code("trap", "unreachable", "", (FaultKind::Trap, "unreachable")),
        code("out-of-bounds", "(drop (i32.load (i32.const -4)))", "", (FaultKind::Trap, "out of bounds memory access")),
        code(
            "memory-eater",
            "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
            "",
            (FaultKind::Resources, "linear memory"),
        ),
        code(
            "table-bomb",
            "(loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable",
            "(table $t 1 funcref)",
            (FaultKind::Resources, "table elements"),
        ),
        code(
            "key-hoarder",
            "(loop $again (call $open (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 64)) (br $again))",
            r#"(import "polymeter:adapter/keys@1.0.0" "[static]key.open" (func $open (param i32 i32 i32 i32 i32 i32)))"#,
            (FaultKind::Resources, "too many key calls"),
        ),
        code(
            "log-flood",
            "(loop $again (call $log (i32.const 2) (i32.const 0) (i32.const 65536)) (br $again))",
            r#"(import "polymeter:adapter/log@1.0.0" "log" (func $log (param i32 i32 i32)))"#,
            (FaultKind::Deadline, "deadline"),
        ),
        code(
            "recursion",
            "(call $deeper)",
            "(func $deeper (call $deeper) (call $deeper))",
            (FaultKind::Resources, "stack"),
        ),
    ]
}

/// They return what the contract does not allow.
fn absurd() -> Vec<Hostile> {
    let contract = |words| (FaultKind::Contract, words);
    let messages = |count| vec![(RESULT, decoded(None, MESSAGES, count))];
    // Reports that all point at one long list: small in the guest, boundless in whoever believes it.
    let mut echo = messages(60);
    for copy in 0..60 {
        echo.push((MESSAGES + copy * crate::guest::MESSAGE_BYTES, report((0, 0), (40_000, 1))));
    }
    echo.push((40_000, series((65_536, 12_000))));
    // As many values as are allowed, each as long as an entry could have it: eight reports of one list.
    let mut endless_numbers = messages(8);
    for copy in 0..8 {
        endless_numbers.push((MESSAGES + copy * crate::guest::MESSAGE_BYTES, report((8_192, 1_000), (0, 0))));
    }
    endless_numbers.push((8_192, crate::guest::longest_register().repeat(1_000)));
    let with_register = |exponent| {
        let mut memory = messages(1);
        memory.extend([(MESSAGES, report((8_192, 1), (0, 0))), (8_192, register(exponent))]);
        memory
    };
    let state = || {
        let mut result = decoded(None, 0, 0);
        result[40] = 1;
        result[44..48].copy_from_slice(&2_048_u32.to_le_bytes());
        result[48..52].copy_from_slice(&4_097_u32.to_le_bytes());
        vec![(RESULT, result)]
    };
    let address = |bytes: &[u8]| vec![(RESULT, decoded(Some((512, bytes.len() as u32)), 0, 0)), (512, bytes.to_vec())];
    vec![
        data("huge-list", messages(100_000_000), contract("out of bounds")),
        data("million-messages", messages(1_000_000), contract("out of bounds")),
        data("too-many-messages", messages(400), contract("400 messages")),
        data("echo", echo, contract("too much data")),
        data("endless-numbers", endless_numbers, contract("bytes in the journal")),
        data("huge-state", state(), contract("state")),
        data("invalid-enum", [messages(1), vec![(MESSAGES, vec![200])]].concat(), contract("discriminant")),
        data("invalid-utf8", address(&[0xff, 0xfe]), contract("utf-8")),
        data("absurd-address", address(b"a meter with a very long name indeed"), contract("address")),
        data("absurd-exponent", with_register(100), contract("exponent is 100")),
        frame("frame-too-long", "(local.set $bytes (i32.const 1000000))", contract("frame(1000000)")),
        frame("frame-of-nothing", "(local.set $bytes (i32.const 0))", contract("frame(0)")),
    ]
}

/// Those that never get so far as to be called.
pub fn refused() -> Vec<Refused> {
    let good = Guest::new("good").component();
    let wasi = Guest { imports: "import wasi:random/random@0.2.0;", extra: WASI, ..Guest::new("wasi") };
    let other = Guest { contract: "2.0.0", ..Guest::new("other-contract") };
    let bomb = Guest { extra: "(table 10000000 funcref)", ..Guest::new("table-at-load") };
    // A file of a few kilobytes that wants four gigabytes to begin with.
    let memory_bomb = Guest { pages: 65_536, ..Guest::new("memory-at-load") };
    let module = Guest::new("module");
    let empty = wat::parse_str("(component)").expect("an empty component");
    vec![
        Refused { name: "garbage", bytes: b"not a component at all".to_vec(), reason: "not a WebAssembly component" },
        Refused { name: "empty", bytes: Vec::new(), reason: "not a WebAssembly component" },
        Refused { name: "truncated", bytes: good[..good.len() / 2].to_vec(), reason: "not a WebAssembly component" },
        Refused { name: "core-module", bytes: module.module(), reason: "core module" },
        Refused { name: "nameless", bytes: empty, reason: "no `polymeter:manifest` section" },
        Refused { name: "wasi", bytes: wasi.component(), reason: "imports `wasi:random/random@0.2.0`" },
        Refused { name: "other-contract", bytes: other.component(), reason: "built for contract 2.0.0" },
        Refused { name: "no-codec", bytes: without_exports(), reason: "does not fulfil the contract" },
        Refused { name: "table-at-load", bytes: bomb.component(), reason: "table" },
        Refused { name: "memory-at-load", bytes: memory_bomb.component(), reason: "memory" },
        Refused {
            name: "malformed-section",
            bytes: with_malformed_section(&good),
            reason: "not a WebAssembly component",
        },
        Refused { name: "wrong-vectors", bytes: with_wrong_vector(), reason: "fails its own vectors" },
    ]
}

const WASI: &str = r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func (result i64)))"#;

fn code(name: &'static str, on_decode: &'static str, extra: &'static str, fault: (FaultKind, &'static str)) -> Hostile {
    let guest = Guest { on_decode, extra, ..Guest::new(name) };
    Hostile { name, component: guest.component(), fault }
}

fn frame(name: &'static str, on_frame: &'static str, fault: (FaultKind, &'static str)) -> Hostile {
    let guest = Guest { on_frame, ..Guest::new(name) };
    Hostile { name, component: guest.component(), fault }
}

fn data(name: &'static str, memory: Vec<(u32, Vec<u8>)>, fault: (FaultKind, &'static str)) -> Hostile {
    let guest = Guest { memory, ..Guest::new(name) };
    Hostile { name, component: guest.component(), fault }
}

/// Correct, and so slow that every decode takes about so many milliseconds of this machine. The last digit of its device's
/// number is the second byte of the frame, as text.
pub fn slow(name: &'static str, version: &'static str, ms: u64) -> Vec<u8> {
    const TRIED: u64 = 2_000_000;
    let guest = |turns: u64| {
        let on_decode = format!(
            "(i32.store8 (i32.const 519) (i32.load8_u (i32.add (local.get 12) (i32.const 1))))
             (local.set 0 (i64.const {turns}))
             (loop $again
                (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
                (br_if $again (i64.ne (local.get 0) (i64.const 0))))"
        );
        // A handful of texts in the life of a test.
        Guest { version, on_decode: on_decode.leak(), ..Guest::new(name) }.component()
    };
    let runtime = Runtime::new(None).expect("the runtime starts");
    let adapter = Adapter::load(&runtime, &guest(TRIED), Arc::new(NoKeys)).expect("it loads");
    let time = || {
        let begun = Instant::now();
        adapter.decode("", &CONTEXT, &[0x68, b'1']).expect("it is correct");
        begun.elapsed()
    };
    let least = (0..10).map(|_| time()).min().unwrap_or_default().as_nanos().max(1) as u64;
    guest((TRIED * ms * 1_000_000 / least).max(1))
}

const CONTEXT: Context<'_> = Context {
    now: Civil(1_710_462_005),
    direction: Direction::Uplink,
    transport: Transport::Stream,
    admission: Admission::Welcome,
    pending: 0,
    device: None,
    state: &[],
};

/// The first section says that it is longer than the file.
fn with_malformed_section(good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    bytes.splice(9..10, [0xff, 0xff, 0xff, 0x7f]);
    bytes
}

/// A component with a manifest, and nothing behind it.
fn without_exports() -> Vec<u8> {
    let manifest = serde_json::to_string(&Guest::new("no-codec").manifest()).expect("a manifest is JSON");
    let text = format!("(component (@custom \"polymeter:manifest\" \"{}\"))", manifest.replace('"', "\\\""));
    wat::parse_str(text).expect("the text is a component")
}

fn with_wrong_vector() -> Vec<u8> {
    let guest = Guest::new("wrong-vectors");
    let vectors = serde_json::json!([{
        "provenance": "made up",
        "vectors": [{"name": "ends differently", "frame": "68010203", "expect": {"messages": [{"type": "heartbeat"}]}}],
    }]);
    pack(&guest.module(), &guest.manifest(), Some(&vectors)).expect("a guest is a component")
}
