//! Counters and gauges by Prometheus' conventions. No meter id is ever a label.

use crate::journal::{CommandStep, FaultKind};
use crate::link::mqtt::{BrokerState, Watch};
use crate::session::machine::Closing;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

type Labels = Vec<(&'static str, String)>;
/// What is counted for every frame or session is counted without making a text.
type Fixed = [(&'static str, &'static str); 1];
type Shared = [(&'static str, Arc<str>); 1];

/// A listener and its own count.
type Dropped = (String, Arc<AtomicU64>);
/// A listener, and who tells how many messages it has refused, and how many came again.
type Coap = (String, Arc<dyn Fn() -> (u64, u64) + Send + Sync>);

/// What the station counts.
#[derive(Clone, Default)]
pub struct Metrics {
    sessions_open: Gauge,
    sessions_opened: Counter,
    sessions_closed: Family<Fixed, Counter>,
    connections_refused: Family<Labels, Counter>,
    handshakes_failed: Family<Labels, Counter>,
    /// Counted where datagrams are taken off the socket, by listener.
    datagrams_dropped: Arc<Mutex<Vec<Dropped>>>,
    coap: Arc<Mutex<Vec<Coap>>>,
    brokers: Arc<Mutex<Vec<(String, Watch)>>>,
    frames: Family<(Shared, Fixed), Counter>,
    faults: Family<Labels, Counter>,
    commands: Family<Fixed, Counter>,
    poll_rounds: Family<Labels, Counter>,
}

/// What is read off other parts at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub journal_last_seq: u64,
    pub journal_queue: u64,
    pub journal_failing: bool,
    pub views_lag: u64,
    pub devices_online: u64,
    pub commands_unfinished: u64,
    pub adapters_active: u64,
    /// Poll, what became of questions of its last round, and how many.
    pub polls: Vec<(String, &'static str, u64)>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("sessions_open", &self.sessions_open.get()).finish_non_exhaustive()
    }
}

impl Metrics {
    pub fn session_opened(&self) {
        self.sessions_opened.inc();
        self.sessions_open.inc();
    }

    pub fn session_closed(&self, why: Closing) {
        self.sessions_open.dec();
        self.sessions_closed.get_or_create(&[("reason", why.name())]).inc();
    }

    pub fn sessions_open(&self) -> u64 {
        self.sessions_open.get().max(0) as u64
    }

    /// A connection that the listener had no room for.
    pub fn connection_refused(&self, listener: &str) {
        self.connections_refused.get_or_create(&vec![("listener", listener.into())]).inc();
    }

    /// A TLS handshake that came to no end, or to a bad one.
    pub fn handshake_failed(&self, listener: &str) {
        self.handshakes_failed.get_or_create(&vec![("listener", listener.into())]).inc();
    }

    /// Shows a listener's own count of datagrams that no session has seen.
    pub fn follow_dropped(&self, listener: &str, dropped: Arc<AtomicU64>) {
        self.datagrams_dropped.lock().unwrap_or_else(PoisonError::into_inner).push((listener.into(), dropped));
    }

    /// Shows a CoAP listener's own counts.
    pub fn follow_coap(&self, listener: &str, counts: impl Fn() -> (u64, u64) + Send + Sync + 'static) {
        self.coap.lock().unwrap_or_else(PoisonError::into_inner).push((listener.into(), Arc::new(counts)));
    }

    /// Shows how it stands with a listener's broker.
    pub fn follow_broker(&self, listener: &str, watch: Watch) {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner).push((listener.into(), watch));
    }

    /// Every broker by its listener.
    pub fn brokers(&self) -> Vec<(String, BrokerState)> {
        let brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        brokers.iter().map(|(listener, watch)| (listener.clone(), watch.state())).collect()
    }

    pub fn frame(&self, adapter: &Arc<str>, duplicate: bool) {
        let kind = if duplicate { "duplicate" } else { "new" };
        self.frames.get_or_create(&([("adapter", adapter.clone())], [("kind", kind)])).inc();
    }

    pub fn fault(&self, adapter: &str, kind: FaultKind) {
        self.faults.get_or_create(&vec![("adapter", adapter.into()), ("kind", kind.name().into())]).inc();
    }

    pub fn command_step(&self, step: &CommandStep) {
        self.commands.get_or_create(&[("step", step.name())]).inc();
    }

    /// A round of a poll was begun, or skipped because the one before was not over.
    pub fn poll_round(&self, poll: &str, what: &'static str) {
        self.poll_rounds.get_or_create(&vec![("poll", poll.into()), ("what", what.into())]).inc();
    }

    fn dropped(&self) -> Family<Labels, Counter> {
        let family = Family::<Labels, Counter>::default();
        for (listener, dropped) in &*self.datagrams_dropped.lock().unwrap_or_else(PoisonError::into_inner) {
            family.get_or_create(&vec![("listener", listener.clone())]).inc_by(dropped.load(Relaxed));
        }
        family
    }

    fn coap(&self) -> [Family<Labels, Counter>; 2] {
        let [rejected, repeated] = [Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default()];
        for (listener, counts) in &*self.coap.lock().unwrap_or_else(PoisonError::into_inner) {
            let (refused, again) = counts();
            rejected.get_or_create(&vec![("listener", listener.clone())]).inc_by(refused);
            repeated.get_or_create(&vec![("listener", listener.clone())]).inc_by(again);
        }
        [rejected, repeated]
    }

    fn register_brokers(&self, registry: &mut Registry) {
        let (connected, messages) = (Family::<Labels, Gauge>::default(), Family::<Labels, Counter>::default());
        let connections = Family::<Labels, Counter>::default();
        for (listener, state) in self.brokers() {
            let label = vec![("listener", listener.clone())];
            connected.get_or_create(&label).set(i64::from(state.subscribed));
            connections.get_or_create(&label).inc_by(state.connections);
            for (kind, count) in [
                ("heard", state.heard),
                ("unreadable", state.unreadable),
                ("repeated", state.repeated),
                ("ignored", state.ignored),
            ] {
                messages.get_or_create(&vec![("listener", listener.clone()), ("kind", kind.into())]).inc_by(count);
            }
        }
        registry.register("mqtt_subscribed", "1 while the broker sends what is asked for", connected);
        registry.register("mqtt_connections", "Connections to the broker", connections);
        registry.register("mqtt_messages", "Messages of the broker", messages);
    }

    /// The exposition in OpenMetrics text.
    pub fn expose(&self, now: &Snapshot) -> String {
        let mut registry = Registry::with_prefix("polymeter");
        registry.register("sessions_open", "Sessions open now", self.sessions_open.clone());
        registry.register("sessions_opened", "Sessions opened", self.sessions_opened.clone());
        registry.register("sessions_closed", "Sessions closed, by reason", self.sessions_closed.clone());
        registry.register("connections_refused", "Connections that found no room", self.connections_refused.clone());
        registry.register("tls_handshakes_failed", "TLS handshakes that failed", self.handshakes_failed.clone());
        registry.register("datagrams_dropped", "Datagrams that no session has seen", self.dropped());
        let [rejected, repeated] = self.coap();
        registry.register("coap_rejected", "CoAP messages that were refused or meant nothing", rejected);
        registry.register("coap_repeated", "CoAP requests that came again and were not decoded again", repeated);
        self.register_brokers(&mut registry);
        registry.register("frames", "Frames decoded and durable", self.frames.clone());
        registry.register("faults", "Pieces kept in quarantine", self.faults.clone());
        registry.register("command_steps", "Steps in the life of commands", self.commands.clone());
        registry.register("poll_rounds", "Rounds of polls, begun or skipped", self.poll_rounds.clone());
        let questions = Family::<Labels, Gauge>::default();
        for (poll, state, count) in &now.polls {
            questions.get_or_create(&vec![("poll", poll.clone()), ("state", (*state).into())]).set(*count as i64);
        }
        registry.register("poll_questions", "Questions of each poll's last round, by what became of them", questions);
        for (name, help, value) in [
            ("journal_last_seq", "Last durable journal entry", now.journal_last_seq),
            ("journal_queue_entries", "Entries waiting for the writer", now.journal_queue),
            ("journal_failing", "1 while the journal cannot be written", u64::from(now.journal_failing)),
            ("views_lag_entries", "Entries that the views have not folded yet", now.views_lag),
            ("devices_online", "Devices with an open session", now.devices_online),
            ("commands_unfinished", "Commands that are not finished", now.commands_unfinished),
            ("adapters_active", "Adapters that serve", now.adapters_active),
        ] {
            let gauge: Gauge = Gauge::default();
            gauge.set(value as i64);
            registry.register(name, help, gauge);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let metrics = Metrics::default();
        metrics.session_opened();
        metrics.session_closed(Closing::CommandWait);
        metrics.frame(&"usp".into(), false);
        metrics.fault("usp", FaultKind::NotAuthentic);
        metrics.follow_dropped("nb", Arc::new(AtomicU64::new(3)));
        let text = metrics.expose(&Snapshot { journal_last_seq: 7, ..Snapshot::default() });
        for line in [
            "polymeter_sessions_opened_total 1",
            "polymeter_sessions_closed_total{reason=\"command-wait\"} 1",
            "polymeter_frames_total{adapter=\"usp\",kind=\"new\"} 1",
            "polymeter_faults_total{adapter=\"usp\",kind=\"not-authentic\"} 1",
            "polymeter_datagrams_dropped_total{listener=\"nb\"} 3",
            "polymeter_journal_last_seq 7",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
