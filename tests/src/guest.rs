//! Adapters written by hand in WebAssembly text, for what no compiler would ever emit.
//!
//! A guest is a core module with the contract's exports; `component` makes it a component that describes itself, just as
//! `polymeter adapter build` does. Offsets of records in its memory follow the canonical ABI of `wit/`.

use polymeter::adapter::Manifest;
use polymeter::kit::build::pack;
use std::path::Path;
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// Where `decode` leaves its result, and where the messages of it lie.
pub const RESULT: u32 = 1024;
pub const MESSAGES: u32 = 4096;
/// `list<message>` has elements of this size.
pub const MESSAGE_BYTES: u32 = 144;

/// A guest that decodes every frame starting with 0x68 to whatever lies at `RESULT`.
pub struct Guest {
    pub name: &'static str,
    /// Instructions run at the start of `decode`.
    pub on_decode: &'static str,
    /// Instructions run at the start of `frame`.
    pub on_frame: &'static str,
    /// Instructions run at the start of `configure`; its parameters are the profile's place and length.
    pub on_configure: &'static str,
    /// Linear memory that it begins with, in pages of 64 KiB.
    pub pages: u32,
    /// More fields of the module.
    pub extra: &'static str,
    /// More imports of the world, in WIT.
    pub imports: &'static str,
    /// What lies in memory from the start.
    pub memory: Vec<(u32, Vec<u8>)>,
    pub version: &'static str,
    pub contract: &'static str,
    pub release: u64,
    pub vendor: &'static str,
    pub realm: &'static str,
    pub state_version: u32,
    /// JSON schema of its profile.
    pub schema: &'static str,
}

impl Guest {
    /// A well-behaved one: the device 12345678 ends its session.
    pub fn new(name: &'static str) -> Self {
        let end_of_session = 6;
        Self {
            name,
            on_decode: "",
            on_frame: "",
            on_configure: "",
            pages: 4,
            extra: "",
            imports: "",
            memory: vec![
                (RESULT, decoded(Some((512, 8)), MESSAGES, 1)),
                (512, b"12345678".to_vec()),
                (MESSAGES, vec![end_of_session]),
            ],
            version: "1.0.0",
            contract: "1.0.0",
            release: 0,
            vendor: "polymeter",
            realm: "test",
            state_version: 1,
            schema: "null",
        }
    }

    pub fn component(&self) -> Vec<u8> {
        pack(&self.module(), &self.manifest(), None).expect("a guest is a component")
    }

    pub fn manifest(&self) -> Manifest {
        let manifest = serde_json::json!({
            "name": self.name, "vendor": self.vendor, "version": self.version, "contract": "1.0.0", "realm": self.realm,
            "release": self.release, "state-version": self.state_version,
            "profile": serde_json::from_str::<serde_json::Value>(self.schema).expect("JSON"),
        });
        let mut manifest = Manifest::parse(manifest.to_string().as_bytes()).expect("the manifest is valid");
        self.contract.clone_into(&mut manifest.contract);
        manifest
    }

    /// The core module, with the world it implements as the SDK would note it.
    pub fn module(&self) -> Vec<u8> {
        let data: String = self
            .memory
            .iter()
            .map(|(at, bytes)| {
                let bytes: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
                format!("(data (i32.const {at}) \"{bytes}\")\n")
            })
            .collect();
        let text = TEMPLATE
            .replace("PAGES", &self.pages.to_string())
            .replace(";;extra", self.extra)
            .replace(";;decode", self.on_decode)
            .replace(";;frame", self.on_frame)
            .replace(";;configure", self.on_configure)
            .replace(";;data", &data);
        let mut module = wat::parse_str(text).expect("the text is WebAssembly");
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        resolve.push_dir(wit).expect("the contract parses");
        if !self.imports.is_empty() {
            resolve.push_str("foreign.wit", FOREIGN).expect("the foreign interface parses");
        }
        let world =
            format!("package test:guest; world guest {{ include polymeter:adapter/adapter@1.0.0; {} }}", self.imports);
        let package = resolve.push_str("guest.wit", &world).expect("the guest's world parses");
        let world = resolve.select_world(&[package], Some("guest")).expect("there is one world");
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("the world can be noted");
        module
    }
}

/// Reads its frames right and takes a million rounds for each, about a millisecond; so many vectors show it.
pub fn slow(vectors: usize) -> Vec<u8> {
    let on_decode = "(local $n i32) (local.set $n (i32.const 1000000))
        (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let guest = Guest { on_decode, ..Guest::new("slow") };
    let vector = serde_json::json!({"name": "it ends", "frame": "68010203",
        "expect": {"sender": {"address": "12345678", "kind": "meter"}, "messages": [{"type": "end-of-session"}]}});
    let vectors = serde_json::json!([{"provenance": "made up", "vectors": vec![vector; vectors]}]);
    pack(&guest.module(), &guest.manifest(), Some(&vectors)).expect("a component")
}

/// `result<decoded, fault>`: ok, with a sender's address and a list of messages, and nothing else.
pub fn decoded(sender: Option<(u32, u32)>, messages: u32, count: u32) -> Vec<u8> {
    let mut record = vec![0; 68];
    if let Some((at, bytes)) = sender {
        record[4] = 1;
        put(&mut record, 8, at);
        put(&mut record, 12, bytes);
    }
    put(&mut record, 20, messages);
    put(&mut record, 24, count);
    record
}

/// A `message` that is a report with these registers and series, by address and count.
pub fn report(registers: (u32, u32), series: (u32, u32)) -> Vec<u8> {
    let mut message = vec![0; MESSAGE_BYTES as usize];
    message[0] = 2;
    put(&mut message, 8 + 32, registers.0);
    put(&mut message, 8 + 36, registers.1);
    put(&mut message, 8 + 40, series.0);
    put(&mut message, 8 + 44, series.1);
    message
}

/// The same of somebody for whom the sender speaks, whose address lies there.
pub fn report_of(subject: (u32, u32), registers: (u32, u32)) -> Vec<u8> {
    let mut message = report(registers, (0, 0));
    message[8] = 1;
    put(&mut message, 8 + 4, subject.0);
    put(&mut message, 8 + 8, subject.1);
    message
}

/// A `register` of working volume with this exponent.
pub fn register(exponent: i8) -> Vec<u8> {
    let mut register = vec![0; 48];
    register[4] = exponent.cast_unsigned();
    register
}

/// A `register` of working volume that is this much.
pub fn volume(mantissa: i64, exponent: i8) -> Vec<u8> {
    const CUBIC_METRE: u8 = 1;
    let mut register = register(exponent);
    register[1] = CUBIC_METRE;
    register[8..16].copy_from_slice(&mantissa.to_le_bytes());
    register
}

/// A `register` of which every number is as long as it can be.
pub fn longest_register() -> Vec<u8> {
    const CIVIL_MIN: i64 = -2_208_988_800;
    let mut register = volume(i64::MIN, -18);
    register[16] = 1;
    register[24..32].copy_from_slice(&CIVIL_MIN.to_le_bytes());
    register[32..44].fill(0xff);
    register
}

/// A `message` that is relayed: its protocol and its payload, by address and length.
pub fn relayed(protocol: (u32, u32), payload: (u32, u32)) -> Vec<u8> {
    let mut message = vec![0; MESSAGE_BYTES as usize];
    message[0] = 5;
    put(&mut message, 8 + 8, protocol.0);
    put(&mut message, 8 + 12, protocol.1);
    put(&mut message, 8 + 20, payload.0);
    put(&mut message, 8 + 24, payload.1);
    message
}

/// A `series` of working volume with samples by address and count.
pub fn series(samples: (u32, u32)) -> Vec<u8> {
    let mut series = vec![0; 24];
    put(&mut series, 16, samples.0);
    put(&mut series, 20, samples.1);
    series
}

fn put(record: &mut [u8], at: usize, value: u32) {
    record[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Something that no adapter may import.
const FOREIGN: &str = "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }";

/// Arguments of a call are written behind 64 KiB and forgotten at the next.
const TEMPLATE: &str = r#"
(module
  ;;extra
  (memory (export "memory") PAGES)
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func $forget (global.set $next (i32.const 65536)))
  (func (export "configure") (param i32 i32) (result i32)
    ;;configure
    (call $forget)
    (i32.const 256))
  (func (export "polymeter:adapter/codec@1.0.0#frame") (param $at i32) (param $bytes i32) (result i32)
    ;;frame
    (call $forget)
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x68))
      (then (i32.store8 (i32.const 128) (i32.const 2)))
      (else (i32.store8 (i32.const 128) (i32.const 3))))
    (i32.store (i32.const 132) (local.get $bytes))
    (i32.const 128))
  (func (export "polymeter:adapter/codec@1.0.0#decode")
    (param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    ;;decode
    (call $forget)
    (i32.const 1024))
  (func (export "polymeter:adapter/codec@1.0.0#encode") (param i32) (result i32)
    (call $forget)
    (i32.const 384))
  ;;data
)
"#;
