//! The rules of CoAP between the station and its peers, as a pure machine: who said what, what was answered, what must be
//! said again. It keeps no time and owns no socket.
//!
//! A request is handed on once; its repetitions get the answer that it got (RFC 7252 §4.2, §4.5). What the peer must
//! acknowledge is repeated until it does. Bodies in blocks are put together, and long ones cut (RFC 7959).

mod outgoing;

use super::Options;
use super::message::{self, Block, Class, Draft, Kind, Message};
use crate::limits;
use outgoing::Outgoing;
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// What one datagram leads to.
#[derive(Debug, Default)]
pub struct Heard {
    /// To be sent to its peer at once.
    pub send: Vec<Vec<u8>>,
    pub event: Option<Event>,
}

/// What a session hears of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// To be answered under this number.
    Request { id: u16, payload: Vec<u8> },
    /// The peer's answer to something that the station has sent.
    Response { payload: Vec<u8> },
    /// The peer does not take, or does not hear, what the station sends.
    Gone,
}

/// What is due by now.
#[derive(Debug, Default)]
pub struct Due {
    pub send: Vec<(SocketAddr, Vec<u8>)>,
    pub gone: Vec<SocketAddr>,
}

/// All peers of one listener.
#[derive(Debug)]
pub struct Book {
    options: Options,
    /// Makes tokens and first message numbers that nobody can guess.
    secret: [u8; 16],
    drawn: u64,
    peers: FxHashMap<SocketAddr, Dialogue>,
    /// In the order in which they may be forgotten.
    kept: VecDeque<(Instant, SocketAddr, Item)>,
    answer_bytes: usize,
    uploads: usize,
    timers: BTreeMap<(Instant, u64), (SocketAddr, Timer)>,
    /// Messages that were refused or meant nothing.
    pub rejected: u64,
    /// Requests that came again and were not handed on again.
    pub repeated: u64,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Exchange(u16, Option<u64>),
    Upload(u64),
    Download(u64),
    Token(u64),
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The request has to be acknowledged, answered or not.
    Acknowledge(u16),
    /// What was sent under this number is sent again.
    Repeat(u16),
}

#[derive(Debug, Default)]
struct Dialogue {
    exchanges: FxHashMap<u16, Exchange>,
    upload: Option<(u64, Vec<u8>)>,
    download: Option<(u64, Arc<[u8]>)>,
    outgoing: Option<Outgoing>,
    waiting: VecDeque<Outgoing>,
    /// Of requests of ours that were acknowledged and may be answered yet.
    tokens: VecDeque<(u64, Vec<u8>)>,
    next_id: u16,
}

#[derive(Debug)]
struct Exchange {
    /// Of the whole datagram: a device that counts its messages anew after each sleep says something else under an old number.
    content: u64,
    token: Vec<u8>,
    kind: Kind,
    block1: Option<Block>,
    /// Size of blocks that the peer wants.
    size: u8,
    state: State,
}

#[derive(Debug)]
enum State {
    Open {
        acknowledged: bool,
    },
    /// What a repetition is told; empty: nothing.
    Answered(Vec<u8>),
}

impl Book {
    pub fn new(options: Options, secret: [u8; 16]) -> Self {
        Self {
            options,
            secret,
            drawn: 0,
            peers: FxHashMap::default(),
            kept: VecDeque::new(),
            answer_bytes: 0,
            uploads: 0,
            timers: BTreeMap::new(),
            rejected: 0,
            repeated: 0,
        }
    }

    /// One datagram.
    pub fn hear(&mut self, peer: SocketAddr, datagram: &[u8], now: Instant) -> Heard {
        self.forget_old(now);
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(malformed) => return self.reject(malformed.reset),
        };
        let confirmable = message.kind() == Kind::Confirmable;
        match (message.class(), message.kind()) {
            // A ping (§4.3).
            (Some(Class::Empty), Kind::Confirmable) => {
                Heard { send: vec![message::empty(Kind::Reset, message.id())], event: None }
            }
            (Some(Class::Empty), Kind::Acknowledgement) => {
                Heard { send: self.on_acknowledged(peer, message.id(), now).into_iter().collect(), event: None }
            }
            (Some(Class::Empty), Kind::Reset) => self.on_reset(peer, message.id(), now),
            (Some(Class::Request), Kind::Confirmable | Kind::NonConfirmable) => {
                self.on_request(peer, message, content_of(datagram), now)
            }
            (Some(Class::Response), Kind::Acknowledgement) => self.on_piggybacked(peer, message, now),
            (Some(Class::Response), Kind::Confirmable | Kind::NonConfirmable) => {
                self.on_response(peer, message, content_of(datagram), now)
            }
            _ => self.reject(confirmable.then_some(message.id())),
        }
    }

    /// Answers a request with all that the session has to say to it.
    pub fn answer(&mut self, peer: SocketAddr, id: u16, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        let serial = self.draw();
        let dialogue = self.peers.get_mut(&peer)?;
        let exchange = dialogue.exchanges.get(&id)?;
        let first = Block { number: 0, more: true, size: exchange.size };
        let block2 = (payload.len() > first.bytes()).then_some(first);
        if block2.is_some() {
            self.answer_bytes += payload.len();
            let before = dialogue.download.replace((serial, payload.into()));
            self.answer_bytes -= before.map_or(0, |(_, body)| body.len());
            self.keep(peer, Item::Download(serial), now);
        }
        let part = &payload[..payload.len().min(first.bytes())];
        self.respond(peer, id, message::CHANGED, block2, part, now)
    }

    /// The request cannot be dealt with now; the peer may come again.
    pub fn refuse(&mut self, peer: SocketAddr, id: u16, now: Instant) -> Option<Vec<u8>> {
        self.respond(peer, id, message::UNAVAILABLE, None, &[], now)
    }

    /// As if the request had never come: its repetition is handed on.
    pub fn forget(&mut self, peer: SocketAddr, id: u16) {
        self.drop_item(peer, Item::Exchange(id, None));
    }

    /// When `tick` has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn tick(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let (peer, timer) = entry.remove();
            match timer {
                Timer::Acknowledge(id) => due.send.extend(self.acknowledge(peer, id).map(|bytes| (peer, bytes))),
                Timer::Repeat(id) => self.repeat(peer, id, now, &mut due),
            }
        }
        self.forget_old(now);
        due
    }

    fn on_request(&mut self, peer: SocketAddr, request: Message, content: u64, now: Instant) -> Heard {
        if let Some(heard) = self.repetition(peer, &request, content) {
            return heard;
        }
        let (id, token, kind) = (request.id(), request.token().to_vec(), request.kind());
        let state = State::Open { acknowledged: false };
        let exchange = Exchange { content, token, kind, block1: None, size: message::SIZE_MAX, state };
        self.remember(peer, id, exchange, now);
        match self.take(peer, request, now) {
            Ok(event) => {
                if kind == Kind::Confirmable {
                    self.set_timer(now + limits::COAP_ACK_WITHIN, peer, Timer::Acknowledge(id));
                }
                Heard { send: Vec::new(), event: Some(event) }
            }
            Err(Reply { code, block2, payload }) => {
                self.rejected += u64::from(code >> 5 != 2);
                Heard { send: self.respond(peer, id, code, block2, &payload, now).into_iter().collect(), event: None }
            }
        }
    }

    /// What a new request asks for; `Err` is answered here.
    fn take(&mut self, peer: SocketAddr, request: Message, now: Instant) -> Result<Event, Reply> {
        if request.is_for_a_proxy() {
            return Err(message::PROXYING_NOT_SUPPORTED.into());
        }
        if request.has_unknown_critical() {
            return Err(message::BAD_OPTION.into());
        }
        if !matches!(request.code(), message::POST | message::PUT) {
            return Err(message::METHOD_NOT_ALLOWED.into());
        }
        if self.options.path.as_ref().is_some_and(|path| path.trim_matches('/') != request.path()) {
            return Err(message::NOT_FOUND.into());
        }
        let block1 = request.block1().map_err(|()| message::BAD_REQUEST)?;
        let block2 = request.block2().map_err(|()| message::BAD_REQUEST)?;
        if let Some(wanted) = block2 {
            if wanted.number > 0 {
                return Err(self.next_part(peer, wanted));
            }
            self.edit(peer, request.id(), |exchange| exchange.size = wanted.size);
        }
        let id = request.id();
        let payload = match block1 {
            Some(block) => {
                self.edit(peer, id, |exchange| exchange.block1 = Some(block));
                self.put_together(peer, block, request.payload(), now)?
            }
            None => request.into_payload(),
        };
        match payload.len() {
            0 => Err(message::BAD_REQUEST.into()),
            1..=limits::FRAME_BYTES_MAX => Ok(Event::Request { id, payload }),
            _ => Err(message::ENTITY_TOO_LARGE.into()),
        }
    }

    /// One piece of a body; the whole of it once the last one is there.
    fn put_together(&mut self, peer: SocketAddr, block: Block, part: &[u8], now: Instant) -> Result<Vec<u8>, Reply> {
        let before = self.end_upload(peer).filter(|_| block.number > 0);
        let mut body = match before {
            Some(body) if body.len() == block.offset() => body,
            None if block.number == 0 => Vec::new(),
            _ => return Err(message::ENTITY_INCOMPLETE.into()),
        };
        if block.more && part.len() != block.bytes() {
            return Err(message::BAD_REQUEST.into());
        }
        body.extend_from_slice(part);
        if body.len() > limits::FRAME_BYTES_MAX {
            return Err(message::ENTITY_TOO_LARGE.into());
        }
        if !block.more {
            return Ok(body);
        }
        if self.uploads >= limits::COAP_UPLOADS_MAX {
            return Err(message::UNAVAILABLE.into());
        }
        let serial = self.draw();
        self.dialogue(peer).upload = Some((serial, body));
        self.uploads += 1;
        self.keep(peer, Item::Upload(serial), now);
        Err(message::CONTINUE.into())
    }

    /// A later part of the answer that was given last.
    fn next_part(&self, peer: SocketAddr, wanted: Block) -> Reply {
        let body = self.peers.get(&peer).and_then(|dialogue| dialogue.download.as_ref()).map(|(_, body)| body.clone());
        match body {
            Some(body) if wanted.offset() < body.len() => {
                let end = body.len().min(wanted.offset() + wanted.bytes());
                let block2 = Some(Block { more: end < body.len(), ..wanted });
                Reply { code: message::CHANGED, block2, payload: body[wanted.offset()..end].to_vec() }
            }
            _ => message::BAD_REQUEST.into(),
        }
    }

    /// Says the answer and keeps it for repetitions.
    fn respond(
        &mut self,
        peer: SocketAddr,
        id: u16,
        code: u8,
        block2: Option<Block>,
        payload: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        let dialogue = self.peers.get_mut(&peer)?;
        let exchange = dialogue.exchanges.get_mut(&id)?;
        let State::Open { acknowledged } = exchange.state else { return None };
        let (kind, own_id) = match exchange.kind {
            Kind::Confirmable if !acknowledged => (Kind::Acknowledgement, id),
            kind => (kind, dialogue.next_id),
        };
        let draft = Draft::new(kind, code, own_id, &exchange.token).block2(block2).block1(exchange.block1);
        let bytes = draft.payload(payload).bytes();
        let (answer, separate) = match kind {
            Kind::Acknowledgement => (bytes.clone(), false),
            // It was acknowledged before: the answer is a message of its own, and a repetition only repeats that.
            Kind::Confirmable => (message::empty(Kind::Acknowledgement, id), true),
            _ => (Vec::new(), false),
        };
        self.answer_bytes += answer.len();
        exchange.state = State::Answered(answer);
        if kind != Kind::Acknowledgement {
            dialogue.next_id = dialogue.next_id.wrapping_add(1);
        }
        if !separate {
            return Some(bytes);
        }
        dialogue.waiting.push_front(Outgoing::answer(own_id, bytes));
        self.send_next(peer, now)
    }

    /// The answer takes longer than the peer waits.
    fn acknowledge(&mut self, peer: SocketAddr, id: u16) -> Option<Vec<u8>> {
        let exchange = self.peers.get_mut(&peer)?.exchanges.get_mut(&id)?;
        match &mut exchange.state {
            State::Open { acknowledged } if !*acknowledged => *acknowledged = true,
            _ => return None,
        }
        Some(message::empty(Kind::Acknowledgement, id))
    }

    /// What a repetition is told; `None`: it is none.
    fn repetition(&mut self, peer: SocketAddr, message: &Message, content: u64) -> Option<Heard> {
        let exchange = self.peers.get(&peer)?.exchanges.get(&message.id())?;
        if exchange.content != content {
            self.drop_item(peer, Item::Exchange(message.id(), None));
            return None;
        }
        self.repeated += 1;
        let send = match &exchange.state {
            _ if message.kind() != Kind::Confirmable => Vec::new(),
            State::Open { acknowledged: true } => vec![message::empty(Kind::Acknowledgement, message.id())],
            State::Open { acknowledged: false } => Vec::new(),
            State::Answered(answer) => vec![answer.clone()],
        };
        Some(Heard { send, event: None })
    }

    fn remember(&mut self, peer: SocketAddr, id: u16, exchange: Exchange, now: Instant) {
        let content = exchange.content;
        self.dialogue(peer).exchanges.insert(id, exchange);
        self.keep(peer, Item::Exchange(id, Some(content)), now);
    }

    fn keep(&mut self, peer: SocketAddr, item: Item, now: Instant) {
        self.kept.push_back((now + limits::COAP_EXCHANGE_LIFETIME, peer, item));
    }

    fn edit(&mut self, peer: SocketAddr, id: u16, change: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = self.peers.get_mut(&peer).and_then(|dialogue| dialogue.exchanges.get_mut(&id)) {
            change(exchange);
        }
    }

    fn end_upload(&mut self, peer: SocketAddr) -> Option<Vec<u8>> {
        let (_, body) = self.peers.get_mut(&peer)?.upload.take()?;
        self.uploads -= 1;
        Some(body)
    }

    fn reject(&mut self, reset: Option<u16>) -> Heard {
        self.rejected += 1;
        Heard { send: reset.map(|id| message::empty(Kind::Reset, id)).into_iter().collect(), event: None }
    }

    fn forget_old(&mut self, now: Instant) {
        let full = |book: &Self| {
            book.kept.len() > limits::COAP_EXCHANGES_MAX || book.answer_bytes > limits::COAP_ANSWER_BYTES_MAX
        };
        while let Some((at, peer, item)) = self.kept.front().copied() {
            if at > now && !full(self) {
                return;
            }
            self.kept.pop_front();
            self.drop_item(peer, item);
        }
    }

    fn drop_item(&mut self, peer: SocketAddr, item: Item) {
        let Some(dialogue) = self.peers.get_mut(&peer) else { return };
        match item {
            // Under the same number there may be another one by now.
            Item::Exchange(id, content) => {
                let same = |e: &Exchange| content.is_none_or(|content| content == e.content);
                if dialogue.exchanges.get(&id).is_some_and(same)
                    && let Some(Exchange { state: State::Answered(answer), .. }) = dialogue.exchanges.remove(&id)
                {
                    self.answer_bytes -= answer.len();
                }
            }
            Item::Token(serial) => dialogue.tokens.retain(|(own, _)| *own != serial),
            Item::Upload(serial) => {
                if dialogue.upload.take_if(|(own, _)| *own == serial).is_some() {
                    self.uploads -= 1;
                }
            }
            Item::Download(serial) => {
                if let Some((_, body)) = dialogue.download.take_if(|(own, _)| *own == serial) {
                    self.answer_bytes -= body.len();
                }
            }
        }
        self.tidy(peer);
    }

    /// A peer of whom nothing is remembered and to whom nothing is said is forgotten.
    fn tidy(&mut self, peer: SocketAddr) {
        let idle = |d: &Dialogue| {
            d.exchanges.is_empty()
                && d.upload.is_none()
                && d.download.is_none()
                && d.outgoing.is_none()
                && d.waiting.is_empty()
                && d.tokens.is_empty()
        };
        if self.peers.get(&peer).is_some_and(idle) {
            self.peers.remove(&peer);
        }
    }

    fn dialogue(&mut self, peer: SocketAddr) -> &mut Dialogue {
        if !self.peers.contains_key(&peer) {
            let next_id = self.draw() as u16;
            self.peers.insert(peer, Dialogue { next_id, ..Dialogue::default() });
        }
        self.peers.entry(peer).or_default()
    }

    /// The next number that nobody can guess.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let digest: [u8; 32] =
            Sha256::new().chain_update(self.secret).chain_update(self.drawn.to_be_bytes()).finalize().into();
        digest.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
    }

    fn set_timer(&mut self, at: Instant, peer: SocketAddr, timer: Timer) {
        self.drawn += 1;
        self.timers.insert((at, self.drawn), (peer, timer));
    }
}

/// What a request is told without a session.
struct Reply {
    code: u8,
    block2: Option<Block>,
    payload: Vec<u8>,
}

impl From<u8> for Reply {
    fn from(code: u8) -> Self {
        Self { code, block2: None, payload: Vec::new() }
    }
}

fn content_of(datagram: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    datagram.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
