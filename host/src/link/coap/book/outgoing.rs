//! What the station says unasked, or late: repeated until the peer acknowledges it, one message at a time (RFC 7252 §4.2,
//! §4.7; bodies in blocks by RFC 7959 §2.5).

use super::{Book, Due, Event, Exchange, Heard, Item, State, Timer};
use crate::limits;
use crate::link::coap::message::{self, Block, Draft, Kind, Message};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A confirmable message of ours.
#[derive(Debug)]
pub struct Outgoing {
    id: u16,
    tries: u32,
    wait: Duration,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// A request was acknowledged before; this is its answer, whole.
    Answer(Vec<u8>),
    Post(Post),
}

#[derive(Debug)]
struct Post {
    token: Vec<u8>,
    path: String,
    body: Arc<[u8]>,
    /// The piece that is being said, if the body needs several.
    number: Option<u32>,
}

impl Outgoing {
    pub fn answer(id: u16, bytes: Vec<u8>) -> Self {
        Self { id, tries: 0, wait: Duration::ZERO, purpose: Purpose::Answer(bytes) }
    }

    fn post(token: Vec<u8>, path: String, body: Arc<[u8]>) -> Self {
        let several = body.len() > 1 << (message::SIZE_MAX + 4);
        let post = Post { token, path, body, number: several.then_some(0) };
        Self { id: 0, tries: 0, wait: Duration::ZERO, purpose: Purpose::Post(post) }
    }

    fn token(&self) -> Option<&[u8]> {
        match &self.purpose {
            Purpose::Answer(_) => None,
            Purpose::Post(post) => Some(&post.token),
        }
    }

    fn datagram(&self) -> Vec<u8> {
        match &self.purpose {
            Purpose::Answer(bytes) => bytes.clone(),
            Purpose::Post(post) => {
                let block = post.block();
                let part = block.map_or(&post.body[..], |block| {
                    &post.body[block.offset()..post.body.len().min(block.offset() + block.bytes())]
                });
                let draft = Draft::new(Kind::Confirmable, message::POST, self.id, &post.token);
                draft.path(&post.path).block1(block).payload(part).bytes()
            }
        }
    }
}

impl Post {
    fn block(&self) -> Option<Block> {
        let block = Block { number: self.number?, more: false, size: message::SIZE_MAX };
        Some(Block { more: block.offset() + block.bytes() < self.body.len(), ..block })
    }
}

impl Book {
    /// Sends something that answers nothing, as a request of our own. `Err`: too much waits already.
    pub fn post(&mut self, peer: SocketAddr, payload: &[u8], now: Instant) -> Result<Option<Vec<u8>>, Full> {
        let token = self.draw().to_be_bytes()[4..].to_vec();
        let path = self.options.downlink_path.clone();
        let dialogue = self.dialogue(peer);
        if dialogue.waiting.len() >= limits::COAP_WAITING_MAX {
            return Err(Full);
        }
        dialogue.waiting.push_back(Outgoing::post(token, path, payload.into()));
        Ok(self.send_next(peer, now))
    }

    /// Says what waits longest, unless something else waits for its acknowledgement.
    pub(super) fn send_next(&mut self, peer: SocketAddr, now: Instant) -> Option<Vec<u8>> {
        let dialogue = self.peers.get_mut(&peer)?;
        if dialogue.outgoing.is_some() {
            return None;
        }
        let Some(next) = dialogue.waiting.pop_front() else {
            self.tidy(peer);
            return None;
        };
        self.launch(peer, next, now)
    }

    fn launch(&mut self, peer: SocketAddr, mut outgoing: Outgoing, now: Instant) -> Option<Vec<u8>> {
        // Between once and one and a half times, so that a fleet does not repeat itself in step.
        let spread = (self.draw() % 512) as u32;
        let wait = limits::COAP_ACK_TIMEOUT * (1_024 + spread) / 1_024;
        let dialogue = self.peers.get_mut(&peer)?;
        if matches!(outgoing.purpose, Purpose::Post(_)) {
            outgoing.id = dialogue.next_id;
            dialogue.next_id = dialogue.next_id.wrapping_add(1);
        }
        (outgoing.tries, outgoing.wait) = (0, wait);
        let (id, bytes) = (outgoing.id, outgoing.datagram());
        dialogue.outgoing = Some(outgoing);
        self.set_timer(now + wait, peer, Timer::Repeat(id));
        Some(bytes)
    }

    /// No acknowledgement in time.
    pub(super) fn repeat(&mut self, peer: SocketAddr, id: u16, now: Instant, due: &mut Due) {
        let Some(dialogue) = self.peers.get_mut(&peer) else { return };
        let Some(outgoing) = dialogue.outgoing.as_mut().filter(|outgoing| outgoing.id == id) else { return };
        if outgoing.tries < limits::COAP_RETRANSMIT_MAX {
            outgoing.tries += 1;
            outgoing.wait *= 2;
            let at = now + outgoing.wait;
            due.send.push((peer, outgoing.datagram()));
            return self.set_timer(at, peer, Timer::Repeat(id));
        }
        if self.give_up(peer) {
            due.gone.push(peer);
        }
        due.send.extend(self.send_next(peer, now).map(|bytes| (peer, bytes)));
    }

    /// Whether a request of ours was lost with it; what waits behind one is not said either.
    fn give_up(&mut self, peer: SocketAddr) -> bool {
        let Some(dialogue) = self.peers.get_mut(&peer) else { return false };
        let post = dialogue.outgoing.take().is_some_and(|o| matches!(o.purpose, Purpose::Post(_)));
        if post {
            dialogue.waiting.retain(|o| matches!(o.purpose, Purpose::Answer(_)));
        }
        post
    }

    pub(super) fn on_acknowledged(&mut self, peer: SocketAddr, id: u16, now: Instant) -> Option<Vec<u8>> {
        let serial = self.draw();
        let dialogue = self.peers.get_mut(&peer)?;
        let outgoing = dialogue.outgoing.take_if(|outgoing| outgoing.id == id)?;
        if let Purpose::Post(post) = outgoing.purpose {
            // Its answer comes as a message of its own, or never.
            dialogue.tokens.push_back((serial, post.token));
            self.keep(peer, Item::Token(serial), now);
            let dialogue = self.peers.get_mut(&peer)?;
            if dialogue.tokens.len() > limits::COAP_TOKENS_MAX {
                dialogue.tokens.pop_front();
            }
        }
        self.send_next(peer, now)
    }

    pub(super) fn on_reset(&mut self, peer: SocketAddr, id: u16, now: Instant) -> Heard {
        let ours = |book: &Self| book.peers.get(&peer)?.outgoing.as_ref().map(|outgoing| outgoing.id);
        if ours(self) != Some(id) {
            return Heard::default();
        }
        let event = self.give_up(peer).then_some(Event::Gone);
        Heard { send: self.send_next(peer, now).into_iter().collect(), event }
    }

    /// An answer together with the acknowledgement.
    pub(super) fn on_piggybacked(&mut self, peer: SocketAddr, response: Message, now: Instant) -> Heard {
        let ours = |o: &mut Outgoing| o.id == response.id() && o.token() == Some(response.token());
        match self.peers.get_mut(&peer).and_then(|dialogue| dialogue.outgoing.take_if(ours)) {
            Some(outgoing) => self.on_answered(peer, outgoing, response, now),
            None => self.reject(None),
        }
    }

    /// An answer on its own: acknowledged, and a repetition only that.
    pub(super) fn on_response(&mut self, peer: SocketAddr, response: Message, content: u64, now: Instant) -> Heard {
        if let Some(heard) = self.repetition(peer, &response, content) {
            return heard;
        }
        let (id, kind) = (response.id(), response.kind());
        let known = self.peers.get_mut(&peer).and_then(|dialogue| {
            if let Some(at) = dialogue.tokens.iter().position(|(_, token)| token == response.token()) {
                return dialogue.tokens.remove(at).map(|_| None);
            }
            // It may overtake its acknowledgement.
            dialogue.outgoing.take_if(|o| o.token() == Some(response.token())).map(Some)
        });
        let mut heard = match known {
            None => return self.reject((kind == Kind::Confirmable).then_some(id)),
            Some(None) => Heard { send: Vec::new(), event: judged(response) },
            Some(Some(outgoing)) => self.on_answered(peer, outgoing, response, now),
        };
        if kind == Kind::Confirmable {
            let acknowledgement = message::empty(Kind::Acknowledgement, id);
            self.answer_bytes += acknowledgement.len();
            let state = State::Answered(acknowledgement.clone());
            let exchange = Exchange { content, token: Vec::new(), kind, block1: None, size: message::SIZE_MAX, state };
            self.remember(peer, id, exchange, now);
            heard.send.insert(0, acknowledgement);
        }
        heard
    }

    fn on_answered(&mut self, peer: SocketAddr, mut outgoing: Outgoing, response: Message, now: Instant) -> Heard {
        if let (message::CONTINUE, Purpose::Post(post)) = (response.code(), &mut outgoing.purpose)
            && let Some(block) = post.block().filter(|block| block.more)
        {
            post.number = Some(block.number + 1);
            return Heard { send: self.launch(peer, outgoing, now).into_iter().collect(), event: None };
        }
        Heard { send: self.send_next(peer, now).into_iter().collect(), event: judged(response) }
    }
}

/// Too much waits already.
#[derive(Debug)]
pub struct Full;

/// What an answer of the peer means to a session: nothing, if it only says that all is well.
fn judged(response: Message) -> Option<Event> {
    if response.code() >> 5 != 2 || response.has_unknown_critical() {
        return Some(Event::Gone);
    }
    match response.into_payload() {
        payload if payload.is_empty() => None,
        payload if payload.len() > limits::FRAME_BYTES_MAX => Some(Event::Gone),
        payload => Some(Event::Response { payload }),
    }
}
