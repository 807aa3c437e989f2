//! Profiles against the schema in an adapter's manifest: the part of JSON Schema that options need, and an error for the rest.

use serde_json::{Map, Number, Value};
use std::cmp::Ordering;

/// Keywords that describe and do not constrain.
const NOTES: [&str; 6] = ["$schema", "title", "description", "default", "examples", "$comment"];
/// Nesting of a schema.
const DEPTH_MAX: usize = 8;

/// Whether a schema is one that `check` understands. A keyword that meant nothing here would be a promise not kept.
pub fn understand(schema: &Value) -> Result<(), String> {
    understand_at(schema, "profile", 0)
}

/// Whether a profile satisfies its schema; the error names the option, what was found and what is allowed.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    check_at(schema, value, "")
}

fn understand_at(schema: &Value, path: &str, depth: usize) -> Result<(), String> {
    let map = match schema {
        Value::Null | Value::Bool(_) => return Ok(()),
        Value::Object(map) if depth < DEPTH_MAX => map,
        Value::Object(_) => return Err(format!("{path}: nested more than {DEPTH_MAX} deep")),
        _ => return Err(format!("{path}: a schema is a table")),
    };
    for (keyword, value) in map {
        match keyword.as_str() {
            "type" => kinds(value).map(drop).ok_or_else(|| format!("{path}: type {value} is unknown"))?,
            "enum" | "required" if value.is_array() => {}
            "const" => {}
            "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems" if value.is_i64() => {}
            "items" | "not" => understand_at(value, path, depth + 1)?,
            "additionalProperties" if value.is_boolean() => {}
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    understand_at(inner, &join(path, name), depth + 1)?;
                }
            }
            known if NOTES.contains(&known) => {}
            _ => return Err(format!("{path}: this station does not know `{keyword} = {value}`")),
        }
    }
    Ok(())
}

fn check_at(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let Value::Object(schema) = schema else {
        return if *schema == Value::Bool(false) { Err(format!("{}not allowed", at(path))) } else { Ok(()) };
    };
    let wrong = |wanted: String| Err(format!("{}{wanted} is wanted, found {value}", at(path)));
    if let Some(kinds) = schema.get("type").and_then(kinds)
        && !kinds.iter().any(|kind| is_of(value, kind))
    {
        return wrong(kinds.join(" or "));
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
        return wrong(format!("one of {}", allowed.join(", ")));
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        return wrong(only.to_string());
    }
    if let Some(forbidden) = schema.get("not")
        && check_at(forbidden, value, path).is_ok()
    {
        return Err(format!("{}{value} is not allowed", at(path)));
    }
    let measure = match value {
        Value::Number(number) => Some((number.clone(), "minimum", "maximum", "")),
        Value::String(text) => Some((text.chars().count().into(), "minLength", "maxLength", " characters")),
        Value::Array(list) => Some((list.len().into(), "minItems", "maxItems", " items")),
        _ => None,
    };
    if let Some((size, min, max, what)) = measure {
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_i64);
        if let Some(least) = bound(min).filter(|least| against(&size, *least).is_lt()) {
            return wrong(format!("at least {least}{what}"));
        }
        if let Some(most) = bound(max).filter(|most| against(&size, *most).is_gt()) {
            return wrong(format!("at most {most}{what}"));
        }
    }
    match value {
        Value::Array(list) => check_items(schema, list, path),
        Value::Object(map) => check_properties(schema, map, path),
        _ => Ok(()),
    }
}

/// A number against a bound, also where it is a fraction or longer than the bound can be.
fn against(number: &Number, bound: i64) -> Ordering {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => whole.cmp(&bound),
        (None, Some(other)) if !number.is_u64() => other.partial_cmp(&(bound as f64)).unwrap_or(Ordering::Greater),
        (None, _) => Ordering::Greater,
    }
}

fn check_items(schema: &Map<String, Value>, list: &[Value], path: &str) -> Result<(), String> {
    let Some(items) = schema.get("items") else { return Ok(()) };
    list.iter().enumerate().try_for_each(|(index, item)| check_at(items, item, &format!("{path}[{index}]")))
}

fn check_properties(schema: &Map<String, Value>, map: &Map<String, Value>, path: &str) -> Result<(), String> {
    let known = schema.get("properties").and_then(Value::as_object);
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    for (name, value) in map {
        match known.and_then(|known| known.get(name)) {
            Some(inner) => check_at(inner, value, &join(path, name))?,
            None if closed => {
                let names: Vec<_> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                let known =
                    if names.is_empty() { "it takes none".into() } else { format!("known are {}", names.join(", ")) };
                return Err(format!("{}unknown option `{name}`; {known}", at(path)));
            }
            None => {}
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    match required.rev().find(|name| !map.contains_key(*name)) {
        Some(name) => Err(format!("{}`{name}` is missing", at(path))),
        None => Ok(()),
    }
}

/// The kinds that a `type` names; none if it names an unknown one.
fn kinds(value: &Value) -> Option<Vec<&str>> {
    let names: Vec<&str> = match value {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap_or_default()).collect(),
        _ => return None,
    };
    let known = ["object", "array", "string", "integer", "number", "boolean", "null"];
    names.iter().all(|name| known.contains(name)).then_some(names)
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["cipher"],
            "properties": {
                "cipher": {"enum": ["aes128", "sm4"], "default": "aes128"},
                "wait": {"type": "integer", "minimum": 1, "maximum": 600, "not": {"const": 13}},
                "slot": {"type": ["string", "null"], "minLength": 1, "maxLength": 3},
                "hosts": {"type": "array", "maxItems": 2, "items": {"type": "string"}},
                "scale": {"type": "object", "properties": {"price": {"type": "integer"}}},
            },
        })
    }

    #[test]
    fn profiles_are_judged_by_option() {
        assert_eq!(understand(&schema()), Ok(()));
        for (profile, expected) in [
            (json!({"cipher": "sm4", "wait": 600, "slot": null, "hosts": ["a"], "scale": {"price": -2, "x": 1}}), ""),
            (json!([]), "object is wanted"),
            (json!({}), "`cipher` is missing"),
            (json!({"cipher": "des"}), "cipher: one of \"aes128\", \"sm4\" is wanted, found \"des\""),
            (json!({"cipher": "sm4", "wait": 0}), "wait: at least 1"),
            (json!({"cipher": "sm4", "wait": 601}), "wait: at most 600"),
            (json!({"cipher": "sm4", "wait": 13}), "wait: 13 is not allowed"),
            (json!({"cipher": "sm4", "wait": 1.5}), "wait: integer is wanted"),
            (json!({"cipher": "sm4", "slot": "四个汉字"}), "slot: at most 3 characters"),
            (json!({"cipher": "sm4", "slot": 1}), "slot: string or null is wanted, found 1"),
            (json!({"cipher": "sm4", "hosts": ["a", 2]}), "hosts[1]: string is wanted"),
            (json!({"cipher": "sm4", "hosts": ["a", "b", "c"]}), "hosts: at most 2 items"),
            (json!({"cipher": "sm4", "scale": {"price": "x"}}), "scale.price: integer is wanted"),
            (json!({"cipher": "sm4", "cypher": 1}), "unknown option `cypher`; known are cipher, "),
        ] {
            match check(&schema(), &profile) {
                Ok(()) => assert_eq!(expected, "", "{profile}"),
                Err(error) => assert!(!expected.is_empty() && error.contains(expected), "{profile}: {error}"),
            }
        }
    }

    #[test]
    fn bounds_hold_for_every_number() {
        let schema = json!({"type": "number", "minimum": 0, "maximum": 10});
        for (number, expected) in [
            ("0.0", ""),
            ("9.5", ""),
            ("-0.0", ""),
            ("10", ""),
            ("-0.5", "at least 0"),
            ("10.5", "at most 10"),
            ("18446744073709551615", "at most 10"),
            ("1e300", "at most 10"),
            ("-1e300", "at least 0"),
        ] {
            let value = serde_json::from_str(number).expect("a number");
            match check(&schema, &value) {
                Ok(()) => assert_eq!(expected, "", "{number}"),
                Err(error) => assert!(!expected.is_empty() && error.contains(expected), "{number}: {error}"),
            }
        }
    }

    #[test]
    fn a_schema_without_options_says_that_there_are_none() {
        let schema = json!({"type": "object", "additionalProperties": false});
        let expected = "unknown option `cipher`; it takes none".to_owned();
        assert_eq!(check(&schema, &json!({"cipher": "sm4"})), Err(expected));
    }

    #[test]
    fn a_schema_with_an_unknown_keyword_is_refused() {
        for (schema, expected) in [
            (json!({"pattern": "^a"}), "does not know `pattern"),
            (json!({"type": "text"}), "type \"text\" is unknown"),
            (json!({"properties": {"a": {"minimum": "1"}}}), "profile.a: this station does not know"),
            (json!(3), "a schema is a table"),
        ] {
            let error = understand(&schema).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        let deep = (0..20).fold(json!({}), |inner, _| json!({"items": inner}));
        assert!(understand(&deep).is_err());
    }
}
