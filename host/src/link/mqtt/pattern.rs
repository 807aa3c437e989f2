//! Topics with named levels: `application/{app}/device/{device}/event/up`.

use crate::limits;

/// A topic of which some levels are open, each under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Vec<Level>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Level {
    Word(String),
    Named(String),
}

/// What the named levels of one topic are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names(Vec<(String, String)>);

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > limits::MQTT_TOPIC_BYTES_MAX {
            return Err(format!("a topic has 1 to {} bytes", limits::MQTT_TOPIC_BYTES_MAX));
        }
        let mut levels: Vec<Level> = Vec::new();
        for level in text.split('/') {
            let named = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            if level.contains(['+', '#', '\0']) || named.is_none() && level.contains(['{', '}']) {
                return Err(format!("`{level}`: a level is a word, or a name in braces that stands for any word"));
            }
            let level = match named {
                Some(name) if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                    return Err(format!("`{{{name}}}`: a name has letters, digits and `_`"));
                }
                Some("payload") => return Err("`{payload}` is what is sent; give the level another name".into()),
                Some(name) => Level::Named(name.into()),
                None => Level::Word(level.into()),
            };
            if matches!(&level, Level::Named(_)) && levels.contains(&level) {
                return Err("a name stands twice in it; give each level its own".into());
            }
            levels.push(level);
        }
        Ok(Self(levels))
    }

    /// What a broker is asked for.
    pub fn filter(&self) -> String {
        let level = |level: &Level| match level {
            Level::Word(word) => word.clone(),
            Level::Named(_) => "+".into(),
        };
        self.0.iter().map(level).collect::<Vec<_>>().join("/")
    }

    /// `None`: it is no such topic.
    pub fn names(&self, topic: &str) -> Option<Names> {
        let mut words = topic.split('/');
        let mut names = Vec::new();
        for level in &self.0 {
            let word = words.next()?;
            match level {
                Level::Word(own) if own != word => return None,
                Level::Word(_) => {}
                Level::Named(_) if word.is_empty() => return None,
                Level::Named(name) => names.push((name.clone(), word.to_owned())),
            }
        }
        words.next().is_none().then_some(Names(names))
    }

    /// The topic with these names.
    pub fn topic(&self, names: &Names) -> String {
        let level = |level: &Level| match level {
            Level::Word(word) => word.clone(),
            Level::Named(name) => names.get(name).unwrap_or_default().to_owned(),
        };
        self.0.iter().map(level).collect::<Vec<_>>().join("/")
    }

    /// The first name in it that the other has not.
    pub fn beyond(&self, other: &Self) -> Option<&str> {
        self.0.iter().find_map(|level| match level {
            Level::Named(name) if !other.0.contains(level) => Some(name.as_str()),
            _ => None,
        })
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&Level::Named(name.into()))
    }
}

impl Names {
    /// The level that may be a device's address.
    pub fn device(&self) -> Option<&str> {
        self.get("device")
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, word)| word.as_str())
    }

    /// Puts the words where their names stand in braces.
    pub fn fill(&self, text: &str) -> String {
        let put = |text: String, (name, word): &(String, String)| text.replace(&format!("{{{name}}}"), word);
        self.0.iter().fold(text.to_owned(), put)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pattern, filter, a topic, the device in it, and the topic of the answer.
    #[test]
    fn topics_of_gateways_and_network_servers() {
        for (up, filter, topic, device, down, answer) in [
            (
                "gateways/{gateway}/meters/{device}/up",
                "gateways/+/meters/+/up",
                "gateways/g1/meters/50001234567810/up",
                Some("50001234567810"),
                "gateways/{gateway}/meters/{device}/down",
                "gateways/g1/meters/50001234567810/down",
            ),
            // ChirpStack 4.
            (
                "application/{app}/device/{device}/event/up",
                "application/+/device/+/event/up",
                "application/11c0a2b4/device/0102030405060708/event/up",
                Some("0102030405060708"),
                "application/{app}/device/{device}/command/down",
                "application/11c0a2b4/device/0102030405060708/command/down",
            ),
            // The Things Stack 3.
            (
                "v3/{app}/devices/{device}/up",
                "v3/+/devices/+/up",
                "v3/gas@north/devices/meter-7/up",
                Some("meter-7"),
                "v3/{app}/devices/{device}/down/push",
                "v3/gas@north/devices/meter-7/down/push",
            ),
            ("a/{device}", "a/+", "a/b/c", None, "x", "x"),
            ("a/{device}", "a/+", "a", None, "x", "x"),
            ("a/{device}", "a/+", "a/", None, "x", "x"),
            ("a/{device}", "a/+", "b/c", None, "x", "x"),
        ] {
            let (up, down) = (Pattern::parse(up).expect("a pattern"), Pattern::parse(down).expect("a pattern"));
            assert_eq!(up.filter(), filter);
            let names = up.names(topic);
            assert_eq!(names.as_ref().and_then(|names| names.get("device")), device, "{topic}");
            if let Some(names) = names {
                assert_eq!(down.topic(&names), answer);
                assert_eq!(down.beyond(&up), None);
            }
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for (text, says) in [
            ("", "a topic has"),
            ("a/+/b", "a level is a word"),
            ("a/#", "a level is a word"),
            ("a/x{device}", "a level is a word"),
            ("a/{}", "a name has"),
            ("a/{de vice}", "a name has"),
            ("{device}/{device}", "stands twice"),
            ("a/{payload}", "give the level another name"),
        ] {
            let why = Pattern::parse(text).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
        let (up, down) = (Pattern::parse("a/{device}"), Pattern::parse("a/{gateway}"));
        assert_eq!(down.expect("a pattern").beyond(&up.expect("a pattern")), Some("gateway"));
    }
}
