//! Versions against each other: a shadow beside the one that serves, stored frames read again, and corrections.

use super::auth::{Admin, Viewer};
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::moments::instant;
use super::readings::is_zero;
use super::requests::{Body, Named};
use super::shown_all;
use crate::adapter::Adapter;
use crate::background;
use crate::lifecycle::Order;
use crate::limits::NOTE_BYTES_MAX;
use crate::model::Digest;
use crate::review::{Ended, Mirror, Purpose, Review, ReviewError, Tally, Walk};
use crate::session::Services;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Which version hears how much.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewShadow {
    /// Version, or the first digits of a digest.
    pub version: String,
    /// Of the live frames, in thousandths.
    #[serde(default = "all")]
    #[schema(minimum = 1, maximum = 1000, default = 1000)]
    pub permille: u32,
    /// Kept in the journal.
    #[serde(default)]
    pub reason: String,
}

/// Which stored frames are read again, by which version.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReplay {
    /// Version, or the first digits of a digest; left out: the one that serves.
    pub version: Option<String>,
    /// Frames of the last so many seconds.
    pub since_s: u64,
    /// Compare with what is stored; otherwise with what the version that serves makes of it now.
    #[serde(default)]
    pub stored: bool,
    /// Correct what is stored; needs a reason.
    #[serde(default)]
    pub apply: bool,
    /// Kept in the journal.
    #[serde(default)]
    pub reason: String,
}

/// What a comparison has found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReviewReport {
    pub name: String,
    /// The version that is tried.
    pub version: String,
    pub short_digest: String,
    /// shadow: live frames; compare: stored ones; redecode: stored ones and what is stored of them.
    pub what: &'static str,
    /// Share of the live frames, in thousandths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permille: Option<u32>,
    /// Stored frames from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Frames that were compared, those that carriers brought of others included.
    pub frames: u64,
    /// Of them with any difference.
    pub differing: u64,
    /// Live frames that came faster than they could be compared.
    pub dropped: u64,
    /// Left out, since the version that read them first does not repeat itself, or it is not known any more whether they came as
    /// datagrams (their listener is configured no more) and that makes a difference.
    pub unrepeatable: u64,
    /// Corrections written.
    pub corrected: u64,
    /// They differ and get no correction: this version cannot read them, they bring frames of others that only the station takes
    /// apart, once this version serves, nobody can tell of whom a carrier speaks in them, or nobody has let in whose they are.
    pub uncorrectable: u64,
    /// They tell events, states or their sender otherwise. Corrections change readings only: these stay as they were told.
    pub events_differ: u64,
    /// Journal entries gone through, and how many there are.
    pub entries: u64,
    pub entries_total: u64,
    pub finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The most frequent first.
    pub differences: Vec<DifferenceRow>,
}

/// Differences of one kind about one subject, of one device model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DifferenceRow {
    /// Empty: not known.
    pub model: String,
    /// register-changed, unit-changed, register-missing, register-added, message-changed, message-missing, message-added,
    /// sender-differs, new-fault, fault-gone, fault-differs or reply-differs.
    pub kind: &'static str,
    /// What it is about, such as a quantity.
    pub subject: String,
    pub count: u64,
    pub examples: Vec<ExampleRow>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExampleRow {
    /// Journal entry of the frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// Which part of what a carrier's frame brought; left out: the frame itself.
    #[serde(skip_serializing_if = "is_zero")]
    pub part: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    pub old: String,
    pub new: String,
    /// Hexadecimal.
    pub raw: String,
}

/// Let a version hear live frames beside the one that serves
///
/// It answers nobody; what it would have said is compared. A second shadow of the same name replaces the first.
#[utoipa::path(post, path = "/adapters/{name}/shadow", tag = "adapters", security(("token" = ["admin"])),
    params(("name", Path)), request_body = NewShadow,
    responses((status = 200, body = ReviewReport), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn start_shadow(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Body(new): Body<NewShadow>,
) -> ApiResult<Json<ReviewReport>> {
    check_reason(&new.reason)?;
    change(&services, move |review| {
        let order = Order { by: &caller.name, reason: &new.reason, downgrade: false };
        review.shadow(&format!("{name}@{}", new.version), new.permille, &order).map(|mirror| of_mirror(&mirror, false))
    })
    .await
}

/// What a shadow has found so far
#[utoipa::path(get, path = "/adapters/{name}/shadow", tag = "adapters", security(("token" = ["viewer"])),
    params(("name", Path)),
    responses((status = 200, body = ReviewReport), (status = "4XX", body = ErrorBody)))]
pub async fn shadow(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
) -> ApiResult<Json<ReviewReport>> {
    Ok(Json(of_mirror(&*services.review.mirror(&name)?, false)))
}

/// End a shadow; gives what it has found
#[utoipa::path(delete, path = "/adapters/{name}/shadow", tag = "adapters", security(("token" = ["admin"])),
    params(("name", Path)),
    responses((status = 200, body = ReviewReport), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn stop_shadow(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
) -> ApiResult<Json<ReviewReport>> {
    change(&services, move |review| {
        let order = Order { by: &caller.name, reason: "", downgrade: false };
        review.stop_shadow(&name, &order).map(of_ended)
    })
    .await
}

/// Read stored frames again
///
/// It runs on by itself; ask for its report until that is finished.
#[utoipa::path(post, path = "/adapters/{name}/replay", tag = "adapters", security(("token" = ["admin"])),
    params(("name", Path)), request_body = NewReplay,
    responses((status = 200, body = ReviewReport), (status = "4XX", body = ErrorBody)))]
pub async fn start_replay(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Body(new): Body<NewReplay>,
) -> ApiResult<Json<ReviewReport>> {
    check_reason(&new.reason)?;
    if new.apply && new.reason.trim().is_empty() {
        return Err(ApiError::bad_request("a correction needs a reason; the journal keeps it"));
    }
    let since_ms = before(services.clock.now_ms(), new.since_s)?;
    let purpose = match (new.apply, new.stored) {
        (true, _) => Purpose::Apply { by: caller.name, why: new.reason },
        (false, true) => Purpose::Show,
        (false, false) => Purpose::Shadow,
    };
    let wanted = new.version.map_or_else(|| name.clone(), |version| format!("{name}@{version}"));
    let working = services.clone();
    let begun = tokio::task::spawn_blocking(move || working.review.begin(&wanted, purpose, since_ms)).await;
    let begun = begun.map_err(|e| ApiError::internal(&e))??;
    let report = of_walk(begun.walk());
    // It tells by its report how it goes, and keeps nobody waiting who serves devices.
    background::spawn("adapter-replay", move || begun.run(&services.review)).map_err(|e| ApiError::internal(&e))?;
    Ok(Json(report))
}

/// How far reading stored frames again is, and what it has found
#[utoipa::path(get, path = "/adapters/{name}/replay", tag = "adapters", security(("token" = ["viewer"])),
    params(("name", Path)),
    responses((status = 200, body = ReviewReport), (status = "4XX", body = ErrorBody)))]
pub async fn replay(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
) -> ApiResult<Json<ReviewReport>> {
    let report = of_walk(&*services.review.walk(&name)?);
    if report.finished && report.corrected > 0 {
        shown_all(&services).await;
    }
    Ok(Json(report))
}

async fn change(
    services: &Arc<Services>,
    work: impl FnOnce(&Review) -> Result<ReviewReport, ReviewError> + Send + 'static,
) -> ApiResult<Json<ReviewReport>> {
    let working = services.clone();
    let changed = tokio::task::spawn_blocking(move || work(&working.review)).await;
    let report = changed.map_err(|e| ApiError::internal(&e))??;
    shown_all(services).await;
    Ok(Json(report))
}

fn of_ended(ended: Ended) -> ReviewReport {
    match ended {
        Ended::Heard(mirror) => of_mirror(&mirror, true),
        Ended::Deaf(row) => {
            let named = (&row.name[..], &row.version[..], &row.digest);
            ReviewReport { finished: true, ..blank(named, "shadow", &Tally::default()) }
        }
    }
}

fn of_mirror(mirror: &Mirror, finished: bool) -> ReviewReport {
    let mut report = blank(named(&mirror.adapter), "shadow", &mirror.tally());
    (report.permille, report.finished) = (Some(mirror.permille), finished);
    report
}

fn of_walk(walk: &Walk) -> ReviewReport {
    let progress = walk.progress();
    let what = if walk.purpose == Purpose::Shadow { "compare" } else { "redecode" };
    ReviewReport {
        since: Some(instant(walk.since_ms)),
        unrepeatable: progress.unrepeatable,
        corrected: progress.corrected,
        uncorrectable: progress.uncorrectable,
        events_differ: progress.events_differ,
        entries: progress.entries,
        entries_total: progress.entries_total,
        finished: progress.finished,
        failed: progress.failed,
        ..blank(named(&walk.adapter), what, &progress.tally)
    }
}

/// Name, version and digest.
fn named(adapter: &Adapter) -> (&str, &str, &Digest) {
    (adapter.name(), adapter.version(), &adapter.digest)
}

fn blank((name, version, digest): (&str, &str, &Digest), what: &'static str, tally: &Tally) -> ReviewReport {
    let example = |example: &crate::review::Example| ExampleRow {
        frame: example.frame,
        part: example.part,
        device: example.device.as_ref().map(ToString::to_string),
        old: example.old.clone(),
        new: example.new.clone(),
        raw: hex::encode(&example.raw.0),
    };
    let groups = tally.groups().into_iter().map(|(model, kind, subject, group)| DifferenceRow {
        model: model.to_owned(),
        kind: kind.name(),
        subject: subject.to_owned(),
        count: group.count,
        examples: group.examples.iter().map(example).collect(),
    });
    ReviewReport {
        name: name.to_owned(),
        version: version.to_owned(),
        short_digest: digest.short(),
        what,
        permille: None,
        since: None,
        frames: tally.frames,
        differing: tally.differing,
        dropped: tally.dropped,
        unrepeatable: 0,
        corrected: 0,
        uncorrectable: 0,
        events_differ: 0,
        entries: 0,
        entries_total: 0,
        finished: false,
        failed: None,
        differences: groups.collect(),
    }
}

/// So many seconds before `now_ms`.
fn before(now_ms: i64, seconds: u64) -> ApiResult<i64> {
    let span_ms = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000));
    let since_ms = span_ms.map(|span_ms| now_ms - span_ms).filter(|since_ms| *since_ms >= 0);
    since_ms.ok_or_else(|| {
        ApiError::bad_request(format!("`since_s`: {seconds} s reach back before 1970; give at most {}", now_ms / 1_000))
    })
}

fn check_reason(reason: &str) -> ApiResult<()> {
    if reason.len() > NOTE_BYTES_MAX {
        return Err(ApiError::bad_request(format!("a reason has at most {NOTE_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn all() -> u32 {
    1_000
}

impl From<ReviewError> for ApiError {
    fn from(error: ReviewError) -> Self {
        let code = match error {
            ReviewError::Lifecycle(error) => return error.into(),
            ReviewError::NoShadow(_) | ReviewError::NoWalk(_) => Code::NotFound,
            ReviewError::Busy(_) | ReviewError::Serves(_) => Code::NotPossible,
            ReviewError::Share => Code::BadRequest,
            ReviewError::Views(error) => return error.into(),
            ReviewError::Thread(_) | ReviewError::Journal(_) => return Self::internal(&error),
            ReviewError::Append(_) => Code::JournalFailing,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reaches_back_to_1970_at_most() {
        let now_ms = 1_710_462_005_123;
        assert_eq!(before(now_ms, 86_400), Ok(now_ms - 86_400_000));
        assert_eq!(before(now_ms, 1_710_462_005), Ok(123));
        for seconds in [1_710_462_006, 1 << 62, u64::MAX] {
            let error = before(now_ms, seconds).expect_err("too long");
            assert!(error.code == Code::BadRequest && error.message.ends_with("at most 1710462005"), "{error:?}");
        }
    }
}
