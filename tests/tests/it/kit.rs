//! `polymeter adapter decode` and what it rests on, without a compiler: guests are written by hand.

use fleet::station::bundled_adapters;
use polymeter::adapter::{Adapter, Runtime, Transport};
use polymeter::kit::decode::{Decoder, SlotKeys, read_line};
use polymeter::kit::{build, show};
use polymeter::limits::HEX_LINE_BYTES_MAX;
use polymeter::model::Civil;
use polymeter_tests::guest::{Guest, MESSAGES, RESULT, decoded};
use polymeter_tests::keys::NoKeys;
use polymeter_tests::scratch::Scratch;
use serde_json::{Value, json};
use std::io::Cursor;
use std::sync::Arc;
use usp::device::{Cipher, Device, Suite};

const NOW: Civil = Civil(1_710_462_005);

fn decoder(guest: &Guest) -> Decoder {
    let runtime = Runtime::new(None).expect("the runtime starts");
    let adapter = Adapter::load(&runtime, &guest.component(), Arc::new(NoKeys)).expect("the guest loads");
    Decoder::new(adapter, "{}".into(), Transport::Stream)
}

/// Its frames are the 4 bytes after a 0x68; zeros before one are skipped.
fn framed() -> Guest {
    Guest {
        on_frame: "
            (if (i32.eqz (i32.load8_u (local.get $at)))
              (then (i32.store8 (i32.const 128) (i32.const 1)) (i32.store (i32.const 132) (i32.const 1))
                    (return (i32.const 128))))
            (if (i32.lt_u (local.get $bytes) (i32.const 4))
              (then (i32.store8 (i32.const 128) (i32.const 0))
                    (i32.store (i32.const 132) (i32.sub (i32.const 4) (local.get $bytes)))
                    (return (i32.const 128))))
            (local.set $bytes (i32.const 4))",
        ..Guest::new("framed")
    }
}

#[test]
fn every_line_is_a_result_or_a_fault() {
    let mut decoder = decoder(&framed());
    let good = json!({"sender": {"address": "12345678", "kind": "meter"}, "messages": [{"type": "end-of-session"}]});
    let with = |key: &str, digits: &str| {
        let mut value = good.clone();
        value[key] = digits.into();
        value
    };
    let fault = |kind: &str, detail: &str| json!({"fault": {"kind": kind, "detail": detail}});
    for (line, expected) in [
        ("", Value::Null),
        ("   \r", Value::Null),
        ("# a comment", Value::Null),
        ("68010203", good.clone()),
        ("  68 01 02 03 \r\n", good.clone()),
        ("68 0A 0b 0C", good.clone()),
        ("0000 68010203", with("before", "0000")),
        ("68010203 ffee", with("after", "ffee")),
        ("68 01", fault("incomplete", "at least 2 more bytes are wanted")),
        ("680102030", fault("bad-hex", "9 hex digits; two make a byte")),
        ("68 01 0g 03", fault("bad-hex", "`g` at digit 6 is no hex digit")),
        ("68 01 0é 3", fault("bad-hex", "`é` at digit 6 is no hex digit")),
        ("aabbccdd", fault("foreign", "these bytes are another protocol's")),
        ("68010203", good.clone()),
    ] {
        let found = decoder.line(line, NOW).unwrap_or(Value::Null);
        assert_eq!(found, expected, "{line:?}");
    }
    assert_eq!(decoder.line("000000", NOW).expect("a fault")["fault"]["kind"], "noise");
}

#[test]
fn the_first_frame_is_decoded_twice_and_state_is_carried() {
    // Counts its calls in the session's state: the first, undecided, pass must leave none behind.
    let counting = Guest {
        on_decode: "
            (i32.store8 (i32.const 1064) (i32.const 1))
            (i32.store (i32.const 1068) (i32.const 600))
            (i32.store (i32.const 1072) (i32.add (local.get 11) (i32.const 1)))
            (i32.store8 (i32.const 513) (i32.add (i32.const 0x30) (local.get 11)))
            (i32.store8 (i32.const 514) (i32.add (i32.const 0x30) (local.get 3)))",
        memory: vec![
            (RESULT, decoded(Some((530, 1)), MESSAGES, 1)),
            (512, b"c??".to_vec()),
            (530, b"m".to_vec()),
            (MESSAGES, unknown(512, 3)),
        ],
        ..Guest::new("counting")
    };
    let mut decoder = decoder(&counting);
    let what = |value: Option<Value>| value.expect("a result")["messages"][0]["what"].clone();
    // Length of the state, then the admission: 1 is welcome.
    for expected in ["c01", "c11", "c21"] {
        assert_eq!(what(decoder.line("68", NOW)), expected);
    }
}

/// A session that is sealed knows nothing of who speaks next.
#[test]
fn a_telegram_of_another_sender_is_judged_by_his_own_memory() {
    let runtime = Runtime::new(None).expect("the runtime starts");
    let file = bundled_adapters().expect("bundled adapters").into_iter().find(|path| path.ends_with("usp.wasm"));
    let bytes = std::fs::read(file.expect("the unified protocol's")).expect("it can be read");
    let keys = SlotKeys([("1".to_owned(), [7; 16])].into());
    let adapter = Adapter::load(&runtime, &bytes, Arc::new(keys)).expect("the adapter loads");
    let mut decoder = Decoder::new(adapter, "{}".into(), Transport::Stream);
    let (mut sealed, mut plain) = (Device::meter("50001234567810"), Device::meter("50001234567811"));
    sealed.set_key(Suite { cipher: Cipher::Aes128, version: 1 }, [7; 16]);
    let now = NOW.0;
    for (telegram, from) in [
        (sealed.registration(now), Some("50001234567810")),
        (plain.registration(now), Some("50001234567811")),
        (plain.daily(now, &[]), Some("50001234567811")),
        (sealed.daily(now, &[]), Some("50001234567810")),
    ] {
        let said = decoder.line(&hex::encode(telegram), NOW).expect("a result");
        assert_eq!(said["sender"]["address"].as_str(), from, "{said}");
    }
    // Who has sealed and does no more is not somebody else.
    let forged = Device::meter("50001234567810").daily(now, &[]);
    assert_eq!(decoder.line(&hex::encode(forged), NOW).expect("a fault")["fault"]["kind"], "not-authentic");
}

/// A `message` of bytes that were not understood, named by a text at this place.
fn unknown(at: u32, bytes: u32) -> Vec<u8> {
    let mut message = vec![0; 144];
    message[0] = 7;
    message[8..12].copy_from_slice(&at.to_le_bytes());
    message[12..16].copy_from_slice(&bytes.to_le_bytes());
    message
}

#[test]
fn lines_are_bounded() {
    let long = "6".repeat(3 * HEX_LINE_BYTES_MAX);
    let mut input = Cursor::new(format!("ab\n{long}\ncd\nlast"));
    let lines: Vec<_> = std::iter::from_fn(|| read_line(&mut input).expect("memory can be read")).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!((lines[0].as_str(), lines[2].as_str(), lines[3].as_str()), ("ab\n", "cd\n", "last"));
    assert_eq!(lines[1].len(), HEX_LINE_BYTES_MAX + 1);
    let marked = read_line(&mut "\u{feff}# a comment\n".as_bytes()).expect("memory can be read");
    assert_eq!(marked.as_deref(), Some("# a comment\n"), "without the mark before it");
    let mut decoder = decoder(&framed());
    assert_eq!(decoder.line(&lines[1], NOW).expect("a fault")["fault"]["kind"], "bad-hex");
}

#[test]
fn people_get_the_same_facts() {
    let outcome = json!({
        "sender": {"address": "12345678", "kind": "meter"},
        "messages": [{
            "type": "report", "cause": "daily", "alarms": ["low-battery"], "more_follows": true,
            "registers": [{"quantity": "working-volume", "value": "1234.56", "unit": "cubic-metre", "role": "cumulative"}],
            "valve": {"state": "open"},
        }],
        "reply": "68",
    });
    let text = show::telegram(1, &outcome);
    for part in [
        "telegram 1 of meter 12345678",
        "report  alarms=low-battery  cause=daily  more_follows",
        "1234.56 cubic-metre  role=cumulative",
        "valve  state=open",
        "reply: 68",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[test]
fn a_misspelt_manifest_key_is_an_error() {
    let scratch = Scratch::new();
    let manifest = "name = \"a\"\nvendor = \"v\"\nversion = \"1.0.0\"\ncontract = \"1.0.0\"\nrealm = \"r\"\n";
    scratch.write("crate/adapter.toml", manifest.as_bytes());
    assert_eq!(build::read_manifest(&scratch.path("crate")).expect("it is right").name, "a");
    for (extra, expected) in [
        ("modles = []\n", "unknown key `modles`"),
        ("[session]\nreports-per-sesion = 1\n", "unknown key `reports-per-sesion`"),
        ("[profile]\npattern = \"a\"\n", "does not know `pattern"),
        ("[session]\nregistration = \"sometimes\"\n", "sometimes"),
        ("[address]\ncharacters = \"digits\"\nlengths = [2]\nexample = \"1\"\n", "`1` is not 2 digits"),
        ("[address]\ncharacters = \"digits\"\nlengths = [1]\nexample = \"1\"\nword = \"no\"\n", "unknown key `word`"),
    ] {
        scratch.write("crate/adapter.toml", format!("{manifest}{extra}").as_bytes());
        let error = build::read_manifest(&scratch.path("crate")).map(drop).expect_err(expected);
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
}
