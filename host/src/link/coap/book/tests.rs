//! Exchanges as a device sees them, message by message; those of the standards are named.

use super::*;
use crate::link::coap::Downlink;
use std::time::Duration;

/// A device's side: what it sends, and the station's answers as they go over the wire.
struct Wire {
    book: Book,
    now: Instant,
}

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5683);

fn wire(path: Option<&str>) -> Wire {
    let options = Options { path: path.map(Into::into), downlink_path: "/cmd".into(), downlink: Downlink::Post };
    Wire { book: Book::new(options, [7; 16]), now: Instant::now() }
}

fn post(id: u16, payload: &[u8]) -> Draft {
    Draft::new(Kind::Confirmable, message::POST, id, &[1, 2]).payload(payload)
}

/// `kind code #id payload-bytes [block options]`
fn told(bytes: &[u8]) -> String {
    let message = Message::parse(bytes).expect("the station speaks CoAP");
    let kind = match message.kind() {
        Kind::Confirmable => "CON",
        Kind::NonConfirmable => "NON",
        Kind::Acknowledgement => "ACK",
        Kind::Reset => "RST",
    };
    let block = |name: &str, block: Result<Option<Block>, ()>| match block.expect("a block") {
        Some(b) => format!(" {name}:{}/{}/{}", b.number, u8::from(b.more), b.bytes()),
        None => String::new(),
    };
    let blocks = block("1", message.block1()) + &block("2", message.block2());
    let (class, detail) = (message.code() >> 5, message.code() & 31);
    format!("{kind} {class}.{detail:02} #{} {}{blocks}", message.id(), message.payload().len())
}

impl Wire {
    fn hear(&mut self, bytes: &[u8]) -> (Vec<String>, Option<Event>) {
        let heard = self.book.hear(PEER, bytes, self.now);
        (heard.send.iter().map(|bytes| told(bytes)).collect(), heard.event)
    }

    /// What the station says without a session.
    fn says(&mut self, bytes: &[u8]) -> Vec<String> {
        let (says, event) = self.hear(bytes);
        assert_eq!(event, None);
        says
    }

    fn answer(&mut self, id: u16, payload: &[u8]) -> Option<String> {
        self.book.answer(PEER, id, payload, self.now).map(|bytes| told(&bytes))
    }

    fn wait(&mut self, pause: Duration) -> (Vec<Vec<u8>>, usize) {
        self.now += pause;
        let due = self.book.tick(self.now);
        (due.send.into_iter().map(|(_, bytes)| bytes).collect(), due.gone.len())
    }
}

fn request(id: u16, payload: &[u8]) -> Event {
    Event::Request { id, payload: payload.to_vec() }
}

#[test]
fn a_repetition_is_answered_alike_and_handed_on_once() {
    let mut wire = wire(None);
    let bytes = post(7, b"frame").bytes();
    assert_eq!(wire.hear(&bytes), (vec![], Some(request(7, b"frame"))));
    assert_eq!(wire.says(&bytes), [""; 0], "the answer is on its way");
    assert_eq!(wire.answer(7, b"reply").as_deref(), Some("ACK 2.04 #7 5"));
    assert_eq!(wire.says(&bytes), ["ACK 2.04 #7 5"]);
    assert_eq!(wire.answer(7, b"again"), None, "a request has one answer");
    assert_eq!(wire.book.repeated, 2);
    wire.wait(limits::COAP_EXCHANGE_LIFETIME);
    assert!(wire.book.peers.is_empty() && wire.book.kept.is_empty(), "nothing stays behind");
    assert_eq!(wire.book.answer_bytes, 0);
    assert_eq!(wire.hear(&bytes).1, Some(request(7, b"frame")));
}

#[test]
fn an_old_number_with_something_new_is_new() {
    let mut wire = wire(None);
    assert_eq!(wire.hear(&post(1, b"monday").bytes()).1, Some(request(1, b"monday")));
    wire.answer(1, b"ok");
    assert_eq!(wire.hear(&post(1, b"tuesday").bytes()).1, Some(request(1, b"tuesday")));
    assert_eq!(wire.answer(1, b"").as_deref(), Some("ACK 2.04 #1 0"));
}

#[test]
fn a_late_answer_is_announced_and_repeated_until_acknowledged() {
    let mut wire = wire(None);
    let bytes = post(7, b"frame").bytes();
    wire.hear(&bytes);
    let (sent, _) = wire.wait(limits::COAP_ACK_WITHIN);
    assert_eq!(sent.iter().map(|b| told(b)).collect::<Vec<_>>(), ["ACK 0.00 #7 0"]);
    assert_eq!(wire.says(&bytes), ["ACK 0.00 #7 0"], "said again to a repetition");
    let answer = wire.book.answer(PEER, 7, b"reply", wire.now).expect("an answer of its own");
    let message = Message::parse(&answer).expect("a message");
    assert_eq!((message.kind(), message.token(), message.payload()), (Kind::Confirmable, &[1, 2][..], &b"reply"[..]));
    for _ in 0..2 {
        let (again, gone) = wire.wait(Duration::from_secs(7));
        assert_eq!((again, gone), (vec![answer.clone()], 0));
    }
    assert_eq!(wire.says(&message::empty(Kind::Acknowledgement, message.id())), [""; 0]);
    assert_eq!(wire.wait(Duration::from_secs(100)), (vec![], 0));
}

#[test]
fn what_does_not_need_an_acknowledgement_gets_none() {
    let mut wire = wire(None);
    let bytes = Draft::new(Kind::NonConfirmable, message::PUT, 9, &[5]).payload(b"frame").bytes();
    assert_eq!(wire.hear(&bytes), (vec![], Some(request(9, b"frame"))));
    assert!(wire.answer(9, b"reply").expect("an answer").starts_with("NON 2.04 #"));
    assert_eq!(wire.hear(&bytes), (vec![], None), "heard once, answered once");
}

/// A message, and what the station says of it at once.
#[test]
fn what_cannot_be_dealt_with_is_told_so() {
    let far = |number: u16| {
        // An option of that number, with one byte.
        let mut bytes = post(7, b"").bytes();
        bytes.extend([0xE1]);
        bytes.extend((number - 269).to_be_bytes());
        bytes.extend([0, 0xFF, 1]);
        bytes
    };
    let long = vec![0; limits::FRAME_BYTES_MAX + 1];
    for (bytes, says) in [
        (message::empty(Kind::Confirmable, 3), "RST 0.00 #3 0"),
        (Draft::new(Kind::Confirmable, 1, 7, &[]).path("report").bytes(), "ACK 4.05 #7 0"),
        (Draft::new(Kind::Confirmable, 4, 7, &[]).path("report").bytes(), "ACK 4.05 #7 0"),
        (post(7, b"x").path("other").bytes(), "ACK 4.04 #7 0"),
        (post(7, b"").path("report").bytes(), "ACK 4.00 #7 0"),
        (post(7, &long).path("report").bytes(), "ACK 4.13 #7 0"),
        (far(65_001), "ACK 4.02 #7 0"),
        (far(65_000), "ACK 4.04 #7 0"),
        (vec![0x40, 2, 0, 7, 0xFF], "RST 0.00 #7 0"),
        (vec![0x40, 0x20, 0, 7], "RST 0.00 #7 0"),
        // A response to nothing that was asked.
        (Draft::new(Kind::Confirmable, message::CHANGED, 7, &[9]).bytes(), "RST 0.00 #7 0"),
        // 35: Proxy-Uri.
        (vec![0x40, 2, 0, 7, 0xD1, 22, b'x', 0xFF, 1], "ACK 5.05 #7 0"),
    ] {
        let mut wire = wire(Some("/report"));
        assert_eq!(wire.says(&bytes), [says], "{}", hex::encode(&bytes[..bytes.len().min(40)]));
    }
    let mut wire = wire(Some("/report"));
    assert_eq!(wire.hear(&post(8, b"x").path("report").bytes()).1, Some(request(8, b"x")));
    assert_eq!(wire.says(&message::empty(Kind::Acknowledgement, 1)), [""; 0]);
    assert_eq!(wire.says(&message::empty(Kind::Reset, 1)), [""; 0]);
}

fn part(id: u16, number: u32, more: bool, bytes: &[u8]) -> Vec<u8> {
    post(id, bytes).block1(Some(Block { number, more, size: 3 })).bytes()
}

/// RFC 7959 §3.2, figure 7: a simple atomic block-wise PUT, in blocks of 128.
#[test]
fn a_body_in_blocks_is_put_together() {
    let mut wire = wire(None);
    let body: Vec<u8> = (0..=255).chain(0..44).collect();
    assert_eq!(wire.says(&part(1234, 0, true, &body[..128])), ["ACK 2.31 #1234 0 1:0/1/128"]);
    assert_eq!(wire.says(&part(1234, 0, true, &body[..128])), ["ACK 2.31 #1234 0 1:0/1/128"], "said again");
    assert_eq!(wire.says(&part(1235, 1, true, &body[128..256])), ["ACK 2.31 #1235 0 1:1/1/128"]);
    assert_eq!(wire.hear(&part(1236, 2, false, &body[256..])), (vec![], Some(request(1236, &body))));
    assert_eq!(wire.answer(1236, b"").as_deref(), Some("ACK 2.04 #1236 0 1:2/0/128"));
    assert_eq!(wire.book.uploads, 0);
}

#[test]
fn blocks_out_of_order_or_without_end_are_refused() {
    let mut wire = wire(None);
    let block = [0; 128];
    assert_eq!(wire.says(&part(1, 1, true, &block)), ["ACK 4.08 #1 0 1:1/1/128"], "without its beginning");
    wire.says(&part(2, 0, true, &block));
    assert_eq!(wire.says(&part(3, 2, false, &block)), ["ACK 4.08 #3 0 1:2/0/128"], "one is missing");
    assert_eq!(wire.says(&part(4, 0, true, &block[..100])), ["ACK 4.00 #4 0 1:0/1/128"], "too short for its size");
    let blocks = limits::FRAME_BYTES_MAX / 128;
    for number in 0..blocks as u32 {
        assert_eq!(wire.says(&part(10 + number as u16, number, true, &block)).len(), 1);
    }
    let last = 10 + blocks as u16;
    assert_eq!(wire.says(&part(last, blocks as u32, true, &block)), [format!("ACK 4.13 #{last} 0 1:{blocks}/1/128")]);
    assert_eq!(wire.book.uploads, 0);
    wire.says(&part(1000, 0, true, &block));
    wire.wait(limits::COAP_EXCHANGE_LIFETIME);
    assert_eq!((wire.book.uploads, wire.book.peers.len()), (0, 0), "what never ends is forgotten");
}

/// RFC 7959 §3.1, figures 2 and 4: the answer in blocks, of the size that the peer asks for.
#[test]
fn a_long_answer_is_fetched_in_blocks() {
    let mut wire = wire(None);
    let reply: Vec<u8> = (0..2_500_u32).map(|n| n as u8).collect();
    wire.hear(&post(1, b"x").bytes());
    assert_eq!(wire.answer(1, &reply).as_deref(), Some("ACK 2.04 #1 1024 2:0/1/1024"));
    let want = |id, number, size| post(id, b"").block2(Some(Block { number, more: false, size })).bytes();
    assert_eq!(wire.says(&want(2, 1, 6)), ["ACK 2.04 #2 1024 2:1/1/1024"]);
    assert_eq!(wire.says(&want(3, 2, 6)), ["ACK 2.04 #3 452 2:2/0/1024"]);
    assert_eq!(wire.says(&want(4, 3, 6)), ["ACK 4.00 #4 0"], "there is no more");
    // Early negotiation: the request itself says how large blocks may be.
    wire.hear(&post(5, b"x").block2(Some(Block { number: 0, more: false, size: 2 })).bytes());
    assert_eq!(wire.answer(5, &reply).as_deref(), Some("ACK 2.04 #5 64 2:0/1/64"));
    assert_eq!(wire.says(&want(6, 39, 2)), ["ACK 2.04 #6 4 2:39/0/64"]);
}

#[test]
fn what_the_station_sends_is_repeated_until_somebody_acknowledges_it() {
    let mut wire = wire(None);
    let first = wire.book.post(PEER, b"order", wire.now).expect("room").expect("at once");
    assert_eq!(wire.book.post(PEER, b"second", wire.now).expect("room"), None, "one at a time");
    let message = Message::parse(&first).expect("a message");
    assert_eq!((message.code(), message.path().as_str(), message.payload()), (message::POST, "cmd", &b"order"[..]));
    assert_eq!(wire.wait(Duration::from_secs(3)).0, std::slice::from_ref(&first));
    let answer = Draft::new(Kind::Acknowledgement, message::CHANGED, message.id(), message.token()).payload(b"done");
    let (says, event) = wire.hear(&answer.bytes());
    assert_eq!(event, Some(Event::Response { payload: b"done".to_vec() }));
    assert!(says[0].starts_with("CON 0.02 #") && says.len() == 1, "the second goes out: {says:?}");
}

#[test]
fn an_answer_of_its_own_is_acknowledged_and_heard_once() {
    let mut wire = wire(None);
    let order = wire.book.post(PEER, b"order", wire.now).expect("room").expect("at once");
    let order = Message::parse(&order).expect("a message");
    assert_eq!(wire.says(&message::empty(Kind::Acknowledgement, order.id())), [""; 0]);
    let answer = Draft::new(Kind::Confirmable, message::CHANGED, 99, order.token()).payload(b"done").bytes();
    assert_eq!(
        wire.hear(&answer),
        (vec!["ACK 0.00 #99 0".into()], Some(Event::Response { payload: b"done".to_vec() }))
    );
    assert_eq!(wire.says(&answer), ["ACK 0.00 #99 0"]);
}

#[test]
fn a_peer_that_does_not_listen_is_gone() {
    let mut wire = wire(None);
    let order = wire.book.post(PEER, b"order", wire.now).expect("room").expect("at once");
    wire.book.post(PEER, b"second", wire.now).expect("room");
    let id = Message::parse(&order).expect("a message").id();
    assert_eq!(wire.hear(&message::empty(Kind::Reset, id)), (vec![], Some(Event::Gone)));
    wire.book.post(PEER, b"third", wire.now).expect("room").expect("at once");
    let mut repeated = 0;
    loop {
        let (sent, gone) = wire.wait(Duration::from_secs(1));
        repeated += sent.len();
        if gone > 0 {
            break;
        }
    }
    assert_eq!(repeated, limits::COAP_RETRANSMIT_MAX as usize);
    assert!(wire.book.peers.is_empty(), "nothing of it stays");
    for _ in 0..=limits::COAP_WAITING_MAX {
        wire.book.post(PEER, b"x", wire.now).expect("room");
    }
    wire.book.post(PEER, b"x", wire.now).expect_err("bounded");
}

#[test]
fn a_long_order_goes_out_in_blocks() {
    let mut wire = wire(None);
    let body = vec![9; 1_500];
    let first = wire.book.post(PEER, &body, wire.now).expect("room").expect("at once");
    assert!(told(&first).ends_with(" 1024 1:0/1/1024"), "{}", told(&first));
    let first = Message::parse(&first).expect("a message");
    let go_on = Draft::new(Kind::Acknowledgement, message::CONTINUE, first.id(), first.token()).bytes();
    let says = wire.says(&go_on);
    assert!(says[0].ends_with(" 476 1:1/0/1024"), "{says:?}");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut wire = wire(None);
    for n in 0..limits::COAP_EXCHANGES_MAX + 1_000 {
        let peer = SocketAddr::from((std::net::Ipv4Addr::from(0x0A00_0000 + n as u32), 5683));
        wire.book.hear(peer, &post(1, b"x").bytes(), wire.now);
    }
    assert!(wire.book.kept.len() <= limits::COAP_EXCHANGES_MAX + 1);
    assert!(wire.book.peers.len() <= limits::COAP_EXCHANGES_MAX + 1);
}
