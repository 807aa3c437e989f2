//! What no answer of an adapter exceeds, whatever came: the contract's bounds, and those of its protocol.

use crate::{Adapter, AnswerBody, Command, Context, Decoded, Encoded, Fault, Framing, Message, Register, Report, Unit};
use std::ops::RangeInclusive;

/// The fields are what protocols differ in; what is the same for all is checked beside them.
pub struct Bounds {
    /// Bytes of a frame, at least.
    pub frame_min: usize,
    /// Bytes that framing says it still wants.
    pub wanted_max: u32,
    /// Every frame names its sender.
    pub named: bool,
    /// Characters of the sender's address.
    pub address: RangeInclusive<usize>,
    pub messages_max: usize,
    /// Registers and samples of one report.
    pub values_max: usize,
    /// Bytes of what is unknown, if it is put together of several frames. It is never more than its frame otherwise.
    pub collected_max: usize,
    /// Bytes of what says which.
    pub what_max: usize,
    /// Frames of one command.
    pub frames_max: usize,
    /// Bytes of such a frame and of a reply.
    pub said_max: usize,
}

impl Bounds {
    /// What a station takes of anybody.
    pub const CONTRACT: Self = Self {
        frame_min: 1,
        wanted_max: 16 * 1024,
        named: false,
        address: 1..=32,
        messages_max: 256,
        values_max: 8192,
        collected_max: 0,
        what_max: 512,
        frames_max: 16,
        said_max: 16 * 1024,
    };

    /// Arbitrary bytes as the beginning of a stream, and as a datagram, which is decoded as it is, whatever framing says. Returns what
    /// became of them.
    pub fn hear<A: Adapter>(&self, adapter: &A, context: &Context, bytes: &[u8]) -> Vec<Decoded> {
        let cut = self.cut(adapter, bytes).filter(|frame| frame.len() < bytes.len());
        let frames = cut.into_iter().chain([bytes]);
        frames.filter_map(|frame| self.decode(adapter, context, frame).ok()).collect()
    }

    /// One frame.
    pub fn decode<A: Adapter>(&self, adapter: &A, context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
        let decoded = adapter.decode(context, frame).inspect_err(said_why)?;
        assert!(!self.named || decoded.sender.is_some(), "every frame names its sender");
        if let Some(sender) = &decoded.sender {
            assert!(self.address.contains(&sender.address.len()), "{sender:?}");
        }
        assert!(decoded.reply.as_ref().is_none_or(|reply| (1..=self.said_max).contains(&reply.len())), "{decoded:?}");
        kept(decoded.state.as_deref(), decoded.memory.as_deref());
        assert!(decoded.messages.len() <= self.messages_max, "{} messages", decoded.messages.len());
        for message in &decoded.messages {
            match message {
                Message::Report(report) => self.report(report, frame),
                Message::Answer(answer) => {
                    assert!(answer.correlation.len() <= 32, "{answer:?}");
                    if let AnswerBody::Report(report) = &answer.body {
                        self.report(report, frame);
                    }
                }
                Message::Unknown(unknown) => {
                    let bytes_max = frame.len().max(self.collected_max);
                    assert!(unknown.bytes.len() <= bytes_max && unknown.what.len() <= self.what_max, "{unknown:?}");
                }
                _ => {}
            }
        }
        Ok(decoded)
    }

    /// A command.
    pub fn encode<A: Adapter>(&self, adapter: &A, context: &Context, command: &Command) -> Result<Encoded, Fault> {
        let encoded = adapter.encode(context, command).inspect_err(said_why)?;
        assert!(encoded.frames.len() <= self.frames_max && encoded.correlation.len() <= 32, "{command:?}: {encoded:?}");
        for frame in &encoded.frames {
            assert!((1..=self.said_max).contains(&frame.len()), "{command:?}: {} bytes", frame.len());
        }
        kept(encoded.state.as_deref(), encoded.memory.as_deref());
        Ok(encoded)
    }

    /// The frame that framing sees at the start of arbitrary bytes, if any. What is skipped or wanted is never nothing, nor more
    /// than there is or can be.
    fn cut<'a, A: Adapter>(&self, adapter: &A, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match adapter.frame(bytes) {
            Framing::Frame(length) => {
                assert!((self.frame_min..=bytes.len()).contains(&(length as usize)), "a frame of {length} bytes");
                Some(&bytes[..length as usize])
            }
            Framing::Skip(length) => {
                assert!((1..=bytes.len()).contains(&(length as usize)), "skips {length}");
                None
            }
            Framing::Incomplete(wanted) => {
                assert!((1..=self.wanted_max).contains(&wanted), "wants {wanted}");
                None
            }
            Framing::Foreign => None,
        }
    }

    fn report(&self, report: &Report, frame: &[u8]) {
        let values = report.registers.len() + report.series.iter().map(|s| s.samples.len()).sum::<usize>();
        assert!(values <= self.values_max.min(frame.len()), "{values} values of {} bytes", frame.len());
        report.registers.iter().for_each(register);
        assert!(report.series.iter().all(|s| (-18..=18).contains(&s.exponent)), "{report:?}");
        let code = |code: &String| code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(report.alarms.iter().all(code), "{:?}", report.alarms);
    }
}

fn register(register: &Register) {
    let times = -2_208_988_800..=10_413_791_999;
    let time = register.exponent == 0 && times.contains(&register.mantissa);
    let number = (-18..=18).contains(&register.exponent);
    assert!(if register.unit == Unit::CivilSecond { time } else { number }, "{register:?}");
}

fn kept(state: Option<&[u8]>, memory: Option<&[u8]>) {
    assert!(state.is_none_or(|state| state.len() <= 4096), "{state:?}");
    assert!(memory.is_none_or(|memory| memory.len() <= 256), "{memory:?}");
}

fn said_why(fault: &Fault) {
    assert!((1..=200).contains(&fault.detail.len()), "{fault:?}");
}
