//! What the station can ask of a device. Wording and units of every field: `wit/commands.wit`.

use super::{ArchiveEntry, Civil, HexBytes, Parameter, ReportPeriod};
use serde::{Deserialize, Serialize};

names! {
    /// What to read.
    ReadScope { Current = "current", Account = "account", Valve = "valve" }
}

names! {
    /// Step of a stored history.
    Interval { Minute = "minute", Hour = "hour", Day = "day", Month = "month" }
}

names! {
    /// What the valve shall do.
    ValveOrder { PermitOpen = "permit-open", CloseTemporary = "close-temporary", CloseForced = "close-forced" }
}

names! {
    /// How the device reaches the station.
    EndpointTransport { Tcp = "tcp", Udp = "udp", Coap = "coap" }
}

names! {
    /// Cipher of a device key.
    KeyCipher { Aes128 = "aes128", Sm4 = "sm4" }
}

names! {
    /// Period over which tariff steps count.
    TariffCycle { Day = "day", Month = "month", TwoMonths = "two-months", Quarter = "quarter", Year = "year" }
}

names! {
    /// How the account stands.
    BalanceLevel { Normal = "normal", Low = "low", Exhausted = "exhausted" }
}

names! {
    /// Why the station ends a session.
    EndReason { Done = "done", Busy = "busy", NotAuthorised = "not-authorised" }
}

/// A command in the unified model. JSON form: `{"read": {"scope": "current"}}`, `{"valve": {…}}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    Read {
        scope: ReadScope,
    },
    ReadHistory {
        interval: Interval,
        first: Civil,
        last: Civil,
    },
    Valve(Valve),
    /// None: the station's clock at the moment of sending.
    SetClock {
        to: Option<Civil>,
    },
    SetSchedule(ScheduleChange),
    SetEndpoint {
        index: u8,
        transport: EndpointTransport,
        host: String,
        port: u16,
        apn: String,
    },
    SetKey {
        slot: String,
        version: u8,
        cipher: KeyCipher,
    },
    SetParameters(Vec<Parameter>),
    ReadParameters(Vec<String>),
    Recharge {
        order_id: u32,
        purchase_count: u16,
        amount: i64,
        volume: i64,
        purchased_total: i64,
    },
    SetTariff(Tariff),
    SyncBalance {
        balance: i64,
        price: u32,
        level: BalanceLevel,
        settled_total: u32,
        settled_at: Civil,
    },
    FirmwareBegin {
        image: u32,
        version: String,
        size: u32,
        block_bytes: u16,
        crc32: u32,
    },
    FirmwareBlock {
        image: u32,
        index: u32,
        data: HexBytes,
    },
    FirmwareActivate {
        image: u32,
        at: Option<Civil>,
    },
    ArchiveAdd(Vec<ArchiveEntry>),
    ArchiveRemove(Vec<String>),
    ArchiveList {
        first: u16,
        count: u8,
    },
    Relay {
        target: String,
        protocol: String,
        channel: u8,
        timeout_s: u8,
        payload: HexBytes,
    },
    EndSession {
        reason: EndReason,
    },
}

/// `order_id` and `valid_until` may be left out in JSON: the station numbers the order and limits it by the command's expiry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Valve {
    pub order: ValveOrder,
    #[serde(default)]
    pub order_id: Option<u32>,
    #[serde(default)]
    pub valid_until: Option<Civil>,
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleChange {
    #[serde(default)]
    pub period: Option<ReportPeriod>,
    #[serde(default)]
    pub minute_of_day: Option<u16>,
    #[serde(default)]
    pub stagger_minutes: Option<u16>,
    #[serde(default)]
    pub awake_minutes: Option<u16>,
    #[serde(default)]
    pub heartbeat_minutes: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    pub plan: u16,
    pub effective: Civil,
    pub on_meter: bool,
    pub cycle: TariffCycle,
    pub cycle_start: Civil,
    pub limits: Vec<u32>,
    pub prices: Vec<u32>,
}

impl Command {
    /// All commands by their contract names, in the contract's order.
    pub const NAMES: [&str; 20] = [
        "read",
        "read-history",
        "valve",
        "set-clock",
        "set-schedule",
        "set-endpoint",
        "set-key",
        "set-parameters",
        "read-parameters",
        "recharge",
        "set-tariff",
        "sync-balance",
        "firmware-begin",
        "firmware-block",
        "firmware-activate",
        "archive-add",
        "archive-remove",
        "archive-list",
        "relay",
        "end-session",
    ];

    /// The command's name in the contract, such as `read-history`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::ReadHistory { .. } => "read-history",
            Self::Valve(_) => "valve",
            Self::SetClock { .. } => "set-clock",
            Self::SetSchedule(_) => "set-schedule",
            Self::SetEndpoint { .. } => "set-endpoint",
            Self::SetKey { .. } => "set-key",
            Self::SetParameters(_) => "set-parameters",
            Self::ReadParameters(_) => "read-parameters",
            Self::Recharge { .. } => "recharge",
            Self::SetTariff(_) => "set-tariff",
            Self::SyncBalance { .. } => "sync-balance",
            Self::FirmwareBegin { .. } => "firmware-begin",
            Self::FirmwareBlock { .. } => "firmware-block",
            Self::FirmwareActivate { .. } => "firmware-activate",
            Self::ArchiveAdd(_) => "archive-add",
            Self::ArchiveRemove(_) => "archive-remove",
            Self::ArchiveList { .. } => "archive-list",
            Self::Relay { .. } => "relay",
            Self::EndSession { .. } => "end-session",
        }
    }

    /// Whether executing it twice could do harm: move a valve, book money, change a reading or lose a key. Such a command is
    /// never repeated unless the adapter says that the device recognises the repetition. A relayed payload may be anything.
    pub fn is_consequential(&self) -> bool {
        matches!(
            self,
            Self::Valve(_)
                | Self::Recharge { .. }
                | Self::SyncBalance { .. }
                | Self::SetTariff(_)
                | Self::SetParameters(_)
                | Self::SetKey { .. }
                | Self::FirmwareActivate { .. }
                | Self::Relay { .. }
        )
    }
}
