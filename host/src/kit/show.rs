//! Decoded telegrams for people: the same facts as the JSON form, one a line, indented by what they belong to.

use crate::model::in_a_line;
use serde_json::{Map, Value};
use std::fmt::Write;

/// The text of one output object of `decode`.
pub fn telegram(number: usize, outcome: &Value) -> String {
    let mut out = format!("telegram {number}");
    if let Some(sender) = outcome.get("sender") {
        let _ = write!(out, " of {} {}", text(&sender["kind"]), text(&sender["address"]));
    }
    if outcome.get("duplicate").is_some() {
        out.push_str(", repeated");
    }
    out.push('\n');
    if let Some(fault) = outcome.get("fault") {
        let _ = writeln!(out, "  {}: {}", text(&fault["kind"]), text(&fault["detail"]));
    }
    for message in outcome["messages"].as_array().into_iter().flatten() {
        one(&mut out, message);
    }
    for (key, what) in [("reply", "reply"), ("before", "bytes before the frame"), ("after", "bytes after the frame")] {
        if let Some(bytes) = outcome.get(key) {
            let _ = writeln!(out, "  {what}: {}", text(bytes));
        }
    }
    out
}

/// The message's kind and its plain fields on one line; registers, samples and nested values below.
fn one(out: &mut String, message: &Value) {
    let Some(fields) = message.as_object() else { return };
    let _ = write!(out, "  {}", text(&message["type"]));
    plain(out, fields);
    out.push('\n');
    nested(out, fields, 4);
}

fn nested(out: &mut String, fields: &Map<String, Value>, indent: usize) {
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("registers", Value::Array(registers)) => {
                for register in registers {
                    line(out, indent, register);
                }
            }
            ("series" | "samples" | "entries", Value::Array(list)) => {
                for item in list {
                    line(out, indent, item);
                    if let Some(inner) = item.as_object() {
                        nested(out, inner, indent + 2);
                    }
                }
            }
            (key, Value::Object(inner)) => {
                let _ = write!(out, "{:indent$}{key}", "");
                plain(out, inner);
                out.push('\n');
                nested(out, inner, indent + 2);
            }
            _ => {}
        }
    }
}

/// A value with its unit first, then what else is said of it.
fn line(out: &mut String, indent: usize, item: &Value) {
    let Some(fields) = item.as_object() else { return };
    let _ = write!(out, "{:indent$}", "");
    if let Some(quantity) = fields.get("quantity") {
        let _ = write!(out, "{:<24}", text(quantity));
    }
    if let Some(value) = fields.get("value") {
        let _ = write!(out, " {:>16}", text(value));
    }
    if let Some(unit) = fields.get("unit").filter(|unit| *unit != "none" && *unit != "civil-second") {
        let _ = write!(out, " {}", text(unit));
    }
    let rest: Map<_, _> = fields
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "quantity" | "value" | "unit"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    plain(out, &rest);
    out.push('\n');
}

fn plain(out: &mut String, fields: &Map<String, Value>) {
    for (key, value) in fields.iter().filter(|(key, _)| *key != "type") {
        let shown = match value {
            Value::Object(_) => continue,
            Value::Array(list) if list.iter().all(Value::is_string) => {
                list.iter().map(text).collect::<Vec<_>>().join(",")
            }
            Value::Array(_) => continue,
            Value::Bool(true) => {
                let _ = write!(out, "  {key}");
                continue;
            }
            other => text(other),
        };
        let _ = write!(out, "  {key}={shown}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| in_a_line(&value.to_string()), in_a_line)
}
