//! NB-IoT meters that come by CoAP: requests and their repetitions, orders as the station's own requests, blocks.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use fleet::station::{Listener, Settings};
use polymeter_tests::coap::CoapSocket;
use polymeter_tests::peer::Peer;
use polymeter_tests::qianwei::QianweiMeter;
use polymeter_tests::site::Site;
use polymeter_tests::usp::{Terminal, meter};
use qianwei_7xxx::device::Meter;
use serde_json::json;
use usp::device::{Device, Heard, Terminal as Kind};

const ALWAYS_ONLINE: u16 = 0x0049;

/// With CoAP listeners `meters`, which posts, and `shy`, which only answers.
fn site() -> Site {
    let mut settings = Settings::usual();
    let both = r#""usp", "qianwei_7xxx""#;
    let (mut posts, mut shy) = (Listener::on("coap", "nb", both), Listener::on("coap", "shy", both));
    posts.more = "[listener.coap]\npath = \"/report\"\ndownlink_path = \"/order\"".into();
    shy.more = "[listener.coap]\ndownlink = \"reply\"".into();
    settings.listeners.extend([posts, shy]);
    Site::with(&settings)
}

fn socket(site: &Site, listener: &str) -> CoapSocket {
    CoapSocket::to(site.door(listener).expect("a listener"))
}

fn online(address: &str) -> Device {
    let mut device = Device::new(Kind::Meter, address, ALWAYS_ONLINE);
    device.readings = meter(address).readings;
    device
}

fn metric(site: &Site, name: &str) -> u64 {
    let text = site.client().text("/metrics").expect("metrics").1;
    let of = |line: &&str| line.starts_with(name) && line.contains("\"nb\"");
    text.lines().find(of).and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

#[test]
fn whole_conversations_go_by_coap() {
    let site = site();
    let mut terminal = Terminal::on(meter("50001234567880"), Peer::coap(socket(&site, "nb")));
    assert_eq!(terminal.register().result, 0);
    assert_eq!(terminal.daily().result, 0);
    assert_eq!(terminal.hear(), Some(Heard::Farewell(0)));
    let heard = &terminal.peer.as_coap().heard;
    let all_piggybacked = heard.iter().all(|p| p.header.get_type() == MessageType::Acknowledgement);
    assert!(heard.len() == 2 && all_piggybacked, "reply and farewell are one answer: {heard:?}");
    let mut other = QianweiMeter::on(Meter::plain("00000000123456789080"), Peer::coap(socket(&site, "nb")));
    assert_eq!(other.report(), (0, false));
    assert_eq!(site.readings("usp/50001234567880", "working-volume").len(), 2);
    assert_eq!(site.readings("qianwei/00000000123456789080", "working-volume").len(), 1);
}

#[test]
fn a_request_sent_again_gets_the_same_answer_and_is_decoded_once() {
    let site = site();
    let mut terminal = Terminal::on(meter("50001234567881"), Peer::coap(socket(&site, "nb")));
    assert_eq!(terminal.register().result, 0);
    assert_eq!(terminal.daily().result, 0);
    assert_eq!(terminal.hear(), Some(Heard::Farewell(0)));
    // The session is over, and the answers were lost on the way.
    let coap = terminal.peer.as_coap();
    let first: Vec<Packet> = std::mem::take(&mut coap.heard);
    for request in coap.sent.clone() {
        coap.say_bytes(&request).expect("a datagram");
        coap.receive().expect("an answer");
    }
    assert_eq!(coap.heard, first);
    let device = site.device("usp/50001234567881").expect("a device");
    assert_eq!(device["counts"]["frames"], 2, "{device}");
    assert_eq!(metric(&site, "polymeter_coap_repeated_total"), 2);
}

#[test]
fn orders_are_requests_of_the_station() {
    let site = site();
    let mut terminal = Terminal::tcp(online("50001234567882"), site.meters());
    assert_eq!(terminal.register().result, 0);
    let mut old = std::mem::replace(&mut terminal.peer, Peer::coap(socket(&site, "nb")));
    assert_eq!(terminal.register().result, 0);
    assert_eq!(old.until_closed(), [0; 0], "CoAP has taken over from TCP");
    assert_eq!(terminal.daily().result, 0);
    let id = site.order("usp/50001234567882", &json!({"read": {"scope": "current"}}));
    assert_eq!(terminal.obey().1, 0);
    site.await_state(id, "done");
    let posted: Vec<_> = terminal.peer.as_coap().heard.iter().filter(|p| is_post(p)).collect();
    assert_eq!(posted.len(), 1);
    let path = posted[0].get_option(CoapOption::UriPath).expect("a path");
    assert_eq!(path.front().map(Vec::as_slice), Some(&b"order"[..]));
}

fn is_post(packet: &Packet) -> bool {
    packet.header.code == MessageClass::Request(RequestType::Post)
}

#[test]
fn a_shy_meter_gets_its_orders_with_an_answer() {
    let site = site();
    let mut terminal = Terminal::on(online("50001234567883"), Peer::coap(socket(&site, "shy")));
    assert_eq!(terminal.register().result, 0);
    assert_eq!(terminal.daily().result, 0);
    let id = site.order("usp/50001234567883", &json!({"read": {"scope": "current"}}));
    site.await_state(id, "sent");
    terminal.now += 60;
    // The order was held back until the meter came.
    let beat = terminal.device.heartbeat(terminal.now);
    terminal.peer.send(&beat);
    let mut obeyed = false;
    for _ in 0..2 {
        match terminal.hear() {
            Some(Heard::Reply(reply)) => assert_eq!(reply.result, 0),
            Some(Heard::Command { frames, .. }) => {
                obeyed = true;
                frames.iter().for_each(|frame| terminal.peer.send(frame));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(obeyed && !terminal.peer.as_coap().heard.iter().any(is_post));
    site.await_state(id, "done");
}

#[test]
fn an_order_that_is_refused_is_given_back() {
    let site = site();
    let mut terminal = Terminal::on(online("50001234567884"), Peer::coap(socket(&site, "nb")));
    assert_eq!(terminal.register().result, 0);
    let id = site.order("usp/50001234567884", &json!({"valve": {"order": "close-forced"}}));
    let coap = terminal.peer.as_coap();
    let order = loop {
        let packet = coap.next_message().expect("an order");
        if is_post(&packet) {
            break packet;
        }
    };
    let reset = [0x70, 0, (order.header.message_id >> 8) as u8, order.header.message_id as u8];
    coap.say_bytes(&reset).expect("a datagram");
    // The view may still show the order as it was before the attempt: queued, too.
    polymeter_tests::site::wait_until("the order is given back", || {
        let command = site.command(id);
        let back = ["queued", "unconfirmed"].contains(&command["state"].as_str()?);
        (back && command["attempts"].as_u64() >= Some(1)).then_some(command)
    });
}

#[test]
fn reports_come_in_blocks() {
    let site = site();
    let mut terminal = Terminal::on(meter("50001234567885"), Peer::coap(socket(&site, "nb")));
    let frame = terminal.device.registration(terminal.now);
    terminal.peer.as_coap().post_in_blocks(&frame, 1).expect("blocks");
    assert!(matches!(terminal.hear(), Some(Heard::Reply(reply)) if reply.result == 0));
    let frame = terminal.device.daily(terminal.now, &[]);
    terminal.peer.as_coap().post_in_blocks(&frame, 2).expect("blocks");
    assert!(matches!(terminal.hear(), Some(Heard::Reply(reply)) if reply.result == 0));
    assert_eq!(site.readings("usp/50001234567885", "working-volume").len(), 2);
}

#[test]
fn two_frames_of_one_request_share_an_answer() {
    let site = site();
    let mut terminal = Terminal::on(meter("50001234567886"), Peer::coap(socket(&site, "nb")));
    let both = [terminal.device.registration(terminal.now), terminal.device.daily(terminal.now, &[])].concat();
    terminal.peer.send(&both);
    for _ in 0..2 {
        assert!(matches!(terminal.hear(), Some(Heard::Reply(reply)) if reply.result == 0));
    }
    assert_eq!(terminal.hear(), Some(Heard::Farewell(0)));
    assert_eq!(terminal.peer.as_coap().heard.len(), 1);
}

#[test]
fn what_is_no_report_is_told_so() {
    let site = site();
    let mut coap = socket(&site, "nb");
    let mut check = |change: &dyn Fn(&mut Packet), says: ResponseType| {
        let mut packet = coap.request(MessageType::Confirmable, b"x");
        change(&mut packet);
        coap.say(&packet).expect("a datagram");
        let answer = coap.next_message().expect("an answer");
        assert_eq!(answer.header.code, MessageClass::Response(says), "{answer:?}");
        assert_eq!(answer.get_token(), packet.get_token());
    };
    check(&|p| p.header.code = MessageClass::Request(RequestType::Get), ResponseType::MethodNotAllowed);
    check(&|p| p.add_option(CoapOption::IfMatch, vec![1]), ResponseType::BadOption);
    check(&|p| p.add_option(CoapOption::UriPath, b"x".to_vec()), ResponseType::NotFound);
    check(&|p| p.payload = vec![0; 16_500], ResponseType::RequestEntityTooLarge);
    check(&|p| p.add_option(CoapOption::ProxyUri, b"coap://x".to_vec()), ResponseType::ProxyingNotSupported);
    coap.say_bytes(&[0x40, 0, 0x12, 0x34]).expect("a datagram");
    assert_eq!(coap.next_message().expect("a reset").to_bytes().expect("a message"), [0x70, 0, 0x12, 0x34]);
    assert_eq!(metric(&site, "polymeter_coap_rejected_total"), 5);
    site.catch_up();
    assert!(site.rows("quarantine").is_empty(), "no session has seen any of it");
    let mut packet = coap.request(MessageType::Confirmable, b"nonsense of nobody");
    packet.header.set_type(MessageType::NonConfirmable);
    coap.say(&packet).expect("a datagram");
    let answer = coap.next_message().expect("an answer");
    assert_eq!(answer.header.get_type(), MessageType::NonConfirmable);
    site.catch_up();
    assert_eq!(site.rows("quarantine").len(), 1, "what somebody reports is kept, whatever it is");
}
