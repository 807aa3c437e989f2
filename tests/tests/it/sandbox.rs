//! An adapter that misbehaves is named for it, and nobody else notices.

use polymeter::adapter::{Adapter, Admission, Context, Decoded, Direction, Fault, Runtime, Transport};
use polymeter::journal::FaultKind;
use polymeter::model::{Civil, Message};
use polymeter_tests::guest::Guest;
use polymeter_tests::hostile::{self, FRAME};
use polymeter_tests::keys::NoKeys;
use std::sync::Arc;

/// As the station does: cut the frame, then decode it.
fn read(adapter: &Adapter, bytes: &[u8]) -> Result<Decoded, Fault> {
    adapter.frame("", bytes)?;
    let context = Context {
        now: Civil(1_710_462_005),
        direction: Direction::Uplink,
        transport: Transport::Stream,
        admission: Admission::Welcome,
        pending: 0,
        device: Some(("12345678", &[1, 2, 3])),
        state: &[4, 5],
    };
    adapter.decode("", &context, bytes)
}

#[test]
fn hostile_calls_are_named_and_felt_by_nobody_else() {
    let runtime = Runtime::new(None).expect("the runtime starts");
    let good = Adapter::load(&runtime, &Guest::new("good").component(), Arc::new(NoKeys)).expect("the good one loads");
    for hostile in hostile::callable() {
        let adapter = Adapter::load(&runtime, &hostile.component, Arc::new(NoKeys)).expect(hostile.name);
        // Twice: the second call finds a fresh instance and must end the same.
        for _ in 0..2 {
            let fault = read(&adapter, FRAME).expect_err(hostile.name);
            let (kind, words) = hostile.fault;
            assert_eq!(fault.kind, kind, "{}: {fault}", hostile.name);
            assert!(fault.detail.contains(words), "{}: {fault}", hostile.name);
            let decoded = read(&good, FRAME).expect("the good one still answers");
            assert_eq!(decoded.messages, [Message::EndOfSession]);
        }
    }
}

#[test]
fn files_that_are_no_adapters_are_refused_by_reason() {
    let runtime = Runtime::new(None).expect("the runtime starts");
    for refused in hostile::refused() {
        let error = Adapter::load_conforming(&runtime, &refused.bytes, Arc::new(NoKeys)).expect_err(refused.name);
        assert!(error.to_string().contains(refused.reason), "{}: {error}", refused.name);
    }
}

#[test]
fn a_worn_instance_is_replaced_without_anybody_noticing() {
    let runtime = Runtime::new(None).expect("the runtime starts");
    // Never frees, so that its memory is full after a while; a fresh instance has room again.
    let leaky = Guest {
        on_decode: "(if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then unreachable))",
        ..Guest::new("leaky")
    };
    let adapter = Adapter::load(&runtime, &leaky.component(), Arc::new(NoKeys)).expect("it loads");
    for call in 0..100 {
        read(&adapter, FRAME).unwrap_or_else(|fault| panic!("call {call}: {fault}"));
    }
}

/// What an adapter has kept for itself must not make a difference; so one that traps on every seventh frame is never noticed,
/// and one that traps over every frame whose number divides by seven loses those alone.
#[test]
fn every_seventh_frame_costs_nobody_anything() {
    let runtime = Runtime::new(None).expect("the runtime starts");
    let counting = Guest {
        extra: "(global $count (mut i32) (i32.const 0))",
        on_decode: "(global.set $count (i32.add (global.get $count) (i32.const 1)))
            (if (i32.eqz (i32.rem_u (global.get $count) (i32.const 7))) (then unreachable))",
        ..Guest::new("counting")
    };
    let numbered = Guest {
        on_decode: "(if (i32.eqz (i32.rem_u (i32.load8_u (i32.add (local.get 12) (i32.const 1))) (i32.const 7)))
            (then unreachable))",
        ..Guest::new("numbered")
    };
    let [counting, numbered] = [counting, numbered]
        .map(|guest| Adapter::load(&runtime, &guest.component(), Arc::new(NoKeys)).expect("it loads"));
    for number in 1..100_u8 {
        let frame = [0x68, number];
        read(&counting, &frame).unwrap_or_else(|fault| panic!("frame {number}: {fault}"));
        let fault = read(&numbered, &frame).err().map(|fault| fault.kind);
        assert_eq!(fault, (number % 7 == 0).then_some(FaultKind::Trap), "frame {number}");
    }
}

/// It keeps to its deadline, and what it takes is put down.
#[test]
fn long_calls_are_accounted_for_and_short_ones_are_not() {
    let runtime = Runtime::new(None).expect("the runtime starts");
    let load = |bytes: &[u8]| Adapter::load(&runtime, bytes, Arc::new(NoKeys)).expect("it loads");
    let (slow, good) = (load(&hostile::slow("slow", "1.0.0", 12)), load(&Guest::new("good").component()));
    for _ in 0..10 {
        // On a busy machine another process may use up its deadline; what it took itself is put down either way.
        if let Err(fault) = read(&slow, b"h1") {
            assert_eq!(fault.kind, FaultKind::Deadline, "{fault}");
        }
        read(&good, FRAME).expect("it is correct");
    }
    assert!(slow.take_long_calls().as_millis() >= 20 && !slow.has_long_calls());
    assert!(good.take_long_calls().as_millis() < 5);
}

#[test]
fn many_threads_and_profiles_share_a_bounded_pool() {
    let runtime = Runtime::new(None).expect("the runtime starts");
    let adapter = Adapter::load(&runtime, &Guest::new("good").component(), Arc::new(NoKeys)).expect("it loads");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for profile in 0..200 {
                    let profile = format!("{{\"number\":{profile}}}");
                    let framing = adapter.frame(&profile, FRAME);
                    assert!(framing.is_ok(), "{framing:?}");
                }
            });
        }
    });
}

#[test]
fn a_fault_of_the_sandbox_is_told_from_a_refusal() {
    assert!(FaultKind::Trap.is_sandbox() && FaultKind::Contract.is_sandbox());
    assert!(!FaultKind::Corrupt.is_sandbox() && !FaultKind::Foreign.is_sandbox());
}
