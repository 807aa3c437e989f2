//! Of whom a carrier speaks, when a frame of his is read again: of whom the entry has named, however another version calls him and
//! in whatever order.
//!
//! The version that read the frame first says how the carrier called those that the entry names. Where nobody can repeat that, a
//! name is known again by its own address; whoever is new is who the registry says now.

use crate::model::{DeviceKey, Message, bare};
use crate::views::ViewError;
use std::collections::BTreeMap;

/// Whom the carrier called how in one frame: names by what was called, without zeros in front.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// One version's messages of one frame, before and after those of whom they speak were named. `None`: they are not the same.
    pub fn of(mut messages: Vec<Message>, told: &[Message]) -> Option<Self> {
        let mut called = BTreeMap::new();
        let mut names = told.iter().filter_map(Message::subject);
        for subject in messages.iter_mut().filter_map(Message::subject_mut) {
            let name = names.next()?;
            if is_name(name) {
                let before = called.insert(bare(subject).to_owned(), name.to_owned());
                if before.is_some_and(|before| before != name) {
                    return None;
                }
                name.clone_into(subject);
            }
        }
        (messages == told).then_some(Self(called))
    }

    /// Names of whom these messages speak. `told` is what counts of the frame until now, and `now` whom the registry says that the
    /// carrier calls so. False: nobody can tell whether somebody in them is one of those who were told.
    pub fn name(
        &self,
        messages: &mut [Message],
        told: &[Message],
        now: impl Fn(&str) -> Result<Option<DeviceKey>, ViewError>,
    ) -> Result<bool, ViewError> {
        let (named, nameless): (Vec<&str>, Vec<&str>) =
            told.iter().filter_map(Message::subject).partition(|subject| is_name(subject));
        let is_proven = |name: &str| self.0.values().any(|proven| proven == name);
        let own = |name: &str| name.split_once('/').map_or("", |(_, own)| bare(own)).to_owned();
        let (mut is_clear, mut some_nameless, mut some_new) = (true, false, false);
        for subject in messages.iter_mut().filter_map(Message::subject_mut) {
            if let Some(name) = self.0.get(bare(subject)) {
                name.clone_into(subject);
                continue;
            }
            // Who was nobody's name then stays so, as it was written then.
            let same = |called: &&&str| **called == subject.as_str();
            let alike = |called: &&&str| bare(called) == bare(subject);
            if let Some(called) = nameless.iter().find(same).or_else(|| nameless.iter().find(alike)) {
                (*called).clone_into(subject);
                continue;
            }
            let mut maybe: Vec<String> = named
                .iter()
                .filter(|name| !is_proven(name) && own(name) == bare(subject))
                .map(|name| (*name).to_owned())
                .chain(now(subject)?.map(|device| device.to_string()))
                .collect();
            maybe.sort();
            maybe.dedup();
            match &maybe[..] {
                [name] => {
                    some_new |= !named.contains(&name.as_str());
                    subject.clone_from(name);
                }
                [] => some_nameless = true,
                _ => is_clear = false,
            }
        }
        let here: Vec<&str> = messages.iter().filter_map(Message::subject).collect();
        let mut lost = named.iter().filter(|name| !here.contains(name));
        // Whoever is lost may be the one that came, unless it is known that he was called otherwise.
        Ok(is_clear && lost.all(|name| !some_nameless && (!some_new || is_proven(name))))
    }
}

/// Rather than what a carrier calls him.
pub(super) fn is_name(subject: &str) -> bool {
    subject.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, HexBytes};

    fn said(subjects: &[&str]) -> Vec<Message> {
        let event = |subject: &&str| {
            let (subject, code) = (Some((*subject).to_owned()), "leak".to_owned());
            Message::Event(Event { subject, code, cleared: false, at: None, value: None, raw_code: 0 })
        };
        subjects.iter().map(event).collect()
    }

    /// Meters 111, called 7, and 222, called 111; 8 is 333; nobody else is registered.
    fn registry(called: &str) -> Option<DeviceKey> {
        let address = match bare(called) {
            "7" => "111",
            "111" => "222",
            "8" => "333",
            _ => return None,
        };
        Some(DeviceKey::new("m", address).expect("a key"))
    }

    fn named(names: &Names, new: &[&str], told: &[&str]) -> (Vec<String>, bool) {
        let mut messages = said(new);
        let is_clear = names.name(&mut messages, &said(told), |called| Ok(registry(called))).expect("a registry");
        (messages.iter().filter_map(Message::subject).map(str::to_owned).collect(), is_clear)
    }

    #[test]
    fn who_was_named_is_found_by_what_he_was_called() {
        // When it came, 7 was another meter than today.
        let told = ["m/900", "m/222", "99"];
        let names = Names::of(said(&["7", "111", "99"]), &said(&told)).expect("the same");
        for (new, expected, is_clear) in [
            (&["7", "111", "99"][..], &["m/900", "m/222", "99"][..], true),
            (&["111", "99", "7"], &["m/222", "99", "m/900"], true),
            (&["00000111", "0099", "07"], &["m/222", "99", "m/900"], true),
            (&["111"], &["m/222"], true),
            // One more, and one for another.
            (&["8", "7", "111", "99"], &["m/333", "m/900", "m/222", "99"], true),
            (&["8", "7"], &["m/333", "m/900"], true),
            (&["55", "7", "111"], &["55", "m/900", "m/222"], true),
            // It may be 222, called in another way.
            (&["55", "7"], &["55", "m/900"], false),
            (&["222", "7"], &["222", "m/900"], false),
        ] {
            let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(named(&names, new, &told), (expected, is_clear), "{new:?}");
        }
    }

    #[test]
    fn without_its_version_own_addresses_and_the_registry_have_to_agree() {
        let none = Names::default();
        for (new, told, expected, is_clear) in [
            (&["900", "8"][..], &["m/900", "m/333"][..], &["m/900", "m/333"][..], true),
            (&["8", "7"], &["m/111", "m/333"], &["m/333", "m/111"], true),
            (&["0099"], &["99"], &["99"], true),
            // Own address of the one, and what the other is called.
            (&["111", "7"], &["m/111", "m/222"], &["111", "m/111"], false),
            // 8 was 900 when it came, or somebody else: the registry has changed since.
            (&["8"], &["m/900"], &["m/333"], false),
            (&["8", "900"], &["m/900"], &["m/333", "m/900"], true),
            // Nobody could read it, or it was another's: who they are is who they are now.
            (&["8", "55"], &[], &["m/333", "55"], true),
        ] {
            let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(named(&none, new, told), (expected, is_clear), "{new:?}");
        }
    }

    #[test]
    fn another_reading_proves_no_names() {
        for (messages, told) in [
            (said(&["7"]), said(&["m/1", "m/2"])),
            (said(&["7", "8"]), said(&["m/1"])),
            (said(&["7"]), said(&["8"])),
            (said(&["7", "7"]), said(&["m/1", "m/2"])),
            (said(&["7"]), [said(&["m/1"]), vec![Message::EndOfSession]].concat()),
            (said(&["7"]), vec![Message::Unknown { what: String::new(), bytes: HexBytes(vec![]) }]),
        ] {
            assert!(Names::of(messages, &told).is_none(), "{told:?}");
        }
        assert!(Names::of(said(&["07", "7"]), &said(&["m/1", "m/1"])).is_some());
    }
}
