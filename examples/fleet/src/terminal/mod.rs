//! A meter of any vendor behind one surface: what it says, what that means, and what it makes of the station's words.
//!
//! The protocols' device sides belong to the adapters. Here each frame is put beside its meaning in the contract's
//! words, written down independently of any decoder.

pub mod fengxian;
mod qianwei;
pub mod szrq;
pub mod usp;

use crate::plan::{Occasion, Plan};
use crate::population::{Member, Vendor};
use crate::truth::{Meaning, Met, Reading};
use polymeter::model::{Civil, Schedule};
use std::time::Duration;

/// A frame and its meaning.
#[derive(Clone, Debug)]
pub struct Said {
    pub frame: Vec<u8>,
    /// What its acknowledgement will name. `None`: nothing names it, and whatever the station says next shows that it has it.
    pub key: Option<u64>,
    pub meaning: Meaning,
}

/// How the station takes a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Accepted,
    /// Kept, but against the rules of the conversation.
    OutOfOrder,
    /// The protocol's own code for anything else.
    Refused(i32),
}

/// What the station said.
#[derive(Clone, Debug)]
pub enum Heard {
    Acknowledged {
        key: u64,
        verdict: Verdict,
        clock: Option<Civil>,
        /// Commands follow.
        pending: bool,
    },
    /// `more`: others follow this one.
    Commanded { answer: Vec<u8>, meaning: Meaning, met: Met, more: bool },
    /// `all_done`: everything before it has been taken in; otherwise the station is busy or sends the meter away.
    Farewell { all_done: bool, clock: Option<Civil> },
}

/// Length of the first whole frame in what was received.
pub type Cutter = fn(&[u8]) -> Option<usize>;

/// A meter with its memory.
pub enum Terminal {
    Usp(Box<usp::UspMeter>),
    Qianwei(Box<qianwei::QianweiMeter>),
    Szrq(Box<szrq::SzrqMeter>),
    Fengxian(Box<fengxian::FengxianMeter>),
}

/// After an answer that nothing answers, another command may follow.
const ANSWERED_PATIENCE: Duration = Duration::from_secs(2);
/// A command was announced.
const COMMAND_PATIENCE: Duration = Duration::from_secs(40);

impl Terminal {
    pub fn new(member: &Member) -> Self {
        match member.vendor {
            Vendor::Usp => Self::Usp(Box::new(usp::UspMeter::new(member))),
            Vendor::Qianwei => Self::Qianwei(Box::new(qianwei::QianweiMeter::new(member))),
            Vendor::Szrq => Self::Szrq(Box::new(szrq::SzrqMeter::new(member))),
            Vendor::Fengxian => Self::Fengxian(Box::new(fengxian::FengxianMeter::new(member))),
        }
    }

    /// When it reports, as far as its owner has not been told otherwise.
    pub fn schedule(&self) -> Schedule {
        match self {
            Self::Usp(meter) => meter.schedule(),
            Self::Qianwei(meter) => meter.schedule.clone(),
            Self::Szrq(meter) => meter.schedule.clone(),
            Self::Fengxian(meter) => meter.schedule.clone(),
        }
    }

    /// It introduces itself, where its protocol knows that.
    pub fn registration(&mut self, at: Civil) -> Option<Said> {
        match self {
            Self::Usp(meter) => Some(meter.registration(at)),
            Self::Qianwei(_) | Self::Szrq(_) | Self::Fengxian(_) => None,
        }
    }

    /// What the communication is for.
    pub fn report(&mut self, member: &Member, plan: &Plan, at: Civil) -> Said {
        match (self, plan.occasion) {
            (Self::Usp(meter), Occasion::Abnormal(trouble)) => meter.abnormal(plan, trouble, at),
            (Self::Usp(meter), _) => meter.report(plan, at),
            (Self::Qianwei(meter), _) => meter.report(member, plan, at),
            (Self::Szrq(meter), Occasion::Abnormal(trouble)) => meter.alarm(member, plan, trouble, at),
            (Self::Szrq(meter), _) => meter.report(member, plan, at),
            (Self::Fengxian(meter), _) => meter.report(member, plan, at),
        }
    }

    /// It is still there.
    pub fn heartbeat(&mut self, at: Civil, csq: u8) -> Option<Said> {
        match self {
            Self::Usp(meter) => Some(meter.heartbeat(at, csq)),
            Self::Qianwei(_) | Self::Szrq(_) | Self::Fengxian(_) => None,
        }
    }

    /// Takes one frame of the station, at that time of the meter's clock.
    ///
    /// # Errors
    /// Why a meter would ignore it.
    pub fn hear(&mut self, frame: &[u8], now: Civil) -> Result<Heard, String> {
        match self {
            Self::Usp(meter) => meter.hear(frame, now),
            Self::Qianwei(meter) => meter.hear(frame),
            Self::Szrq(meter) => meter.hear(frame, now),
            Self::Fengxian(meter) => meter.hear(frame),
        }
    }

    /// Finds the length of the first whole frame of the station; bytes before one count as a frame.
    pub fn cutter(&self) -> Cutter {
        match self {
            Self::Usp(_) => usp::UspMeter::cut,
            Self::Qianwei(_) => qianwei::QianweiMeter::cut,
            Self::Szrq(_) => szrq::SzrqMeter::cut,
            Self::Fengxian(_) => fengxian::FengxianMeter::cut,
        }
    }

    /// The station says goodbye in words, and not only by closing.
    pub fn expects_farewell(&self) -> bool {
        matches!(self, Self::Usp(_) | Self::Fengxian(_))
    }

    /// How long it waits for a command: one that was announced, or one that may follow an answer.
    pub fn command_patience(&self, answered: bool) -> Duration {
        if answered && matches!(self, Self::Szrq(_)) { ANSWERED_PATIENCE } else { COMMAND_PATIENCE }
    }
}

pub(crate) fn reading(
    at: Civil,
    quantity: &'static str,
    role: &'static str,
    unit: &'static str,
    mantissa: i64,
    exponent: i8,
) -> Reading {
    Reading { at, quantity, role, unit, mantissa, exponent }
}
