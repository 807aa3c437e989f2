//! What no answer of an adapter exceeds, whatever came: the contract's bounds, and those of its protocol.

use crate::{
    Adapter, AnswerBody, Command, Context, Decoded, Encoded, Fault, Framing, Message, Parameter, ParameterValue,
    Register, Report, Unit, ValveStatus,
};
use std::ops::RangeInclusive;

/// Values of one answer: registers, samples and the series around them, parameters, entries of an archive.
const VALUES_MAX: usize = 8192;
/// Texts and bytes of one answer together.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// The fields are what protocols differ in; what is the same for all is checked beside them. How texts, codes and times have to look
/// is not checked here: the station does.
pub struct Bounds {
    /// Bytes of a frame, at least.
    pub frame_min: usize,
    /// Bytes of a frame, at most: those that came and those that framing still wants.
    pub frame_max: usize,
    /// Every frame names its sender.
    pub named: bool,
    /// Characters of the sender's address.
    pub address: RangeInclusive<usize>,
    pub messages_max: usize,
    /// Registers and samples of one report.
    pub values_max: usize,
    /// So many of them at most for each byte of the frame, if that can be said: the bits of a byte can be eight.
    pub values_per_byte: Option<usize>,
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
        frame_max: 16 * 1024,
        named: false,
        address: 1..=32,
        messages_max: 256,
        values_max: VALUES_MAX,
        values_per_byte: None,
        collected_max: 16 * 1024,
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
        let decoded = adapter.decode(context, frame).inspect_err(|fault| self.said_why(fault))?;
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
        let values = decoded.messages.iter().map(values).sum::<usize>();
        assert!(values <= VALUES_MAX, "{values} values in one answer");
        let said = [&decoded.reply, &decoded.state, &decoded.memory].into_iter().map(|bytes| length(bytes.as_ref()));
        let sender = decoded.sender.as_ref().map_or(0, |sender| sender.address.len());
        within_output(sender + said.sum::<usize>() + decoded.messages.iter().map(output).sum::<usize>());
        Ok(decoded)
    }

    /// A command.
    pub fn encode<A: Adapter>(&self, adapter: &A, context: &Context, command: &Command) -> Result<Encoded, Fault> {
        let encoded = adapter.encode(context, command).inspect_err(|fault| self.said_why(fault))?;
        assert!(encoded.frames.len() <= self.frames_max && encoded.correlation.len() <= 32, "{command:?}: {encoded:?}");
        for frame in &encoded.frames {
            assert!((1..=self.said_max).contains(&frame.len()), "{command:?}: {} bytes", frame.len());
        }
        kept(encoded.state.as_deref(), encoded.memory.as_deref());
        let frames = encoded.frames.iter().map(Vec::len).sum::<usize>();
        within_output(
            frames + encoded.correlation.len() + length(encoded.state.as_ref()) + length(encoded.memory.as_ref()),
        );
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
                let whole = bytes.len() + wanted as usize;
                assert!(wanted > 0 && whole <= self.frame_max, "wants {wanted} after {} bytes", bytes.len());
                None
            }
            Framing::Foreign => None,
        }
    }

    fn report(&self, report: &Report, frame: &[u8]) {
        let values = report.registers.len() + report.series.iter().map(|s| s.samples.len()).sum::<usize>();
        let of_bytes = self.values_per_byte.map_or(usize::MAX, |per_byte| per_byte * frame.len());
        assert!(values <= self.values_max.min(of_bytes), "{values} values of {} bytes", frame.len());
        report.registers.iter().for_each(register);
        assert!(report.series.iter().all(|s| (-18..=18).contains(&s.exponent)), "{report:?}");
        let code = |code: &String| code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(report.alarms.iter().all(code), "{:?}", report.alarms);
    }

    /// The station cuts what is long.
    fn said_why(&self, fault: &Fault) {
        assert!(!fault.detail.is_empty(), "a fault says why: {fault:?}");
        assert!(length(fault.reply.as_ref()) <= self.said_max, "{fault:?}");
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

/// As the station counts them: a series is one itself.
fn values(message: &Message) -> usize {
    let of_report = |report: &Report| {
        report.registers.len() + report.series.iter().map(|series| series.samples.len() + 1).sum::<usize>()
    };
    match message {
        Message::Report(report) => of_report(report),
        Message::Answer(answer) => match &answer.body {
            AnswerBody::Report(report) => of_report(report),
            AnswerBody::Parameters(parameters) => parameters.len(),
            AnswerBody::Archive(page) => page.entries.len(),
            _ => 0,
        },
        _ => 0,
    }
}

/// Bytes of its texts and bytes.
fn output(message: &Message) -> usize {
    let of_valve = |valve: &Option<ValveStatus>| valve.as_ref().and_then(|v| v.reason.as_ref()).map_or(0, String::len);
    let of_report = |report: &Report| {
        let alarms = report.alarms.iter().map(String::len).sum::<usize>();
        report.subject.as_ref().map_or(0, String::len) + of_valve(&report.valve) + alarms
    };
    match message {
        Message::Registration(r) => {
            let texts = [&r.manufacturer, &r.model, &r.hardware, &r.firmware, &r.iccid, &r.imei];
            texts.into_iter().map(String::len).sum()
        }
        Message::Heartbeat(heartbeat) => of_valve(&heartbeat.valve),
        Message::Report(report) => of_report(report),
        Message::Event(event) => event.subject.as_ref().map_or(0, String::len) + event.code.len(),
        Message::Answer(answer) => {
            let body = match &answer.body {
                AnswerBody::Report(report) => of_report(report),
                AnswerBody::Valve(valve) => valve.reason.as_ref().map_or(0, String::len),
                AnswerBody::Parameters(parameters) => parameters.iter().map(of_parameter).sum(),
                AnswerBody::Archive(page) => {
                    page.entries.iter().map(|e| e.address.len() + e.protocol.len() + e.format.len()).sum()
                }
                AnswerBody::Raw(bytes) => bytes.len(),
                _ => 0,
            };
            answer.correlation.len() + answer.reason.len() + body
        }
        Message::Relayed(relayed) => {
            relayed.target.len() + relayed.protocol.len() + relayed.payload.len() + length(relayed.correlation.as_ref())
        }
        Message::EndOfSession => 0,
        Message::Unknown(unknown) => unknown.what.len() + unknown.bytes.len(),
    }
}

fn of_parameter(parameter: &Parameter) -> usize {
    let value = match &parameter.value {
        ParameterValue::Integer(_) => 0,
        ParameterValue::Text(text) => text.len(),
        ParameterValue::Bytes(bytes) => bytes.len(),
    };
    parameter.name.len() + value
}

fn length(bytes: Option<&Vec<u8>>) -> usize {
    bytes.map_or(0, Vec::len)
}

fn within_output(bytes: usize) {
    assert!(bytes <= OUTPUT_BYTES_MAX, "{bytes} bytes of texts and bytes in one answer");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceKind, Quantity, ReportCause};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Answers every frame with these, and framing with what it still wants.
    #[derive(Default)]
    struct Canned {
        wants: u32,
        messages: Vec<Message>,
    }

    impl Adapter for Canned {
        fn configure(_: &str) -> Result<Self, String> {
            Ok(Self::default())
        }

        fn frame(&self, _: &[u8]) -> Framing {
            Framing::Incomplete(self.wants)
        }

        fn decode(&self, _: &Context, _: &[u8]) -> Result<Decoded, Fault> {
            Ok(Decoded::new("1", DeviceKind::Meter, self.messages.clone()))
        }

        fn encode(&self, _: &Context, _: &Command) -> Result<Encoded, Fault> {
            Err(Fault::corrupt("x".repeat(300)))
        }
    }

    fn report(registers: usize) -> Message {
        let register = Register::cumulative(Quantity::Volume, Unit::CubicMetre, 0, 0);
        Report::new(ReportCause::Daily).with_registers(vec![register; registers]).into()
    }

    fn holds(canned: &Canned, bytes: &[u8]) -> bool {
        let context = crate::rehearsal::Dice::new(1).context(0, "1", 1, 1);
        let bounds = Bounds::CONTRACT;
        catch_unwind(AssertUnwindSafe(|| {
            bounds.cut(canned, bytes);
            _ = bounds.decode(canned, &context, bytes);
            _ = bounds.encode(canned, &context, &Command::SetClock(0));
        }))
        .is_ok()
    }

    #[test]
    fn the_contract_is_as_strict_as_the_station() {
        let wants = |wants| Canned { wants, messages: Vec::new() };
        assert!(holds(&wants(16_284), &[0; 100]));
        assert!(!holds(&wants(16_285), &[0; 100]), "no frame is that long");
        assert!(!holds(&wants(0), &[0; 100]));
        let says = |messages| Canned { wants: 1, messages };
        assert!(holds(&says(vec![report(16)]), &[0; 2]), "each bit of two bytes");
        assert!(holds(&says(vec![report(4096); 2]), &[0; 2]));
        assert!(!holds(&says(vec![report(4096), report(4097)]), &[0; 2]), "together they are too many");
        let unknown = |bytes| Message::unknown("x", &vec![0; bytes]);
        assert!(holds(&says(vec![unknown(16_000); 4]), &[0; 2]));
        assert!(!holds(&says(vec![unknown(16_384); 4]), &[0; 2]), "64 KiB and a little");
    }
}
