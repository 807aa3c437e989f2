//! Archives of concentrators: read in full and compared with the registry, and made as the registry is.

use super::auth::{Operator, Viewer};
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::moments::instant;
use super::requests::{Body, Device};
use super::{look, shown_all, to_the_end};
use crate::command::archive::{Difference, Duplicate, Progress, Reading, Unfit, Wanted, Wish, compare};
use crate::command::{Order, Refusal};
use crate::limits;
use crate::model::{AnswerBody, ArchiveEntry, Command, DeviceKey, DeviceKind};
use crate::session::Services;
use crate::views::{CommandRow, CommandState, RegistryFilter, ViewError};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// How a comparison stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Comparison {
    pub concentrator: String,
    /// reading, failed or done.
    pub state: &'static str,
    /// Entries that were read so far.
    pub archived: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// When the archive had been read. What differs is told against the registry of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Why nothing is ordered from what was read any more, once it is done: POST reads the archive again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
    #[serde(flatten)]
    pub difference: Option<DifferenceRow>,
}

/// What differs between archive and registry.
#[derive(Debug, Serialize, ToSchema)]
pub struct DifferenceRow {
    /// Devices that the registry has behind the concentrator.
    pub registered: usize,
    /// In the registry alone.
    pub missing: Vec<MeterRow>,
    /// In the archive alone.
    pub unknown: Vec<EntryRow>,
    /// In both, and not the same.
    pub differing: Vec<DifferingRow>,
    /// Addresses that the archive or the registry has more than once, with all that have it.
    pub duplicates: Vec<DuplicateRow>,
    /// Entries that cannot be read in full, as far as they can, and others of their addresses. Nothing is ordered about them.
    pub unreadable: Vec<EntryRow>,
}

/// A meter as the registry has it. What is not said is left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeterRow {
    pub device: String,
    /// As the concentrator calls it.
    pub address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baud: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Columns of its record that have to be filled in before it can be added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsaid: Vec<&'static str>,
}

/// An entry of the archive.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryRow {
    pub index: u16,
    pub address: String,
    pub protocol: String,
    pub channel: u8,
    pub baud: u32,
    pub format: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DifferingRow {
    pub registry: MeterRow,
    pub archive: EntryRow,
}

/// All that have one address.
#[derive(Debug, Serialize, ToSchema)]
pub struct DuplicateRow {
    /// As the first entry of the archive writes it, or else the registry.
    pub address: String,
    pub registry: Vec<MeterRow>,
    pub archive: Vec<EntryRow>,
}

/// Which differences shall be ordered away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSync {
    /// Add what is missing.
    #[serde(default = "yes")]
    pub add: bool,
    /// Change what differs.
    #[serde(default = "yes")]
    pub change: bool,
    /// Remove what the registry does not have behind the concentrator. A concentrator removes by address, so of an address that
    /// the archive has more than once nothing is removed unless the registry does not have it at all.
    #[serde(default)]
    pub remove: bool,
}

fn yes() -> bool {
    true
}

/// What was ordered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ordered {
    /// Ask `/commands/{id}` what becomes of them.
    pub commands: Vec<u64>,
    /// Why no more commands were ordered; left out: these are all. Compare and sync again once they are over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unordered: Option<String>,
    /// Addresses that are there more than once and were left alone: remove them with `archive-remove`, or mend the registry,
    /// then compare and sync again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Devices that were not added, because an entry that cannot be read may be theirs: take that one out, then compare and sync
    /// again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<String>,
    /// Devices that the concentrator's protocol has no words for: give them a `line_address` (or what else is named) that it can
    /// take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A device about which nothing was ordered.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeftOut {
    pub device: String,
    pub why: String,
}

/// Compare a concentrator's archive with the registry
///
/// The archive is read with commands, page by page, as soon as the concentrator is there; ask again with GET how far it is.
/// Refused of what the registry, or the device itself, calls a meter.
#[utoipa::path(post, path = "/archives/{realm}/{address}", tag = "archives", security(("token" = ["operator"])),
    params(("realm", Path), ("address", Path)),
    responses((status = 202, body = Comparison), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn begin(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Device(key): Device,
) -> ApiResult<(StatusCode, Json<Comparison>)> {
    let wanted = key.clone();
    let found = super::find(&services, move |s| {
        let known = s.known(&wanted)?;
        known.map(|_| says_meter(s, &wanted)).transpose()
    });
    let Some(meter) = found.await? else { return Err(Refusal::UnknownDevice(key.to_string()).into()) };
    if let Some(who) = meter {
        let why = format!("{key} is a meter, says {who}, and has no archive; name the concentrator in front of it");
        return Err(ApiError::new(Code::NotPossible, why));
    }
    if !services.archives.begin(&key) {
        let why = format!("the archive of {key} is being read already; ask with GET how far it is");
        return Err(ApiError::new(Code::NameTaken, why));
    }
    let (working, concentrator) = (services.clone(), key.clone());
    tokio::spawn(async move {
        let progress =
            match tokio::time::timeout(limits::ARCHIVE_WAIT_MAX, read(&working, &concentrator, &caller.name)).await {
                Ok(Ok(archive)) => Progress::Done { at_ms: working.clock.now_ms(), archive, used: false },
                Ok(Err(why)) => Progress::Failed { why },
                Err(_) => Progress::Failed { why: "the concentrator did not answer in time".into() },
            };
        working.archives.tell(&concentrator, progress);
    });
    Ok((StatusCode::ACCEPTED, Json(find(&services, key).await?)))
}

/// Who says that this is a meter: a command that no meter understands would only wait.
fn says_meter(services: &Services, device: &DeviceKey) -> Result<Option<&'static str>, ViewError> {
    let told = services.views.device(device)?.and_then(|row| row.registration).map(|registration| registration.kind);
    let registered = services.views.registry()?.get(device)?.map(|row| row.record.about.kind);
    Ok(match (told, registered) {
        (Some(DeviceKind::Meter), _) => Some("the device itself"),
        (_, Some(DeviceKind::Meter)) => Some("its record in the registry"),
        _ => None,
    })
}

/// How a comparison stands, and what differs from the registry of now
#[utoipa::path(get, path = "/archives/{realm}/{address}", tag = "archives", security(("token" = ["viewer"])),
    params(("realm", Path), ("address", Path)),
    responses((status = 200, body = Comparison), (status = "4XX", body = ErrorBody)))]
pub async fn show(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Device(key): Device,
) -> ApiResult<Json<Comparison>> {
    Ok(Json(find(&services, key).await?))
}

/// Make a concentrator's archive as the registry is
///
/// Orders what differs between the registry of now and the archive as it was last read: within the last hour, and once, for
/// afterwards it is another. Entries whose record does not say all are left alone, and so are addresses that are there twice,
/// entries that cannot be read, and what the concentrator's protocol cannot express.
#[utoipa::path(post, path = "/archives/{realm}/{address}/sync", tag = "archives", security(("token" = ["operator"])),
    params(("realm", Path), ("address", Path)), request_body = NewSync,
    responses((status = 201, body = Ordered), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn sync(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Device(key): Device,
    Body(wish): Body<NewSync>,
) -> ApiResult<(StatusCode, Json<Ordered>)> {
    let unfit = |unfit: Unfit| {
        let code = if unfit == Unfit::NotRead { Code::NotFound } else { Code::NotPossible };
        ApiError::new(code, format!("compare {key} first: {unfit}. POST /api/v1/archives/{key}"))
    };
    let archive = services.archives.fresh(&key, services.clock.now_ms()).map_err(unfit)?;
    // A meter that was registered a moment ago must not be taken for one that nobody knows.
    if !services.has_shown_all().await {
        let why = "the views are behind, so the registry may say more than they show; nothing was ordered";
        return Err(ApiError::views(&why));
    }
    let difference = weigh(&services, &key, &archive).await?;
    let NewSync { add, change, remove } = wish;
    let wish = Wish { add, change, remove };
    let concentrator = key.clone();
    let (orders, differing) = (difference.orders(wish), difference.clone());
    let (orders, left_out) = look(&services, move |s| sayable(s, &concentrator, orders, &differing)).await?;
    if !orders.is_empty() {
        services.archives.claim(&key, &archive).map_err(unfit)?;
    }
    let left = difference.left(wish).map(|duplicate| duplicate.address.clone()).collect();
    let held_back = difference.held_back(wish).map(|wanted| wanted.device.to_string()).collect();
    let working = services.clone();
    let (commands, unordered) = to_the_end(async move {
        let (count, mut commands) = (orders.len(), Vec::new());
        for command in orders {
            let note = "the archive shall be as the registry is".into();
            let order = Order { note, ..Order::of(key.clone(), command, &caller.name) };
            match working.place(order).await {
                Ok(id) => commands.push(id),
                Err(refusal) if commands.is_empty() => return Err(refusal),
                Err(refusal) => {
                    let why = format!("{} of {count} commands were ordered: {refusal}", commands.len());
                    return Ok((commands, Some(why)));
                }
            }
        }
        Ok((commands, None))
    })
    .await??;
    shown_all(&services).await;
    Ok((StatusCode::CREATED, Json(Ordered { commands, unordered, left, held_back, left_out })))
}

/// Leaves out the entries that the concentrator's protocol cannot express: one of them would keep back all of its command.
fn sayable(
    services: &Services,
    concentrator: &DeviceKey,
    orders: Vec<Command>,
    difference: &Difference,
) -> Result<(Vec<Command>, Vec<LeftOut>), ViewError> {
    let (mut sayable, mut left_out) = (Vec::with_capacity(orders.len()), Vec::new());
    for order in orders {
        let may_stay =
            !matches!(order, Command::ArchiveAdd(_)) || services.out_of_range(concentrator, &order)?.is_none();
        let entries = match order {
            Command::ArchiveAdd(entries) if !may_stay => entries,
            whole => {
                sayable.push(whole);
                continue;
            }
        };
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            match services.out_of_range(concentrator, &Command::ArchiveAdd(vec![entry.clone()]))? {
                None => kept.push(entry),
                Some(why) => {
                    let wanted = difference.missing.iter().chain(difference.differing.iter().map(|(wanted, _)| wanted));
                    let device = wanted.filter(|wanted| wanted.address == entry.address).map(|w| w.device.to_string());
                    left_out.extend(device.map(|device| LeftOut { device, why: why.clone() }));
                }
            }
        }
        if !kept.is_empty() {
            sayable.push(Command::ArchiveAdd(kept));
        }
    }
    Ok((sayable, left_out))
}

async fn find(services: &Arc<Services>, key: DeviceKey) -> ApiResult<Comparison> {
    let progress = services.archives.of(&key).ok_or_else(|| {
        let why =
            format!("the archive of {key} was not compared since the station started: POST /api/v1/archives/{key}");
        ApiError::new(Code::NotFound, why)
    })?;
    let difference = match &progress {
        Progress::Done { archive, .. } => Some(weigh(services, &key, archive).await?),
        Progress::Reading { .. } | Progress::Failed { .. } => None,
    };
    let is_done = difference.is_some();
    let unfit = services.archives.fresh(&key, services.clock.now_ms()).err().filter(|_| is_done);
    Ok(Comparison {
        unfit: unfit.map(|unfit| unfit.to_string()),
        ..Comparison::of(&key, progress, difference.as_ref())
    })
}

/// Compares what was read with the registry of now.
async fn weigh(services: &Arc<Services>, key: &DeviceKey, archive: &Arc<[ArchiveEntry]>) -> ApiResult<Difference> {
    let (parent, archive) = (key.clone(), archive.clone());
    let found = look(services, move |s| Ok(behind(s, parent)?.map(|wanted| compare(&archive, wanted)))).await?;
    found.ok_or_else(|| {
        let most = limits::ARCHIVE_ENTRIES_MAX;
        let why = format!("the registry has more than {most} devices behind {key}; no archive holds as many");
        ApiError::new(Code::NotPossible, why)
    })
}

/// Reads the whole archive. The error is for people.
async fn read(services: &Arc<Services>, concentrator: &DeviceKey, by: &str) -> Result<Arc<[ArchiveEntry]>, String> {
    let mut reading = Reading::default();
    loop {
        let command = Command::ArchiveList { first: reading.first(), count: limits::ARCHIVE_ENTRIES_PER_COMMAND };
        let order = Order {
            note: "read to be compared with the registry".into(),
            expires: Some(limits::ARCHIVE_WAIT_MAX),
            ..Order::of(concentrator.clone(), command, by)
        };
        // Whoever waits for all of this may stop waiting; an order is placed as a whole all the same.
        let placing = services.clone();
        let placed = tokio::spawn(async move { placing.place(order).await });
        let id = placed.await.map_err(|e| e.to_string())?.map_err(|refusal| refusal.to_string())?;
        let row = ended(services, id).await?;
        let page = row.answer.map(|answer| answer.body).filter(|_| row.state == CommandState::Done);
        let Some(AnswerBody::Archive { total, entries }) = page else {
            return Err(format!("command {id} ended as {}: {}", row.state, row.why));
        };
        if reading.take(total, entries).map_err(|why| format!("{why}; see the answer to command {id}"))? {
            return Ok(reading.done());
        }
        services.archives.tell(concentrator, Progress::Reading { entries: reading.entries(), changed: false });
    }
}

/// Waits for the end of a command.
async fn ended(services: &Arc<Services>, id: u64) -> Result<CommandRow, String> {
    let mut cursor = services.views.watch();
    loop {
        let asking = services.clone();
        let row = tokio::task::spawn_blocking(move || asking.views.command(id));
        let row = row.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        if let Some(row) = row.filter(|row| row.state.is_final() || row.state == CommandState::Unconfirmed) {
            return Ok(row);
        }
        cursor.changed().await.map_err(|_| "the station stops".to_owned())?;
    }
}

/// What the registry has behind it. `None`: more than any archive holds.
fn behind(services: &Services, parent: DeviceKey) -> Result<Option<Vec<Wanted>>, ViewError> {
    let filter = RegistryFilter { parent: Some(parent), ..RegistryFilter::default() };
    let (mut wanted, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = services.views.records(&filter, after.as_deref(), limits::PAGE_ROWS_MAX)?;
        wanted.extend(page.rows.into_iter().map(|row| Wanted::of(row.record)));
        after = page.next;
        if wanted.len() > limits::ARCHIVE_ENTRIES_MAX {
            return Ok(None);
        }
        if after.is_none() {
            return Ok(Some(wanted));
        }
    }
}

impl Comparison {
    fn of(concentrator: &DeviceKey, progress: Progress, difference: Option<&Difference>) -> Self {
        let (state, archived, why, at_ms) = match progress {
            Progress::Reading { entries, .. } => ("reading", entries, String::new(), None),
            Progress::Failed { why } => ("failed", 0, why, None),
            Progress::Done { at_ms, archive, .. } => ("done", archive.len(), String::new(), Some(at_ms)),
        };
        let (concentrator, at) = (concentrator.to_string(), at_ms.map(instant));
        Self { concentrator, state, archived, why, at, unfit: None, difference: difference.map(DifferenceRow::from) }
    }
}

impl From<&Difference> for DifferenceRow {
    fn from(found: &Difference) -> Self {
        let differing = found.differing.iter();
        Self {
            registered: found.registered,
            missing: found.missing.iter().map(MeterRow::from).collect(),
            unknown: found.unknown.iter().map(EntryRow::from).collect(),
            differing: differing
                .map(|(registry, archive)| DifferingRow { registry: registry.into(), archive: archive.into() })
                .collect(),
            duplicates: found.duplicates.iter().map(DuplicateRow::from).collect(),
            unreadable: found.unreadable.iter().map(EntryRow::from).collect(),
        }
    }
}

impl From<&Duplicate> for DuplicateRow {
    fn from(duplicate: &Duplicate) -> Self {
        Self {
            address: duplicate.address.clone(),
            registry: duplicate.registry.iter().map(MeterRow::from).collect(),
            archive: duplicate.archive.iter().map(EntryRow::from).collect(),
        }
    }
}

impl From<&Wanted> for MeterRow {
    fn from(wanted: &Wanted) -> Self {
        let unsaid = wanted.unsaid();
        let Wanted { device, address, protocol, channel, baud, format } = wanted.clone();
        Self { device: device.to_string(), address, protocol, channel, baud, format, unsaid }
    }
}

impl From<&ArchiveEntry> for EntryRow {
    fn from(entry: &ArchiveEntry) -> Self {
        let ArchiveEntry { index, address, protocol, channel, baud, format } = entry.clone();
        Self { index, address, protocol, channel, baud, format }
    }
}
