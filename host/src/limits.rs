//! Every bound of the station, in one place, with the relations between them asserted at compile time.
//!
//! A number that a peer, a file or a guest can grow has its limit here. Units come last in a name.

use std::time::Duration;

// --- Frames and links -------------------------------------------------------------------------------------------

/// Largest frame of any protocol, and so the largest receive buffer of a connection. USP/1 needs 1,045 bytes.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;
/// One read from a socket.
pub const READ_BYTES_MAX: usize = 4 * 1024;
/// Bytes that no adapter took, kept of one connection before it is closed.
pub const NOISE_BYTES_MAX: usize = 4 * 1024;
/// Faulty frames in one session before it is closed, beyond those that good ones make up for.
pub const SESSION_FAULTS_MAX: u32 = 16;
/// Connections of one listener, unless the configuration says less.
pub const CONNECTIONS_MAX: usize = 18_000;
/// Peers of one UDP listener with an open session.
pub const DATAGRAM_PEERS_MAX: usize = 100_000;
/// Datagrams waiting for one peer's session; bytes that wait on one socket, for all its peers; and what each of them counts for
/// beyond its own.
pub const DATAGRAM_QUEUE_MAX: usize = 256;
pub const DATAGRAM_QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;
pub const DATAGRAM_OVERHEAD_BYTES: usize = 64;
/// Longest wait for a peer to take our bytes.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Open files that the station itself may need: journal, views, adapters, runtime. Connections never take them.
pub const FILES_OWN_MAX: usize = 64;
/// The same for each address that it listens on or calls: its socket, and what is accepted there only to be closed.
pub const FILES_OF_ADDRESS_MAX: usize = 4;
/// Files beside those without which there is no station.
pub const FILES_LEFT_MIN: usize = 16;

/// Connections that the kernel may hold for us at midnight.
pub const ACCEPT_BACKLOG: i32 = 4_096;
/// How long a peer may take to close after we have said that nothing more comes.
pub const LINGER: Duration = Duration::from_secs(2);

/// From a TLS connection to the end of its handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// Handshakes of one listener that are under way, where there are files for so many; further connections wait in the kernel.
pub const TLS_HANDSHAKES_MAX: usize = 512;
/// A file with certificates or a key.
pub const TLS_FILE_BYTES_MAX: u64 = 256 * 1024;
/// How often the files of a TLS listener are looked at for new contents.
pub const TLS_FILES_LOOK_EVERY: Duration = Duration::from_secs(2);

/// CoAP: from a request to its acknowledgement, if its answer is not there by then. Shorter than a device waits.
pub const COAP_ACK_WITHIN: Duration = Duration::from_millis(1_500);
/// The constants of RFC 7252 §4.8: first wait for an acknowledgement, how often a message is sent again, and for how long
/// a repetition may still arrive.
pub const COAP_ACK_TIMEOUT: Duration = Duration::from_secs(2);
pub const COAP_RETRANSMIT_MAX: u32 = 4;
pub const COAP_EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
/// Exchanges of one listener that are remembered for the sake of repetitions, and bytes of their answers; beyond that the
/// oldest are forgotten.
pub const COAP_EXCHANGES_MAX: usize = 262_144;
pub const COAP_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bodies of one listener that come in blocks and are not complete.
pub const COAP_UPLOADS_MAX: usize = 2_048;
/// Requests waiting for one peer's session; it repeats those that find no room.
pub const COAP_QUEUE_MAX: usize = 8;
/// Messages to one peer that wait until the one before is acknowledged.
pub const COAP_WAITING_MAX: usize = 8;
/// Tokens of one peer by which later answers are recognised.
pub const COAP_TOKENS_MAX: usize = 8;
/// A path in the configuration.
pub const COAP_PATH_BYTES_MAX: usize = 128;
/// What a CoAP message may have around its payload.
pub const COAP_OVERHEAD_BYTES: usize = 1_024;

/// MQTT: a topic, and so the name of a peer.
pub const MQTT_TOPIC_BYTES_MAX: usize = 512;
/// Payload of a message; of a longer one so much is kept in quarantine.
pub const MQTT_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// A packet of the broker that is read. It has no way of learning that one is too long but a connection that ends; a longer one
/// is taken by a connection of its own, up to the 256 MiB of MQTT, and only its beginning is kept.
pub const MQTT_PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long such a connection waits for another one of them before it makes way for an ordinary one.
pub const MQTT_LONG_FOR: Duration = Duration::from_secs(10);
/// A listener without its broker for longer than this is a failure of the station.
pub const MQTT_AWAY_MAX: Duration = Duration::from_secs(900);
/// Messages of one broker that are not durable yet; beyond that it is not listened to.
pub const MQTT_IN_HAND_MAX: usize = 1_024;
/// Acknowledgements and answers that wait to be written to the broker.
pub const MQTT_REQUESTS_MAX: usize = 4 * MQTT_IN_HAND_MAX;
/// Messages of one broker that are remembered as settled, for the case that they are sent again.
pub const MQTT_SETTLED_MAX: usize = 8_192;
/// Newest journal entries that are looked at for messages that a station had made durable and not acknowledged before it
/// ended.
pub const MQTT_TAIL_ENTRIES_MAX: usize = 65_536;
/// First and longest pause before a broker is called again.
pub const MQTT_RETRY_MIN: Duration = Duration::from_millis(500);
pub const MQTT_RETRY_MAX: Duration = Duration::from_secs(60);
pub const MQTT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub const MQTT_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A file with a password.
pub const PASSWORD_FILE_BYTES_MAX: u64 = 4 * 1024;

// --- Sessions ---------------------------------------------------------------------------------------------------

/// From connecting to the first whole frame.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// After the last command or report: the terminal closes, and so do we.
pub const COMMAND_WAIT: Duration = Duration::from_secs(120);
/// Longest communication of a device that does not stay on line and does not say how long it stays awake.
pub const AWAKE_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Missing heartbeats after which an always-online device counts as gone.
pub const HEARTBEATS_MISSED_MAX: u32 = 3;
/// The end of a frame that has begun behind a device's last report.
pub const REST_WAIT: Duration = Duration::from_secs(5);
/// Reads of what a socket holds still when its session is over.
pub const REST_READS_MAX: usize = 64;
/// Silence that ends a connection on which several devices report and nobody waits for words of ours, as of a radio gateway.
pub const ONE_WAY_SILENCE: Duration = Duration::from_secs(60 * 60);
/// How long a replaced session may take to end.
pub const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long open sessions may take to end when the station stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How far a device's clock and the station's may be apart while both count as right, ways through carriers included.
pub const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(300);
/// Days that a station asks for by itself, and looks back to see which are missing: as many as a meter keeps.
pub const MISSING_DAYS_MAX: i32 = 31;

// --- Devices behind carriers ------------------------------------------------------------------------------------

/// Carriers one behind the other that a session speaks through.
pub const RELAY_DEPTH_MAX: usize = 3;
/// Pieces that all relayed payloads of one frame are cut into, and bytes of what they meant.
pub const PARTS_OF_FRAME_MAX: usize = 64;
pub const PARTS_BYTES_MAX: usize = 184 * 1024;
/// Of those, what is set aside for each piece beside its messages: who sent and read it, what is remembered or was wrong, and a
/// word on what was not looked at behind it.
pub const PART_BYTES_MAX: usize = 1024;
/// Devices behind one session whose adapter's session state is kept; the one that was idle longest goes.
pub const BEHIND_STATES_MAX: usize = 256;
/// Devices behind one carrier that the status page counts.
pub const BEHIND_COUNTED_MAX: usize = 2_000;
/// Frames of a carrier that become durable together.
pub const CARRIED_FRAMES_MAX: usize = 32;

/// Frames that one command behind a carrier may take, questions of a polled exchange included.
pub const RELAY_LEGS_MAX: u32 = 96;
/// Lines of one carrier that may have a question under way at a time.
pub const LINES_AT_ONCE_MAX: usize = 64;
/// Longest that a carrier may wait for a device behind it, unless the configuration says otherwise.
pub const RELAY_TIMEOUT_S: u8 = 60;
/// How long a line rests whose carrier was too busy.
pub const CARRIER_BUSY_PAUSE: Duration = Duration::from_secs(2);
/// Devices behind one carrier that are looked at to say how many wait.
pub const BEHIND_SCAN_MAX: usize = 4_096;
/// Devices of one line that are looked at for one that can be asked.
pub const LINE_SCAN_MAX: usize = 256;

// --- Polls ------------------------------------------------------------------------------------------------------

/// Polls of one station.
pub const POLLS_MAX: usize = 64;
/// Commands of one poll that wait at a time; others are ordered as these end.
pub const POLL_WAITING_MAX: usize = 10_000;
/// Commands of a poll that are ordered together.
pub const POLL_BATCH: usize = 128;
/// How often polls are looked at.
pub const POLL_LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long before and after the end of a round's time the next one waits for what was asked last: commands whose time is over go with
/// a sweep. Less than the shortest time that a round may have, or it would go by meanwhile.
pub const POLL_TAIL_MAX: Duration = Duration::from_secs(2 * EXPIRY_SWEEP_EVERY.as_secs());
/// A round that was due so much later than now is void: the machine's clock was ahead. More than the hour that comes twice in autumn.
pub const POLL_ROUND_AHEAD_MAX: Duration = Duration::from_secs(3 * 3600);
/// How long polls wait for a machine's clock that is behind rounds that were told. Nobody knows whether it was lost or was ahead before.
pub const POLL_DOUBT_MAX: Duration = Duration::from_secs(30 * 60);
/// Rounds of one poll that are remembered.
pub const POLL_ROUNDS_KEPT_MAX: usize = 100;
/// Longest pause between two attempts, and between two questions on one line.
pub const POLL_RETRY_MAX: Duration = Duration::from_secs(24 * 3600);
pub const POLL_GAP_MAX: Duration = Duration::from_secs(60);

// --- Concentrator archives --------------------------------------------------------------------------------------

/// Entries that are asked for or ordered in one command.
pub const ARCHIVE_ENTRIES_PER_COMMAND: u8 = 32;
/// Entries of one concentrator's archive.
pub const ARCHIVE_ENTRIES_MAX: usize = 65_536;
/// Longest that a comparison waits for the concentrator.
pub const ARCHIVE_WAIT_MAX: Duration = Duration::from_secs(900);
/// How old what was read of an archive may be when changes are ordered from it.
pub const ARCHIVE_COMPARISON_AGE_MAX: Duration = Duration::from_secs(3600);

// --- Commands ---------------------------------------------------------------------------------------------------

/// Commands waiting for one device.
pub const COMMANDS_PENDING_MAX: usize = 64;
/// The same with those that nobody has confirmed.
pub const COMMANDS_UNFINISHED_MAX: usize = 1_024;
/// Sendings of which nobody knows what became and whose late answers are still told, in the whole station.
pub const GIVEN_UP_MAX: usize = 4_096;
/// Sendings of one command, the first included.
pub const COMMAND_ATTEMPTS_MAX: u8 = 3;
/// Longest life of a command.
pub const COMMAND_EXPIRY_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// Life of a command that does not say.
pub const COMMAND_EXPIRY_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Life of a valve order that does not say, and the longest it may have: nobody expects a valve to move next week.
pub const VALVE_EXPIRY_DEFAULT: Duration = Duration::from_secs(24 * 3600);
pub const VALVE_EXPIRY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far the machine's clock may go back, as it does when it is set by a hair, before orders wait for it.
pub const CLOCK_BACK_MAX: Duration = Duration::from_secs(120);
/// A code of wit/codes.md, as the reason of a valve order.
pub const REASON_BYTES_MAX: usize = 64;
/// Texts and lists inside a command.
pub const COMMAND_BYTES_MAX: usize = 8 * 1024;
/// Steps of a tariff.
pub const TARIFF_PRICES_MAX: usize = 6;
/// Times in what people order: the years 2000 to 2099, as seconds since 1970. Most protocols have two digits for the year.
pub const ORDER_CIVIL_MIN: i64 = 946_684_800;
pub const ORDER_CIVIL_MAX: i64 = 4_102_444_799;
/// How often expired commands are looked for.
pub const EXPIRY_SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Longest time a device may be given to answer one command.
pub const ANSWER_WITHIN_MAX: Duration = Duration::from_secs(600);

/// Name of a key's slot.
pub const KEY_SLOT_BYTES_MAX: usize = 32;

// --- Adapters ---------------------------------------------------------------------------------------------------

/// One call into a guest.
pub const GUEST_DEADLINE: Duration = Duration::from_millis(20);
/// Step of the epoch clock that deadlines are counted in.
pub const EPOCH_TICK: Duration = Duration::from_millis(5);
/// Linear memory of one instance.
pub const GUEST_MEMORY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Table elements of one instance.
pub const GUEST_TABLE_ELEMENTS_MAX: usize = 10_000;
/// Longest time from a guest call's first interruption to its end, when the machine gives it no CPU time to spend.
pub const GUEST_STALL_MAX: Duration = Duration::from_secs(1);
/// Stack of one guest call.
pub const GUEST_STACK_BYTES_MAX: usize = 512 * 1024;
/// Instances over all threads.
pub const GUEST_INSTANCES_MAX: u32 = 1_000;
/// Idle instances that one thread keeps.
pub const GUEST_INSTANCES_PER_THREAD_MAX: usize = 16;
/// Core instances inside one component: the adapter's module and the shims around it.
pub const GUEST_CORE_INSTANCES_MAX: u32 = 8;
/// Tables of one component.
pub const GUEST_TABLES_MAX: u32 = 4;
/// Bytes that the host allocates for one guest answer, before it is checked.
pub const GUEST_LIFT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// One log line of a guest.
pub const GUEST_LOG_BYTES_MAX: usize = 512;
/// Component file.
pub const COMPONENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Its manifest section.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;
/// Its vectors section.
pub const VECTORS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Processor time of all its vectors together. Those of a sound adapter take well under a second; while they run, no other
/// component comes in.
pub const VECTORS_CPU_TIME_MAX: Duration = Duration::from_secs(10);
/// Signatures of one adapter file: its vendor, a distributor, a test house, the operator.
pub const SIGNATURES_MAX: usize = 8;
/// File with a secret key.
pub const KEY_FILE_BYTES_MAX: usize = 4 * 1024;
/// Adapter files in one directory.
pub const ADAPTER_FILES_MAX: usize = 256;
/// Versions installed at a time, over all names.
pub const ADAPTERS_INSTALLED_MAX: usize = 256;
/// The trust file.
pub const TRUST_BYTES_MAX: usize = 256 * 1024;
/// How long a replaced version may take to finish its last calls before it counts as standing by.
pub const ADAPTER_DRAIN_MAX: Duration = Duration::from_secs(2);
/// How long after a change of who serves a frame may still be on its way into the journal.
pub const ADAPTER_SETTLE: Duration = Duration::from_millis(100);
/// Within this time so many calls of one version must fail, by so many devices, and one in so many of its frames, before
/// it goes to quarantine. A single device that upsets an adapter is that device's trouble.
pub const STRIKE_WINDOW: Duration = Duration::from_secs(600);
pub const STRIKES_MAX: usize = 10;
pub const STRIKE_SOURCES_MIN: usize = 3;
pub const STRIKE_ONE_IN: u64 = 1_000;
/// Strikes of one source that are counted in a window.
pub const STRIKES_OF_ONE_MAX: usize = 8;
/// Within that time so many different frames of different peers that nobody could name condemn a version, even if all come from
/// one host, unless it has understood one stranger for every so many of them, or nobody stands by to take over.
pub const STRIKE_STRANGERS_MIN: usize = 20;
pub const STRIKE_STRANGERS_MET_ONE_IN: u64 = 10;
/// Strikes of one version that are remembered, and versions that are watched.
pub const STRIKES_KEPT_MAX: usize = 64;
pub const STRIKE_RECORDS_MAX: usize = 256;
/// Within this time so much processor time of calls that run long, over so many devices (no one of which counts for more than
/// its share) and on average so much a frame, puts a version into quarantine while others wait. Ordinary calls, of
/// microseconds, never count.
pub const BUDGET_WINDOW: Duration = Duration::from_secs(10);
pub const BUDGET_CPU_TIME: Duration = Duration::from_secs(1);
pub const BUDGET_SOURCES_MIN: u32 = 3;
pub const BUDGET_CPU_TIME_A_FRAME: Duration = Duration::from_millis(1);
/// Frames over which an adapter failed in the sandbox become durable together, so often.
pub const SANDBOX_FAULTS_EVERY: Duration = Duration::from_millis(200);
/// A call that takes so much processor time beyond its first interruption makes its device a suspect; how many of them are
/// remembered, and how many calls of theirs wait for their turn.
pub const SUSPECT_CPU_TIME: Duration = EPOCH_TICK;
pub const SUSPECTS_MAX: usize = 10_000;
pub const PENALTY_QUEUE_MAX: usize = 64;
/// Devices of one version whose long calls are told apart.
pub const BUDGET_SOURCES_KEPT_MAX: usize = 64;
/// Differences that are told of one frame, kinds of them that a review tells apart, and examples of each.
pub const DIFFERENCES_OF_FRAME_MAX: usize = 32;
pub const REVIEW_GROUPS_MAX: usize = 500;
pub const REVIEW_EXAMPLES_MAX: usize = 3;
/// Live frames waiting to be shown to a shadow; later ones are dropped and counted.
pub const MIRROR_QUEUE_MAX: usize = 1_024;
/// Sessions and devices of which a replay remembers something.
pub const REPLAY_SESSIONS_MAX: usize = 100_000;
pub const REPLAY_DEVICES_MAX: usize = 1_000_000;
/// Entries that a replay reads at a time.
pub const REPLAY_ENTRIES: usize = 4_096;
/// How often one frame may be corrected.
pub const CORRECTIONS_OF_FRAME_MAX: usize = 16;
/// Compiled adapters that are kept on disk.
pub const CACHED_CODE_FILES_MAX: usize = ADAPTERS_INSTALLED_MAX;
/// One compiled adapter on disk.
pub const CACHED_CODE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Messages of one decoded frame.
pub const MESSAGES_MAX: usize = 256;
/// Registers and samples of one decoded frame, all reports together.
pub const VALUES_MAX: usize = 8_192;
/// All strings and byte lists of one guest answer together.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Messages of one decoded frame, as an entry has them; and what one value and one message take there at most, beside texts and
/// byte lists.
pub const MESSAGES_BYTES_MAX: usize = 240 * 1024;
pub const VALUE_BYTES_MAX: usize = 40;
pub const MESSAGE_HEAD_BYTES: usize = 64;
/// What a message grows by at most once whom a carrier speaks of is named `realm/address` in it.
pub const NAMED_BYTES_MAX: usize = 64;
/// One string of a guest answer.
pub const TEXT_BYTES_MAX: usize = 512;
/// What a guest says about a fault.
pub const DETAIL_BYTES_MAX: usize = 200;
/// Decimal exponent of a value, either sign.
pub const EXPONENT_MAX: u8 = 18;
/// Device times lie in the years 1900 to 2299, as seconds since 1970.
pub const CIVIL_MIN: i64 = -2_208_988_800;
pub const CIVIL_MAX: i64 = 10_413_791_999;
/// Session state of an adapter.
pub const STATE_BYTES_MAX: usize = 4 * 1024;
/// What an adapter may have remembered of a device.
pub const MEMORY_BYTES_MAX: usize = 256;
/// A command's correlation.
pub const CORRELATION_BYTES_MAX: usize = 32;
/// Frames of one encoded command.
pub const ENCODED_FRAMES_MAX: usize = 16;
/// Key handles that one call may hold, and cipher calls it may make.
pub const KEY_CALLS_MAX: u32 = 256;
/// Bytes of one cipher call.
pub const CIPHER_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Log lines of one adapter a second.
pub const GUEST_LOG_LINES_PER_S: u32 = 10;
/// A profile's JSON.
pub const PROFILE_BYTES_MAX: usize = 64 * 1024;
/// Profiles of a station, versions of one, and whom they are bound to; for many devices there is the registry's column.
pub const PROFILES_MAX: usize = 1_000;
pub const PROFILE_VERSIONS_MAX: u32 = 10_000;
pub const PROFILE_BINDINGS_MAX: usize = 10_000;
/// How often the adapter directory is looked at.
pub const ADAPTER_SCAN_EVERY: Duration = Duration::from_millis(500);
/// For so many looks (ten seconds) a trust file that is empty or gone is taken for one that is being written.
pub const TRUST_BLANK_LOOKS: u32 = 20;

// --- Journal and views ------------------------------------------------------------------------------------------

/// Entries of one commit.
pub const COMMIT_ENTRIES_MAX: usize = 4_096;
/// After a commit of at least so many entries the writer waits for as many again, at most so long.
pub const COMMIT_GATHER_FROM: usize = 64;
pub const COMMIT_GATHER: Duration = Duration::from_millis(4);
/// Bytes of one commit.
pub const COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Facts told again together before the day that told them is dropped.
pub const RETOLD_AT_ONCE: usize = 1_000;
/// Entries waiting for the writer; a large one counts as several, one for each started `JOURNAL_QUEUE_STEP_BYTES`.
pub const JOURNAL_QUEUE_MAX: usize = 16_384;
pub const JOURNAL_QUEUE_STEP_BYTES: usize = 4 * 1024;
/// A journal file that has grown past this is sealed and followed by a new one. It bounds what a restart after a
/// crash has to walk.
pub const SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Sealed journal files open for reading at a time.
pub const SEGMENTS_OPEN_MAX: usize = 8;
/// Page cache of the journal file being written, and of each one being read.
pub const SEGMENT_WRITE_CACHE_BYTES: usize = 32 * 1024 * 1024;
pub const SEGMENT_READ_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// How often a journal that nobody writes to is looked for.
pub const JOURNAL_LOOK_EVERY: Duration = Duration::from_secs(3);
/// First and longest pause before a failed journal or view file is opened again.
pub const STORE_RETRY_MIN: Duration = Duration::from_millis(100);
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(5);
/// One entry, encoded.
pub const ENTRY_BYTES_MAX: usize = 512 * 1024;
/// What the entry of a frame has beside bytes, messages and parts: listener, peer, device, adapter, memory.
pub const FRAME_OVERHEAD_BYTES: usize = 4 * 1024;
/// Entries that the views fold into one transaction.
pub const VIEW_BATCH_ENTRIES_MAX: usize = 50_000;
/// Committed entries kept in memory for the views, so that they need not read the file.
pub const RECENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Devices whose rows stay in memory between batches; about 500 bytes each.
pub const DEVICE_CACHE_ROWS_MAX: usize = 150_000;
/// Frames kept aside of one device that is held; later ones stay in the journal only.
pub const HELD_FRAMES_MAX: u64 = 1_000;
/// Undecodable frames that are listed and decoded again; the oldest go first, and stay in the journal.
pub const QUARANTINE_FRAMES_MAX: usize = 100_000;
/// Steps of one command that are listed.
pub const COMMAND_STEPS_MAX: usize = 64;
/// Last reports that are kept for a page.
pub const LATEST_REPORTS_MAX: usize = 200;
/// How often a long catching-up says how far it is.
pub const CATCH_UP_REPORT_EVERY: Duration = Duration::from_secs(2);
/// Text in a record of the device registry: manufacturer, model, district, customer reference.
pub const RECORD_TEXT_BYTES_MAX: usize = 160;
/// Concentrators and DTUs in front of one device, one behind the other. Older journals have more; nothing reaches those.
pub const RECORD_DEPTH_MAX: usize = RELAY_DEPTH_MAX;
/// Rows and bytes of one chunk of an import: it becomes one entry, so that it holds as a whole or not at all.
pub const CHUNK_ROWS_MAX: usize = 4_000;
pub const CHUNK_BYTES_MAX: usize = 184 * 1024;
/// Keys that are imported through a pipe, which can be read only once, are held in memory: a million rows.
pub const PIPED_KEYS_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Bytes that a row takes in an entry beyond its text in a chunk: lengths and what is not said.
pub const RECORD_OVERHEAD_BYTES: usize = 16;
/// Changed records that the views need not show yet; whoever writes more of them waits.
pub const RECORDS_PENDING_MAX: usize = 150_000;
/// How long a writer of records waits for the views to come after it.
pub const RECORDS_SHOWN_WITHIN: Duration = Duration::from_secs(60);
/// Entries of the registry that are looked at together when old days are dropped.
pub const RETOLD_ENTRIES_MAX: usize = 256;
/// Pages of an export that wait for a slow reader.
pub const EXPORT_PAGES_WAITING_MAX: usize = 4;
/// Days the journal keeps frames, unless the configuration says otherwise.
pub const RETENTION_DAYS_DEFAULT: u32 = 400;

/// How often old days are looked for.
pub const RETENTION_EVERY: Duration = Duration::from_secs(3600);
/// Devices remembered to have used their maker's default key.
pub const DEFAULT_KEYS_SEEN_MAX: usize = 100_000;

// --- Interfaces -------------------------------------------------------------------------------------------------

/// Body of an API request; adapters are uploaded with `COMPONENT_BYTES_MAX`.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// A body up to this size is taken in before anything is decided about its request.
pub const EARLY_BODY_BYTES_MAX: usize = 64 * 1024;
/// Rows of one page of any listing.
pub const PAGE_ROWS_MAX: usize = 1_000;
pub const PAGE_ROWS_DEFAULT: usize = 100;
/// Bytes of journal entries that one page is made of.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Note of a command.
pub const NOTE_BYTES_MAX: usize = 1_000;
/// How long an answer waits for the views to show what it has just written.
pub const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer waits until a scan has seen an installed adapter.
pub const ADAPTER_SEEN_WITHIN: Duration = Duration::from_secs(60);
/// HTTP connections at a time.
pub const HTTP_CONNECTIONS_MAX: usize = 256;
/// HTTP connections of one address at a time: no single machine may keep the others out.
pub const HTTP_CONNECTIONS_OF_PEER_MAX: usize = HTTP_CONNECTIONS_MAX / 2;
/// Time for the head of a request, from its first byte; of a connection's first request, from the beginning.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time in which no byte moves on an HTTP connection, the pause between two requests included; not while the station
/// works on one.
pub const HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after no connection could be accepted.
pub const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests under way may take when the station stops.
pub const HTTP_DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Damaged copies of its vectors' frames that `adapter test` gives to an adapter.
pub const DAMAGED_FRAMES_MAX: usize = 500_000;
/// Calls and time that `adapter bench` spends on one vector.
pub const BENCH_CALLS_MAX: usize = 2_000;
pub const BENCH_VECTOR_TIME: Duration = Duration::from_millis(500);
/// A file of recorded frames.
pub const CAPTURE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest that `adapter replay` waits for an answer to one frame.
pub const REPLAY_WAIT_MAX: Duration = Duration::from_secs(60);
/// One line on `adapter decode`'s input: a frame in hex with room for blanks.
pub const HEX_LINE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

const _: () = {
    assert!(FRAME_BYTES_MAX * 2 < MQTT_PAYLOAD_BYTES_MAX, "a frame must fit as text");
    assert!(MQTT_PAYLOAD_BYTES_MAX < ENTRY_BYTES_MAX / 2 && MQTT_PAYLOAD_BYTES_MAX < MQTT_PACKET_BYTES_MAX);
    assert!(MQTT_IN_HAND_MAX < MQTT_SETTLED_MAX && MQTT_IN_HAND_MAX < MQTT_TAIL_ENTRIES_MAX);
    assert!(COAP_ACK_WITHIN.as_millis() < COAP_ACK_TIMEOUT.as_millis());
    assert!(COAP_UPLOADS_MAX * FRAME_BYTES_MAX <= COAP_ANSWER_BYTES_MAX);
    assert!(READ_BYTES_MAX <= FRAME_BYTES_MAX);
    assert!(NOISE_BYTES_MAX <= FRAME_BYTES_MAX);
    assert!((FRAME_BYTES_MAX + DATAGRAM_OVERHEAD_BYTES) * DATAGRAM_QUEUE_MAX * 4 <= DATAGRAM_QUEUED_BYTES_MAX);
    assert!(FRAME_BYTES_MAX < OUTPUT_BYTES_MAX, "an adapter must be able to hand a whole frame back");
    assert!(ENTRY_BYTES_MAX <= COMMIT_BYTES_MAX);
    assert!(
        MQTT_PAYLOAD_BYTES_MAX
            + (MESSAGES_BYTES_MAX + MESSAGES_MAX * NAMED_BYTES_MAX)
            + PARTS_BYTES_MAX
            + FRAME_OVERHEAD_BYTES
            <= ENTRY_BYTES_MAX,
        "what one frame yields must fit one entry, however it came"
    );
    assert!(MQTT_TOPIC_BYTES_MAX + MEMORY_BYTES_MAX + PART_BYTES_MAX < FRAME_OVERHEAD_BYTES);
    assert!(
        OUTPUT_BYTES_MAX + VALUES_MAX * 20 <= MESSAGES_BYTES_MAX,
        "as many values as are allowed, of ordinary size"
    );
    assert!(MEMORY_BYTES_MAX < PART_BYTES_MAX && TEXT_BYTES_MAX < PART_BYTES_MAX);
    assert!(
        PARTS_OF_FRAME_MAX * PART_BYTES_MAX <= PARTS_BYTES_MAX / 2,
        "what parts say is more than that they are there"
    );
    assert!(
        CHUNK_BYTES_MAX + CHUNK_ROWS_MAX * RECORD_OVERHEAD_BYTES + 1024 <= ENTRY_BYTES_MAX,
        "a chunk of an import is one entry"
    );
    assert!(RECORD_DEPTH_MAX <= RELAY_DEPTH_MAX, "who has a record must be reached");
    assert!(CHUNK_BYTES_MAX <= REQUEST_BYTES_MAX && CHUNK_ROWS_MAX <= RECORDS_PENDING_MAX);
    assert!(CHUNK_ROWS_MAX <= COMMIT_ENTRIES_MAX, "a chunk of keys is one commit");
    assert!(GUEST_LIFT_BYTES_MAX > VALUES_MAX * 128 + OUTPUT_BYTES_MAX, "an answer within its limits must be liftable");
    assert!(GUEST_INSTANCES_PER_THREAD_MAX * 32 <= GUEST_INSTANCES_MAX as usize);
    assert!(STRIKES_MAX <= STRIKES_KEPT_MAX && STRIKE_SOURCES_MIN <= STRIKES_MAX);
    assert!(STRIKE_SOURCES_MIN * STRIKES_OF_ONE_MAX >= STRIKES_MAX, "so few sources must be able to reach the budget");
    assert!(STRIKES_MAX <= STRIKE_STRANGERS_MIN && STRIKE_STRANGERS_MIN <= STRIKES_KEPT_MAX);
    assert!(BUDGET_SOURCES_MIN as usize <= BUDGET_SOURCES_KEPT_MAX);
    assert!(EPOCH_TICK.as_millis() * 2 <= GUEST_DEADLINE.as_millis());
    assert!(STATE_BYTES_MAX + MEMORY_BYTES_MAX <= OUTPUT_BYTES_MAX);
    assert!(VALVE_EXPIRY_DEFAULT.as_secs() <= VALVE_EXPIRY_MAX.as_secs());
    assert!(2 * POLL_TAIL_MAX.as_secs() < 60);
    assert!(VALVE_EXPIRY_MAX.as_secs() <= COMMAND_EXPIRY_MAX.as_secs());
    assert!(CIVIL_MIN < ORDER_CIVIL_MIN && ORDER_CIVIL_MAX < CIVIL_MAX);
    assert!(HTTP_CONNECTIONS_OF_PEER_MAX < HTTP_CONNECTIONS_MAX);
    assert!(HTTP_HEAD_TIMEOUT.as_millis() < HTTP_IDLE_TIMEOUT.as_millis());
    assert!(PAGE_ROWS_DEFAULT <= PAGE_ROWS_MAX);
    assert!(
        COMMIT_ENTRIES_MAX + COMMIT_BYTES_MAX / JOURNAL_QUEUE_STEP_BYTES <= JOURNAL_QUEUE_MAX,
        "what belongs together must find room"
    );
    assert!(COMMIT_BYTES_MAX as u64 * 4 <= SEGMENT_BYTES_MAX);
    assert!(ENTRY_BYTES_MAX / JOURNAL_QUEUE_STEP_BYTES < JOURNAL_QUEUE_MAX, "the largest entry must find room");
};
