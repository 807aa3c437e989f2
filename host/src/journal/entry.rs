//! What one journal entry says. Part of the file format: variants and fields are only ever appended.

use super::{AdapterFact, Part, ProfileFact};
use crate::model::{AnswerBody, Civil, Command, DeviceKey, Digest, HexBytes, KeySlot, Message, Outcome, Record, Seq};
use serde::{Deserialize, Serialize};

/// One fact, and when the station learned it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// UTC, milliseconds since 1970.
    pub at_ms: i64,
    pub fact: Fact,
}

/// Everything the station learns or decides.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// Bytes from a peer and what they meant.
    Frame(FrameFact),
    /// A step in the life of a command.
    Command(CommandFact),
    /// A step in the life of an adapter.
    Adapter(AdapterFact),
    /// A kept frame, decoded again by another adapter.
    Redecoded {
        frame: u64,
        adapter: Digest,
        outcome: FrameOutcome,
        /// Who sent it, as the other adapter reads it.
        device: Option<DeviceKey>,
        /// As in `AdapterRef`.
        profile: String,
        /// 0: the frame. Otherwise a part of what the entry `frame` says was behind its sender.
        part: u32,
    },
    /// An operator lets a held device in, or names one in advance.
    DeviceAdopted {
        device: DeviceKey,
        by: String,
    },
    /// A key was set; the bytes are sealed under the station's master key. `None`: removed.
    KeySet {
        device: String,
        slot: String,
        sealed: Option<HexBytes>,
        by: String,
    },
    /// An API token was made; only its SHA-256 is kept.
    TokenSet {
        name: String,
        role: Role,
        hash: Digest,
        by: String,
    },
    TokenRevoked {
        name: String,
        by: String,
    },
    /// An adapter wants something else remembered of a device, outside of any frame or command.
    Remembered {
        device: DeviceKey,
        memory: HexBytes,
    },
    /// A frame means something else than was thought; what was told before stays, marked as superseded.
    Corrected {
        frame: u64,
        /// The entry that told its meaning until now: the frame's own, a `Redecoded` or a `Corrected`.
        before: u64,
        adapter: AdapterRef,
        device: Option<DeviceKey>,
        outcome: FrameOutcome,
        by: String,
        why: String,
    },
    /// Records of the device registry, many at a time.
    Registry(RegistryFact),
    /// What its adapter wanted remembered of a device is forgotten: the device was reset or exchanged.
    Forgotten {
        device: DeviceKey,
        by: String,
        why: String,
    },
    /// How devices are spoken to.
    Profile(ProfileFact),
    /// A round of a poll begins, or has asked everybody.
    Poll(PollFact),
    /// As `Corrected`, of what nobody could read until now, or of a part of a carrier's frame.
    Reread {
        /// The entry that has its bytes.
        frame: u64,
        /// As in `Redecoded`.
        part: u32,
        /// As in `Corrected`; `frame` itself where that told it, or could not be read.
        before: u64,
        adapter: AdapterRef,
        device: Option<DeviceKey>,
        outcome: FrameOutcome,
        by: String,
        why: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// May look.
    Viewer,
    /// May send commands.
    Operator,
    /// May change adapters, keys and tokens.
    Admin,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FrameFact {
    /// The listener's name in the configuration.
    pub listener: String,
    /// Address of the peer.
    pub peer: String,
    pub session: u64,
    /// `None`: the frame did not tell, or nobody could read it.
    pub device: Option<DeviceKey>,
    /// `None`: no adapter of the listener knew these bytes.
    pub adapter: Option<AdapterRef>,
    pub raw: HexBytes,
    pub outcome: FrameOutcome,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AdapterRef {
    pub name: String,
    pub digest: Digest,
    /// Name of the profile, as `name@version` where it has versions; empty: the adapter's default.
    pub profile: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum FrameOutcome {
    Decoded {
        messages: Vec<Message>,
        /// What the adapter wants remembered of the device; `None`: unchanged.
        memory: Option<HexBytes>,
        /// A repetition inside one session: counted, not applied.
        duplicate: bool,
        /// The device is unknown and the policy says hold: kept, not applied until adopted.
        held: bool,
        /// What it brought of devices behind its sender.
        behind: Vec<Part>,
    },
    /// Kept in quarantine.
    Fault { kind: FaultKind, detail: String },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// No adapter of the listener takes these bytes.
    Foreign,
    NotMine,
    Corrupt,
    NotAuthentic,
    Unsupported,
    OutOfRange,
    /// The adapter trapped.
    Trap,
    /// The adapter ran past its deadline.
    Deadline,
    /// The adapter asked for more memory or table than allowed.
    Resources,
    /// The adapter's answer broke the contract (too long, impossible, invalid).
    Contract,
    /// The device is refused by policy.
    Refused,
    /// Bytes that belong to no frame.
    Noise,
}

/// Commands are named by a number that only grows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CommandFact {
    pub id: u64,
    pub device: DeviceKey,
    pub step: CommandStep,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum CommandStep {
    Requested {
        command: Command,
        by: String,
        note: String,
        expires_ms: i64,
        /// The round of a poll that asks; `None`: somebody does.
        round: Option<Round>,
    },
    /// Written before the first byte leaves, so a crash can never send it again unnoticed.
    Sent {
        attempt: u8,
        session: u64,
        correlation: HexBytes,
        repeatable: bool,
        frames: Vec<HexBytes>,
        memory: Option<HexBytes>,
        answer_by_ms: i64,
        /// The carrier in whose session it left; the frames are then those within its envelopes.
        through: Option<DeviceKey>,
    },
    Answered {
        outcome: Outcome,
        reason: String,
        raw_code: u32,
        body: AnswerBody,
    },
    /// No answer in time; it will be sent again.
    TimedOut {
        attempt: u8,
    },
    /// Sent, no answer, and not safe to repeat: the outcome is unknown until the device's state tells.
    Unconfirmed {
        why: String,
    },
    /// A later report shows the state that was ordered.
    Confirmed {
        frame: u64,
        evidence: String,
    },
    /// It never left, or gave up: says why.
    Failed {
        why: String,
    },
    Expired,
    Cancelled {
        by: String,
    },
    /// Somebody went and looked, or decided: what counts as the outcome of an unconfirmed command. A second one only says
    /// that no report will tell any more.
    Settled {
        outcome: Settlement,
        by: String,
        note: String,
    },
    /// It cannot be encoded for want of a key, and waits until there is one.
    KeyMissing(KeySlot),
    /// What was sent in the same session and had been given up, or of a valve only accepted, is answered after all. It is told and
    /// decides nothing.
    Late {
        outcome: Outcome,
        reason: String,
        raw_code: u32,
        body: AnswerBody,
    },
    /// Told again before the day that told it is dropped: steps, with their times, that lead to where it stood after the entry
    /// `upto`. It says nothing new where its request is still known.
    Retold {
        steps: Vec<(i64, CommandStep)>,
        upto: u64,
    },
}

/// One round of a poll: its name in the configuration, and when the round was due, on the fleet's wall clock.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Round {
    pub poll: String,
    pub due: Civil,
}

/// How far a round is. What it asked are commands that name it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PollFact {
    pub round: Round,
    pub step: PollStep,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PollStep {
    /// By whom; empty: its schedule.
    Begun { by: String },
    /// Everybody whom it wants was asked.
    Asked,
    /// It was not held.
    Skipped { why: String },
}

names! {
    /// What people say became of a command that nobody confirmed.
    Settlement { Done = "done", NotDone = "not-done" }
}

/// What is said of devices together, and holds together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RegistryFact {
    /// New, or another than before.
    pub set: Vec<Record>,
    pub withdrawn: Vec<DeviceKey>,
    pub by: String,
    /// Told again before the journal drops the day on which it was said: `None`: said now.
    pub retold: Option<Retold>,
}

/// Which entry said it first, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Retold {
    /// The entry that is about to go.
    pub seq: Seq,
    /// When it was first said, UTC milliseconds.
    pub at_ms: i64,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Whether this role includes the other one.
    pub fn includes(self, other: Self) -> bool {
        self as u8 >= other as u8
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("`{text}` is no role; there are viewer, operator and admin"))
    }
}

impl FaultKind {
    /// Whether the sandbox stopped the adapter, rather than the adapter refusing the frame.
    pub fn is_sandbox(self) -> bool {
        matches!(self, Self::Trap | Self::Deadline | Self::Resources | Self::Contract)
    }

    /// Its name in metrics, logs and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::NotMine => "not-mine",
            Self::Corrupt => "corrupt",
            Self::NotAuthentic => "not-authentic",
            Self::Unsupported => "unsupported",
            Self::OutOfRange => "out-of-range",
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Resources => "resources",
            Self::Contract => "contract",
            Self::Refused => "refused",
            Self::Noise => "noise",
        }
    }
}

impl CommandStep {
    /// The names of all of them, in their order; the last one is of the journal's own.
    pub const NAMES: [&str; 13] = [
        "requested",
        "sent",
        "answered",
        "timed-out",
        "unconfirmed",
        "confirmed",
        "failed",
        "expired",
        "cancelled",
        "settled",
        "key-missing",
        "answered-late",
        "retold",
    ];

    /// Its name in metrics, logs and JSON.
    pub fn name(&self) -> &'static str {
        let at = match self {
            Self::Requested { .. } => 0,
            Self::Sent { .. } => 1,
            Self::Answered { .. } => 2,
            Self::TimedOut { .. } => 3,
            Self::Unconfirmed { .. } => 4,
            Self::Confirmed { .. } => 5,
            Self::Failed { .. } => 6,
            Self::Expired => 7,
            Self::Cancelled { .. } => 8,
            Self::Settled { .. } => 9,
            Self::KeyMissing(_) => 10,
            Self::Late { .. } => 11,
            Self::Retold { .. } => 12,
        };
        Self::NAMES[at]
    }
}
