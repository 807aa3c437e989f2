//! Commands: what was asked of which device, how far it is, and how it ended.
//!
//! ```text
//! commands          u64 id                    -> postcard of CommandRow
//! open_commands     u64 id                    -> ()      those that are not finished, or may be judged by a later report
//! device_commands   (realm/address, u64 id)   -> ()
//! ```

use super::devices::Page;
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::journal::{CommandFact, CommandStep, Fact, Round, Settlement};
use crate::limits;
use crate::model::{AnswerBody, Command, DeviceKey, HexBytes, KeySlot, Outcome, Seq};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

pub(super) const VIEW: &str = "commands";
pub(super) const COMMANDS: TableDefinition<u64, &[u8]> = TableDefinition::new("commands");
pub(super) const OPEN: TableDefinition<u64, ()> = TableDefinition::new("open_commands");
pub(super) const BY_DEVICE: TableDefinition<(&str, u64), ()> = TableDefinition::new("device_commands");

names! {
    /// How far a command is.
    CommandState { Queued = "queued", Sent = "sent", Done = "done", Refused = "refused", Unconfirmed = "unconfirmed", Failed = "failed", Expired = "expired", Cancelled = "cancelled" }
}

impl CommandState {
    /// Nothing more comes.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Unconfirmed)
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CommandRow {
    pub id: u64,
    pub device: DeviceKey,
    /// `None`: the request lies in a day that the journal has dropped.
    pub command: Option<Command>,
    pub by: String,
    pub note: String,
    pub requested_ms: i64,
    pub expires_ms: i64,
    pub state: CommandState,
    /// Why it stands so, where there is more to say.
    pub why: String,
    pub attempts: u8,
    /// The last sending.
    pub sent: Option<Sending>,
    /// The last answer.
    pub answer: Option<Answered>,
    pub steps: Vec<StepRow>,
    /// What people said of it.
    pub settled: Option<Settled>,
    /// Settled, but a report of the device may still say otherwise.
    pub may_be_judged: bool,
    /// Unconfirmed, and a newer order decides how the valve stands: no report tells any more.
    pub overtaken: bool,
    /// The round of a poll that asked.
    pub round: Option<Round>,
    /// The entry that has its request, as it was made or told again; 0: none that is known.
    pub told: Seq,
    /// It waits until this key is set.
    pub lacks: Option<KeySlot>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sending {
    pub session: u64,
    pub correlation: HexBytes,
    pub repeatable: bool,
    pub frames: Vec<HexBytes>,
    pub answer_by_ms: i64,
    /// The carrier whose session it left in, where it was not the device's own.
    pub through: Option<DeviceKey>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Answered {
    pub outcome: Outcome,
    pub reason: String,
    pub raw_code: u32,
    pub body: AnswerBody,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settled {
    pub outcome: Settlement,
    pub by: String,
    pub note: String,
    pub at_ms: i64,
}

/// What happened when; `seq` leads to the whole entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepRow {
    pub seq: Seq,
    pub at_ms: i64,
    /// As `CommandStep::name` has it.
    pub step: String,
}

/// Which commands are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandFilter {
    pub device: Option<DeviceKey>,
    pub state: Option<CommandState>,
    /// Those that are not finished.
    pub open: bool,
}

pub(super) fn get(snapshot: &Snapshot, id: u64) -> Result<Option<CommandRow>> {
    match snapshot.table(COMMANDS)?.get(id).map_err(ViewError::store)? {
        Some(bytes) => unpack(VIEW, bytes.value()).map(Some),
        None => Ok(None),
    }
}

/// Commands that are not finished, or may be judged by a later report, oldest first.
pub(super) fn open(snapshot: &Snapshot) -> Result<Vec<CommandRow>> {
    let commands = snapshot.table(COMMANDS)?;
    let mut rows = Vec::new();
    for row in snapshot.table(OPEN)?.iter().map_err(ViewError::store)? {
        let id = row.map_err(ViewError::store)?.0.value();
        let bytes = commands.get(id).map_err(ViewError::store)?.ok_or(ViewError::Damaged { view: VIEW })?;
        rows.push(unpack(VIEW, bytes.value())?);
    }
    Ok(rows)
}

/// Facts by which commands outlive the entries before this one: of those that wait, and of those that nobody has confirmed.
pub(super) fn standing_before(snapshot: &Snapshot, before: Seq) -> Result<impl Iterator<Item = Fact>> {
    let old = open(snapshot)?.into_iter().filter(move |row| row.told < before);
    Ok(old.filter_map(CommandRow::retold))
}

/// The first number that no command has.
pub(super) fn next_id(snapshot: &Snapshot) -> Result<u64> {
    let table = snapshot.table(COMMANDS)?;
    Ok(table.last().map_err(ViewError::store)?.map_or(1, |(id, _)| id.value() + 1))
}

/// Newest first; `before` is a command's number as the last page gave it.
pub(super) fn list(
    snapshot: &Snapshot,
    filter: &CommandFilter,
    before: Option<&str>,
    rows_max: usize,
) -> Result<Page<CommandRow>> {
    let end = match before {
        Some(place) => place.parse().map_err(|_| ViewError::Place(place.to_owned()))?,
        None => u64::MAX,
    };
    let commands = snapshot.table(COMMANDS)?;
    let mut page = Page { rows: Vec::new(), next: None };
    let mut seen = 0;
    let mut visit = |id: u64| -> Result<bool> {
        if page.rows.len() == rows_max || seen == limits::PAGE_ROWS_MAX * 20 {
            return Ok(false);
        }
        seen += 1;
        page.next = Some(id.to_string());
        let bytes = commands.get(id).map_err(ViewError::store)?.ok_or(ViewError::Damaged { view: VIEW })?;
        let row: CommandRow = unpack(VIEW, bytes.value())?;
        let wanted = filter.state.is_none_or(|state| state == row.state)
            && filter.device.as_ref().is_none_or(|device| *device == row.device)
            && (!filter.open || !row.state.is_final());
        if wanted {
            page.rows.push(row);
        }
        Ok(true)
    };
    let complete = if let Some(device) = &filter.device {
        let table = snapshot.table(BY_DEVICE)?;
        let range = table.range((device.as_str(), 0)..(device.as_str(), end)).map_err(ViewError::store)?;
        walk(range.rev().map(|row| Ok(row.map_err(ViewError::store)?.0.value().1)), &mut visit)?
    } else if filter.open {
        let range = snapshot.table(OPEN)?.range(..end).map_err(ViewError::store)?;
        walk(range.rev().map(|row| Ok(row.map_err(ViewError::store)?.0.value())), &mut visit)?
    } else {
        let range = commands.range(..end).map_err(ViewError::store)?;
        walk(range.rev().map(|row| Ok(row.map_err(ViewError::store)?.0.value())), &mut visit)?
    };
    if complete {
        page.next = None;
    }
    Ok(page)
}

/// Visits until told to stop; tells whether it came to the end.
fn walk(ids: impl Iterator<Item = Result<u64>>, visit: &mut dyn FnMut(u64) -> Result<bool>) -> Result<bool> {
    for id in ids {
        if !visit(id?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Commands that a batch touches.
#[derive(Default)]
pub(super) struct Fold {
    changed: BTreeMap<u64, CommandRow>,
}

impl Fold {
    /// Gives the row as the step leaves it, and its state before.
    pub fn apply(
        &mut self,
        snapshot: &Snapshot,
        fact: &CommandFact,
        seq: Seq,
        at_ms: i64,
    ) -> Result<(&CommandRow, CommandState)> {
        let row = match self.changed.entry(fact.id) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(free) => {
                let blank = || CommandRow::blank(fact.id, fact.device.clone(), at_ms);
                free.insert(get(snapshot, fact.id)?.unwrap_or_else(blank))
            }
        };
        let before = row.state;
        row.apply(&fact.step, seq, at_ms);
        Ok((row, before))
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut commands = txn.open_table(COMMANDS).map_err(ViewError::store)?;
        let mut open = txn.open_table(OPEN).map_err(ViewError::store)?;
        let mut by_device = txn.open_table(BY_DEVICE).map_err(ViewError::store)?;
        for (id, row) in std::mem::take(&mut self.changed) {
            commands.insert(id, &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
            by_device.insert((row.device.as_str(), id), ()).map_err(ViewError::store)?;
            if row.state.is_final() && !row.may_be_judged {
                open.remove(id).map_err(ViewError::store)?;
            } else {
                open.insert(id, ()).map_err(ViewError::store)?;
            }
        }
        Ok(())
    }
}

impl CommandRow {
    pub fn blank(id: u64, device: DeviceKey, at_ms: i64) -> Self {
        Self {
            id,
            device,
            command: None,
            by: String::new(),
            note: String::new(),
            requested_ms: at_ms,
            expires_ms: at_ms,
            state: CommandState::Queued,
            why: String::new(),
            attempts: 0,
            sent: None,
            answer: None,
            steps: Vec::new(),
            settled: None,
            may_be_judged: false,
            overtaken: false,
            round: None,
            told: Seq(0),
            lacks: None,
        }
    }

    /// What the journal must be told before it may drop the entry that has the request, so that this row comes of it again.
    fn retold(self) -> Option<Fact> {
        let command = self.command?;
        let upto = self.steps.last()?.seq.0;
        let last = |step: CommandStep| {
            let at_ms = self.steps.iter().rev().find(|row| row.step == step.name()).map(|row| row.at_ms);
            (at_ms.unwrap_or(self.requested_ms), step)
        };
        let (by, note, expires_ms, round) = (self.by, self.note, self.expires_ms, self.round);
        let mut steps = vec![(self.requested_ms, CommandStep::Requested { command, by, note, expires_ms, round })];
        steps.extend(self.sent.map(|sent| {
            last(CommandStep::Sent {
                attempt: self.attempts,
                session: sent.session,
                correlation: sent.correlation,
                repeatable: sent.repeatable,
                frames: sent.frames,
                memory: None,
                answer_by_ms: sent.answer_by_ms,
                through: sent.through,
            })
        }));
        let is_unconfirmed = self.state == CommandState::Unconfirmed || self.settled.is_some();
        let why = if self.settled.is_some() { String::new() } else { self.why };
        match self.answer {
            // What came late has decided nothing, and decides nothing when it is told again.
            Some(Answered { outcome, reason, raw_code, body })
                if is_unconfirmed && answered(outcome) != CommandState::Unconfirmed =>
            {
                steps.push(last(CommandStep::Unconfirmed { why: why.clone() }));
                steps.push(last(CommandStep::Late { outcome, reason, raw_code, body }));
            }
            Some(Answered { outcome, reason, raw_code, body }) => {
                steps.push(last(CommandStep::Answered { outcome, reason, raw_code, body }));
            }
            None if is_unconfirmed => steps.push(last(CommandStep::Unconfirmed { why: why.clone() })),
            None if self.state == CommandState::Queued && self.attempts > 0 => {
                steps.push(last(CommandStep::TimedOut { attempt: self.attempts }));
            }
            None => {}
        }
        steps.extend(self.lacks.map(|key| last(CommandStep::KeyMissing(key))));
        if self.overtaken {
            steps.push(last(CommandStep::Unconfirmed { why }));
        }
        steps.extend(self.settled.map(|said| {
            let Settled { outcome, by, note, at_ms } = said;
            (at_ms, CommandStep::Settled { outcome, by, note })
        }));
        let step = CommandStep::Retold { steps, upto };
        Some(Fact::Command(CommandFact { id: self.id, device: self.device, step }))
    }

    /// It was told again by the entry `seq`. Where the request is not known any more, this is how it stood after the entry `upto`.
    fn learn(&mut self, steps: &[(i64, CommandStep)], upto: u64, seq: Seq) {
        if self.command.is_some() {
            self.told = seq;
            return;
        }
        let mut row = Self::blank(self.id, self.device.clone(), self.requested_ms);
        steps.iter().for_each(|(at_ms, step)| row.apply(step, seq, *at_ms));
        let mut kept = std::mem::take(&mut self.steps);
        if kept.last().is_some_and(|last| last.seq.0 > upto) {
            // What came while it was told again knows better.
            (row.state, row.why, row.lacks) = (self.state, std::mem::take(&mut self.why), self.lacks.take());
            row.attempts = row.attempts.max(self.attempts);
            row.sent = self.sent.take().or(row.sent);
            row.answer = self.answer.take().or(row.answer);
            row.overtaken |= self.overtaken;
            row.may_be_judged = self.settled.is_some() && matches!(row.command, Some(Command::Valve(_)));
            row.settled = self.settled.take().or(row.settled);
        }
        if !kept.is_empty() {
            row.steps.truncate(1);
            row.steps.append(&mut kept);
        }
        *self = row;
    }

    fn apply(&mut self, step: &CommandStep, seq: Seq, at_ms: i64) {
        if let CommandStep::Retold { steps, upto } = step {
            return self.learn(steps, *upto, seq);
        }
        // The first steps and the last ones tell the story; between them there may be many attempts.
        if self.steps.len() == limits::COMMAND_STEPS_MAX {
            self.steps.remove(limits::COMMAND_STEPS_MAX / 2);
        }
        self.steps.push(StepRow { seq, at_ms, step: step.name().to_owned() });
        if let CommandStep::Late { outcome, reason, raw_code, body } = step {
            // The device's answer is the one that counted.
            self.answer.get_or_insert_with(|| {
                let (outcome, reason, raw_code, body) = (*outcome, reason.clone(), *raw_code, body.clone());
                Answered { outcome, reason, raw_code, body }
            });
            return;
        }
        // What is over stays so: a step that was decided before that and came after it is no more than part of the story.
        if self.state.is_final() && !self.may_be_judged {
            return;
        }
        let first_settled = matches!(step, CommandStep::Settled { .. }) && self.settled.is_none();
        self.may_be_judged = first_settled && matches!(self.command, Some(Command::Valve(_)));
        self.overtaken |= matches!(step, CommandStep::Unconfirmed { .. }) && self.state == CommandState::Unconfirmed;
        let (state, why) = match step {
            CommandStep::Requested { command, by, note, expires_ms, round } => {
                self.told = seq;
                self.command = Some(command.clone());
                self.by.clone_from(by);
                self.note.clone_from(note);
                self.round.clone_from(round);
                (self.requested_ms, self.expires_ms) = (at_ms, *expires_ms);
                (CommandState::Queued, String::new())
            }
            CommandStep::Sent {
                attempt,
                session,
                correlation,
                repeatable,
                frames,
                memory: _,
                answer_by_ms,
                through,
            } => {
                self.attempts = *attempt;
                self.sent = Some(Sending {
                    session: *session,
                    correlation: correlation.clone(),
                    repeatable: *repeatable,
                    frames: frames.clone(),
                    answer_by_ms: *answer_by_ms,
                    through: through.clone(),
                });
                (CommandState::Sent, String::new())
            }
            CommandStep::Answered { outcome, reason, raw_code, body } => {
                let (reason, body) = (reason.clone(), body.clone());
                let state = answered(*outcome);
                let why = why_answered(*outcome, &reason, *raw_code);
                self.answer = Some(Answered { outcome: *outcome, reason, raw_code: *raw_code, body });
                (state, why)
            }
            // Told above.
            CommandStep::Late { .. } => return,
            CommandStep::TimedOut { attempt } => (CommandState::Queued, format!("no answer to attempt {attempt}")),
            CommandStep::Unconfirmed { why } => (CommandState::Unconfirmed, why.clone()),
            CommandStep::Confirmed { evidence, .. } => (CommandState::Done, evidence.clone()),
            CommandStep::Failed { why } => (CommandState::Failed, why.clone()),
            CommandStep::KeyMissing(key) => (CommandState::Queued, key.missing()),
            CommandStep::Expired => (CommandState::Expired, String::new()),
            CommandStep::Cancelled { by } => (CommandState::Cancelled, format!("by {by}")),
            CommandStep::Retold { .. } => return,
            // The station only says that the first one stands.
            CommandStep::Settled { .. } if !first_settled => return,
            CommandStep::Settled { outcome, by, note } => {
                self.settled = Some(Settled { outcome: *outcome, by: by.clone(), note: note.clone(), at_ms });
                let state = match outcome {
                    Settlement::Done => CommandState::Done,
                    Settlement::NotDone => CommandState::Failed,
                };
                (state, format!("settled as {outcome} by {by}: {note}"))
            }
        };
        (self.state, self.why) = (state, why);
        self.lacks = if let CommandStep::KeyMissing(key) = step { Some(key.clone()) } else { None };
    }
}

/// Reasons of wit/codes.md that name none.
const OTHER: &str = "other";
const VENDOR_ERROR: &str = "vendor-error";

/// What an answer says besides its outcome. A code that its adapter has no word for is all that anybody can look up.
pub fn why_answered(outcome: Outcome, reason: &str, raw_code: u32) -> String {
    let is_refusal = !matches!(outcome, Outcome::Done | Outcome::AlreadyDone | Outcome::Accepted);
    let general = if reason.is_empty() { OTHER } else { reason };
    if is_refusal && raw_code != 0 && [OTHER, VENDOR_ERROR].contains(&general) {
        return format!("{general}, code 0x{raw_code:02X}");
    }
    reason.to_owned()
}

/// What a device's answer makes of the command.
fn answered(outcome: Outcome) -> CommandState {
    match outcome {
        Outcome::Done | Outcome::AlreadyDone => CommandState::Done,
        // Its end comes later, as another answer or in a report.
        Outcome::Accepted => CommandState::Unconfirmed,
        Outcome::Refused | Outcome::Unsupported | Outcome::Busy => CommandState::Refused,
        Outcome::Expired => CommandState::Expired,
        Outcome::Failed | Outcome::NoAnswerBehind | Outcome::Other => CommandState::Failed,
    }
}
