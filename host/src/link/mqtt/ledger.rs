//! Which messages a broker may forget: those that are durable here.
//!
//! A broker sends a message again until it is acknowledged, marked as sent again. What is in hand is then not taken up a
//! second time, and what was settled is only acknowledged. Acknowledgements are good for the connection on which the
//! message came: after that, its number may be another message's.

use crate::limits;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;

/// SHA-256 of topic and payload.
pub type Content = [u8; 32];

/// A message's number on one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    pub connection: u64,
    pub number: u16,
}

/// What is to be done with a message that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Deal with it, and settle it under this number.
    New(u64),
    /// A copy of it is being dealt with.
    InHand,
    /// It was settled before: acknowledge it.
    Settled,
}

#[derive(Debug, Default)]
pub struct Ledger {
    next: u64,
    in_hand: FxHashMap<u64, (Content, Vec<Receipt>)>,
    /// The newest in hand of that content.
    by_content: FxHashMap<Content, u64>,
    settled: FxHashSet<Content>,
    /// In the order in which they may be forgotten.
    order: VecDeque<Content>,
}

impl Ledger {
    pub fn arrive(&mut self, content: Content, repeated: bool, receipt: Receipt) -> Arrival {
        if repeated {
            if let Some((_, receipts)) = self.by_content.get(&content).and_then(|id| self.in_hand.get_mut(id)) {
                receipts.push(receipt);
                return Arrival::InHand;
            }
            if self.settled.contains(&content) {
                return Arrival::Settled;
            }
        }
        self.next += 1;
        self.in_hand.insert(self.next, (content, vec![receipt]));
        self.by_content.insert(content, self.next);
        Arrival::New(self.next)
    }

    /// It is durable; gives what may be acknowledged.
    pub fn settle(&mut self, id: u64) -> Vec<Receipt> {
        let Some((content, receipts)) = self.take(id) else { return Vec::new() };
        if self.settled.insert(content) {
            self.order.push_back(content);
        }
        if self.order.len() > limits::MQTT_SETTLED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.settled.remove(&oldest);
        }
        receipts
    }

    /// It could not be dealt with; the broker has to send it again.
    pub fn lose(&mut self, id: u64) {
        self.take(id);
    }

    fn take(&mut self, id: u64) -> Option<(Content, Vec<Receipt>)> {
        let (content, receipts) = self.in_hand.remove(&id)?;
        if self.by_content.get(&content) == Some(&id) {
            self.by_content.remove(&content);
        }
        Some((content, receipts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(connection: u64, number: u16) -> Receipt {
        Receipt { connection, number }
    }

    #[test]
    fn a_message_sent_again_is_dealt_with_once() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.arrive([1; 32], false, receipt(1, 5)), Arrival::New(1));
        assert_eq!(ledger.arrive([1; 32], true, receipt(2, 1)), Arrival::InHand);
        assert_eq!(ledger.settle(1), [receipt(1, 5), receipt(2, 1)]);
        assert_eq!(ledger.arrive([1; 32], true, receipt(3, 1)), Arrival::Settled);
        assert!(ledger.in_hand.is_empty() && ledger.by_content.is_empty());
    }

    #[test]
    fn the_same_content_said_anew_is_another_message() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.arrive([1; 32], false, receipt(1, 5)), Arrival::New(1));
        assert_eq!(ledger.arrive([1; 32], false, receipt(1, 6)), Arrival::New(2));
        assert_eq!(ledger.settle(1), [receipt(1, 5)]);
        assert_eq!(ledger.settle(2), [receipt(1, 6)]);
        assert_eq!(ledger.arrive([1; 32], false, receipt(1, 7)), Arrival::New(3));
    }

    #[test]
    fn what_was_lost_is_taken_up_again() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.arrive([1; 32], false, receipt(1, 5)), Arrival::New(1));
        ledger.lose(1);
        assert_eq!(ledger.arrive([1; 32], true, receipt(2, 5)), Arrival::New(2));
        assert_eq!(ledger.settle(1), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut ledger = Ledger::default();
        for n in 0..limits::MQTT_SETTLED_MAX as u32 + 10 {
            let mut content = [0; 32];
            content[..4].copy_from_slice(&n.to_be_bytes());
            let Arrival::New(id) = ledger.arrive(content, false, receipt(1, 1)) else { panic!("new") };
            ledger.settle(id);
        }
        assert_eq!((ledger.settled.len(), ledger.order.len()), (limits::MQTT_SETTLED_MAX, limits::MQTT_SETTLED_MAX));
    }
}
