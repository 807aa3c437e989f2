//! JSON as people and scripts write it to the station: no object may have a name twice. Of two values the last would win, so
//! that `{"order": "close-forced", "order": "permit-open"}` would open a valve.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// Characters of a name that a refusal repeats.
const NAME_SHOWN_CHARS_MAX: usize = 60;

/// Whether every name in this JSON stands once in its object; the error says which does not, and where.
pub fn check_distinct(json: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice(json).map(|Distinct| ())
}

/// Any JSON, of which nothing is kept.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = object.next_key::<String>()? {
            if names.contains(&name) {
                let shown: String = name.chars().take(NAME_SHOWN_CHARS_MAX).collect();
                return Err(A::Error::custom(format!("`{shown}` stands there twice; remove one")));
            }
            names.insert(name);
            object.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once_in_its_object() {
        for good in ["7", "null", r#"{"a": {"a": [{"a": 1}, {"a": -1.5}]}, "b": "a"}"#, "[true, []]"] {
            check_distinct(good.as_bytes()).unwrap_or_else(|why| panic!("{good}: {why}"));
        }
        for bad in [
            r#"{"a": 1, "a": 1}"#,
            r#"[{"b": {"a": 1, "c": 2, "a": 3}}]"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"b": {}, "a": {"x": 1}, "a": {"y": 1}}"#,
        ] {
            let why = check_distinct(bad.as_bytes()).expect_err(bad).to_string();
            assert!(why.starts_with("`a` stands there twice") && why.contains("column"), "{bad}: {why}");
        }
    }
}
