//! Commands: asked for here, sent when the device is there, followed to their end.

use super::auth::{Operator, Viewer};
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::forms;
use super::moments::instant;
use super::paging::{Page, Paged};
use super::requests::{Body, Device, Named, Query};
use super::{find, look, shown_all, to_the_end};
use crate::command::{Order, Refusal};
use crate::journal::{CommandFact, CommandStep, Fact, Settlement};
use crate::limits;
use crate::model::{Command, DeviceKey, Outcome, json};
use crate::session::Services;
use crate::views::{self, CommandFilter, CommandState};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

/// What to ask of which device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCommand {
    /// `realm/address`.
    #[schema(value_type = String, example = "usp/50001234567810")]
    pub device: DeviceKey,
    #[schema(schema_with = forms::schema)]
    pub command: Value,
    /// How long it may wait for the device, seconds; the default depends on the command. A valve order that would end in an hour
    /// that the clocks show twice ends before it, and says so in its note.
    #[serde(default)]
    pub expires_s: Option<u64>,
    /// Kept with the command, for those who ask later.
    #[serde(default)]
    pub note: String,
}

/// A command that is durable.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// Ask `/commands/{id}` what becomes of it.
    pub id: u64,
}

/// A command and how it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CommandRow {
    pub id: u64,
    pub device: String,
    /// Its name in the contract.
    #[schema(example = "valve")]
    pub name: String,
    /// As it was asked for, with what the station added.
    #[schema(value_type = Object)]
    pub command: Value,
    /// queued, sent, unconfirmed, done, refused, failed, expired or cancelled.
    pub state: &'static str,
    /// Nothing more will happen to it.
    pub finished: bool,
    /// Who asked: the name of the token.
    pub by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    pub requested: String,
    pub expires: String,
    pub attempts: u8,
    /// The device's answer, by the contract's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// Why it stands so, or what it waits for besides its device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What people said of it when nobody else could tell; the device's own evidence, where it comes later, is in `state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
    /// What the answer carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// What somebody said of an unconfirmed command.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Settled {
    /// done or not-done.
    pub outcome: &'static str,
    /// The name of the token.
    pub by: String,
    pub note: String,
    pub at: String,
}

/// What became of a command that nobody confirmed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSettlement {
    /// done or not-done.
    #[schema(value_type = String, example = "done")]
    pub outcome: Settlement,
    /// How one knows; kept with the command.
    #[schema(example = "the balance on the display was read over the phone")]
    pub note: String,
}

/// A command with its whole life.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandDetail {
    #[serde(flatten)]
    pub row: CommandRow,
    pub steps: Vec<Step>,
}

/// One step in a command's life.
#[derive(Debug, Serialize, ToSchema)]
#[allow(clippy::struct_field_names)]
pub struct Step {
    /// Its journal entry.
    pub seq: u64,
    pub at: String,
    #[schema(schema_with = step_names)]
    pub step: String,
    /// In words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The bytes that were sent, hexadecimal; not shown of set-key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only of this device, `realm/address`.
    #[param(value_type = Option<String>)]
    pub device: Option<DeviceKey>,
    /// Only in this state.
    #[param(value_type = Option<String>)]
    pub state: Option<CommandState>,
    /// Only those that are not finished.
    #[serde(default)]
    pub open: bool,
}

/// Ask a device to do something
///
/// The answer comes once the command is durable. It is sent when the device is there and nothing older waits. What the
/// device's protocol can never say is refused at once, as far as that is certain before the device is there.
#[utoipa::path(post, path = "/commands", tag = "commands", security(("token" = ["operator"])), request_body = NewCommand,
    responses((status = 201, body = Accepted), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn send(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Body(asked): Body<NewCommand>,
) -> ApiResult<(StatusCode, Json<Accepted>)> {
    if asked.note.len() > limits::NOTE_BYTES_MAX {
        return Err(ApiError::bad_request(format!("a note has at most {} bytes", limits::NOTE_BYTES_MAX)));
    }
    let command = forms::parse(asked.command)?;
    let (device, wanted) = (asked.device.clone(), command.clone());
    let unsayable = look(&services, move |s| s.never_sayable(&device, &wanted)).await?;
    let order = Order {
        note: asked.note,
        expires: asked.expires_s.map(Duration::from_secs),
        ..Order::of(asked.device, command, &caller.name)
    };
    if let Some(why) = unsayable {
        return Err(Refusal::Invalid(format!("{} cannot be told that: {why}", order.device)).into());
    }
    let placing = services.clone();
    let id = to_the_end(async move { placing.place(order).await }).await??;
    shown_all(&services).await;
    Ok((StatusCode::CREATED, Json(Accepted { id })))
}

/// Take back a command that waits
///
/// An order that was sent before, unanswered, is not repeated, and is unconfirmed.
#[utoipa::path(post, path = "/commands/{id}/cancel", tag = "commands", security(("token" = ["operator"])),
    params(("id" = u64, Path)),
    responses((status = 200, body = Accepted), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn cancel(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Named(id): Named<u64>,
) -> ApiResult<Json<Accepted>> {
    let cancelling = services.clone();
    to_the_end(async move {
        let step = match cancelling.desk.cancel(id, &caller.name) {
            Ok(step) => step,
            // What is finished is not on the desk either; the views know whether there ever was such a command.
            Err(refusal) => {
                let known = find(&cancelling, move |s| s.views.command(id)).await?.is_some();
                return Err(if known { refusal.into() } else { missing(id) });
            }
        };
        cancelling.commit_steps(vec![step]).await.map_err(|why| ApiError::journal(&why))
    })
    .await??;
    shown_all(&services).await;
    Ok(Json(Accepted { id }))
}

/// Say what became of a command that nobody confirmed
///
/// For commands that were sent, got no answer and are not repeated because they could do harm twice. A command is settled
/// once. Where a later report of the device says otherwise, the command's state follows the device; both stay in its history.
#[utoipa::path(post, path = "/commands/{id}/settlement", tag = "commands", security(("token" = ["operator"])),
    params(("id" = u64, Path)), request_body = NewSettlement,
    responses((status = 200, body = Accepted), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn settle(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Named(id): Named<u64>,
    Body(asked): Body<NewSettlement>,
) -> ApiResult<Json<Accepted>> {
    if asked.note.trim().is_empty() || asked.note.len() > limits::NOTE_BYTES_MAX {
        let max = limits::NOTE_BYTES_MAX;
        return Err(ApiError::bad_request(format!(
            "say in `note`, with at most {max} bytes, how the outcome is known"
        )));
    }
    let step = CommandStep::Settled { outcome: asked.outcome, by: caller.name, note: asked.note };
    to_the_end(async move {
        // Held until the views show it: whoever comes next finds it settled.
        let _settling = services.desk.settle(id)?;
        if !services.has_shown_all().await {
            return Err(ApiError::behind());
        }
        let row = look(&services, move |s| s.views.command(id)).await?.ok_or_else(|| missing(id))?;
        if row.state != CommandState::Unconfirmed {
            return Err(Refusal::NotUnconfirmed(id).into());
        }
        let fact = CommandFact { id, device: row.device, step };
        services.commit_steps(vec![fact]).await.map_err(|why| ApiError::journal(&why))?;
        shown_all(&services).await;
        Ok(Json(Accepted { id }))
    })
    .await?
}

/// Commands, newest first
#[utoipa::path(get, path = "/commands", tag = "commands", security(("token" = ["viewer"])), params(Filter, Page),
    responses((status = 200, body = Paged<CommandRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<CommandRow>>> {
    let filter = CommandFilter { device: filter.device, state: filter.state, open: filter.open };
    rows(services, filter, page).await
}

/// Commands of one device, newest first
#[utoipa::path(get, path = "/devices/{realm}/{address}/commands", tag = "devices", security(("token" = ["viewer"])),
    params(("realm", Path), ("address", Path), Page),
    responses((status = 200, body = Paged<CommandRow>), (status = "4XX", body = ErrorBody)))]
pub async fn of_device(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Device(device): Device,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<CommandRow>>> {
    rows(services, CommandFilter { device: Some(device), ..CommandFilter::default() }, page).await
}

async fn rows(services: Arc<Services>, filter: CommandFilter, page: Page) -> ApiResult<Json<Paged<CommandRow>>> {
    let limit = page.limit()?;
    let found = look(&services, move |s| s.views.commands(&filter, page.after(), limit)).await?;
    Ok(Json(Paged::of(found, CommandRow::from)))
}

/// One command with every step of its life
#[utoipa::path(get, path = "/commands/{id}", tag = "commands", security(("token" = ["viewer"])),
    params(("id" = u64, Path)),
    responses((status = 200, body = CommandDetail), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn show(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Named(id): Named<u64>,
) -> ApiResult<Json<CommandDetail>> {
    let found = find(&services, move |s| {
        let Some(row) = s.views.command(id)? else { return Ok(None) };
        // What carries a new key, even wrapped, stays in the journal.
        let open = row.command.as_ref().is_some_and(|c| !matches!(c, Command::SetKey { .. }));
        let steps = row.steps.iter().map(|step| Step::read(s, step, open)).collect();
        Ok(Some(CommandDetail { row: CommandRow::from(row), steps }))
    });
    Ok(Json(found.await?.ok_or_else(|| missing(id))?))
}

fn missing(id: u64) -> ApiError {
    ApiError::new(
        Code::NotFound,
        format!("no command {id}; list them with `polymeter command list` or GET /api/v1/commands"),
    )
}

impl From<views::CommandRow> for CommandRow {
    fn from(row: views::CommandRow) -> Self {
        Self {
            id: row.id,
            device: row.device.to_string(),
            name: row.command.as_ref().map_or("", Command::name).to_owned(),
            command: row.command.as_ref().and_then(|c| serde_json::to_value(c).ok()).unwrap_or_default(),
            state: row.state.name(),
            finished: row.state.is_final(),
            by: row.by,
            note: row.note,
            requested: instant(row.requested_ms),
            expires: instant(row.expires_ms),
            attempts: row.attempts,
            outcome: row.answer.as_ref().map(|a| a.outcome.name()),
            why: row.why,
            settled: row.settled.map(|s| Settled {
                outcome: s.outcome.name(),
                by: s.by,
                note: s.note,
                at: instant(s.at_ms),
            }),
            result: row.answer.as_ref().and_then(|a| json::answer_body(&a.body)),
        }
    }
}

/// The name of a step, described by all there are but the journal's own: what was told again is read as what it tells.
fn step_names() -> Schema {
    let [told @ .., last, _retold] = CommandStep::NAMES;
    let words = format!("{} or {last}.", told.join(", "));
    ObjectBuilder::new().schema_type(Type::String).description(Some(words)).into()
}

impl Step {
    /// The row knows when; the entry, unless its day was dropped, knows what.
    fn read(services: &Services, row: &views::StepRow, with_frames: bool) -> Self {
        let mut step = Self {
            seq: row.seq.0,
            at: instant(row.at_ms),
            step: row.step.clone(),
            detail: String::new(),
            frames: Vec::new(),
        };
        if let Ok(Some(stored)) = services.journal.reader().get(row.seq)
            && let Ok(entry) = stored.entry
            && let Fact::Command(fact) = entry.fact
        {
            let told = match fact.step {
                // The entry that told it first was dropped.
                CommandStep::Retold { steps, .. } => {
                    steps.into_iter().map(|(_, step)| step).rfind(|s| s.name() == row.step)
                }
                told => Some(told),
            };
            step.detail = told.as_ref().map(in_words).unwrap_or_default();
            if let Some(CommandStep::Sent { frames, .. }) = told
                && with_frames
            {
                step.frames = frames.iter().map(|frame| hex::encode(&frame.0)).collect();
            }
        }
        step
    }
}

/// What a step says beyond its name.
pub fn in_words(step: &CommandStep) -> String {
    match step {
        CommandStep::Requested { by, note, .. } if note.is_empty() => format!("by {by}"),
        CommandStep::Requested { by, note, .. } => format!("by {by}: {note}"),
        CommandStep::Sent { attempt, frames, through: None, .. } => {
            format!("attempt {attempt}, {} frames", frames.len())
        }
        CommandStep::Sent { attempt, frames, through: Some(carrier), .. } => {
            format!("attempt {attempt}, {} frames through {carrier}", frames.len())
        }
        CommandStep::Answered { outcome, reason, raw_code, .. }
        | CommandStep::Late { outcome, reason, raw_code, .. } => {
            let why = views::why_answered(*outcome, reason, *raw_code);
            match *outcome {
                outcome if why.is_empty() => outcome.to_string(),
                // It begins with that word.
                Outcome::Other if why != *reason => why,
                outcome => format!("{outcome}: {why}"),
            }
        }
        CommandStep::TimedOut { attempt } => format!("no answer to attempt {attempt}"),
        CommandStep::Unconfirmed { why } | CommandStep::Failed { why } => why.clone(),
        CommandStep::Confirmed { frame, evidence } => format!("{evidence} (entry {frame})"),
        CommandStep::KeyMissing(key) => key.missing(),
        CommandStep::Expired => String::new(),
        CommandStep::Cancelled { by } => format!("by {by}"),
        CommandStep::Settled { outcome, by, note } => format!("{outcome}, by {by}: {note}"),
        CommandStep::Retold { .. } => "before the journal drops the day that told it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AnswerBody;

    #[test]
    fn a_code_without_a_word_is_named() {
        for (outcome, reason, raw_code, told) in [
            (Outcome::Other, "other", 0x77, "other, code 0x77"),
            (Outcome::Other, "", 0x7, "other, code 0x07"),
            (Outcome::Failed, "", 0x1_02, "failed: other, code 0x102"),
            (Outcome::Failed, "vendor-error", 3, "failed: vendor-error, code 0x03"),
            (Outcome::Failed, "valve-fault", 8, "failed: valve-fault"),
            (Outcome::Other, "", 0, "other"),
            (Outcome::Done, "", 1, "done"),
            (Outcome::Accepted, "it moves", 3, "accepted: it moves"),
        ] {
            let (reason, body) = (reason.to_owned(), AnswerBody::None);
            assert_eq!(in_words(&CommandStep::Late { outcome, reason, raw_code, body }), told);
        }
    }
}
