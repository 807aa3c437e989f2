//! What the command line prints: aligned tables for people, one JSON object a line for scripts.

use super::client::Rows;
use crate::model::in_a_line;
use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;

/// A frame may have thousands of bytes; a table of such rows could not be read.
const CELL_CHARS_MAX: usize = 120;

/// How to print.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON, one object a line, as the API gives it
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
}

/// How much of a listing.
#[derive(Args, Clone, Copy, Debug)]
pub struct Limit {
    /// Rows at most; 0: all there are
    #[arg(long, default_value_t = crate::limits::PAGE_ROWS_DEFAULT, value_name = "ROWS")]
    limit: usize,
}

impl Limit {
    pub fn rows_max(self) -> usize {
        if self.limit == 0 { usize::MAX } else { self.limit }
    }
}

/// What only some devices tell apart, and where a reading is from: no column where no row says it.
const SELDOM: [&str; 7] =
    ["/storage", "/tariff", "/channel", "/frame", "/read_by/name", "/read_by/version", "/corrected_in"];

/// Lists of sentences, which have commas of their own: one a line.
const SENTENCES: [&str; 1] = ["/health/out_of_service"];

/// Title of a column, and where its value lies in a row (a JSON pointer).
pub type Columns<'a> = &'a [(&'a str, &'a str)];

impl Output {
    /// A listing that comes page by page.
    pub fn listing(self, columns: Columns<'_>, rows: Rows<'_>) -> Result<()> {
        self.listing_of(columns, rows, |row| row)
    }

    /// The same, with rows put into words for people; JSON stays as the station gave it.
    pub fn listing_of(self, columns: Columns<'_>, mut rows: Rows<'_>, in_words: fn(Value) -> Value) -> Result<()> {
        self.rows(columns, rows.by_ref().map(|row| row.map(|row| if self.json { row } else { in_words(row) })))?;
        if rows.more() && !self.json {
            note("There are more rows: see --limit.");
        }
        Ok(())
    }

    /// Rows that are at hand.
    pub fn rows(self, columns: Columns<'_>, rows: impl Iterator<Item = Result<Value>>) -> Result<()> {
        self.rows_as(columns, rows, short_cell)
    }

    /// The same with nothing cut, where the rows are all there is to read of one thing.
    pub fn whole_rows(self, columns: Columns<'_>, rows: impl Iterator<Item = Result<Value>>) -> Result<()> {
        self.rows_as(columns, rows, cell)
    }

    fn rows_as(
        self,
        columns: Columns<'_>,
        rows: impl Iterator<Item = Result<Value>>,
        shown: fn(&Value) -> String,
    ) -> Result<()> {
        if self.json {
            for row in rows {
                line(&row?.to_string())?;
            }
            return Ok(());
        }
        let rows = rows.collect::<Result<Vec<_>>>()?;
        if rows.is_empty() {
            note("There are none.");
            return Ok(());
        }
        line(&table(columns, &rows, shown))
    }

    /// One thing: names and values below each other.
    pub fn object(self, columns: Columns<'_>, object: &Value) -> Result<()> {
        if self.json {
            return line(&object.to_string());
        }
        line(&pairs(columns, object))
    }

    /// Something was done: a sentence, or the API's answer.
    pub fn done(self, sentence: &str, answer: &Value) -> Result<()> {
        line(&if self.json { answer.to_string() } else { harmless(sentence) })
    }
}

/// Prints a line, as it is.
pub fn line(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Says something beside the data.
pub fn note(text: &str) {
    // Nobody to tell when even this fails.
    let _ = writeln!(std::io::stderr(), "{}", harmless(text));
}

/// Lines in which nothing else moves the cursor.
pub fn harmless(text: &str) -> String {
    text.split('\n').map(in_a_line).collect::<Vec<_>>().join("\n")
}

fn pairs(columns: Columns<'_>, object: &Value) -> String {
    let width = columns.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (title, pointer) in columns {
        let Some(value) = object.pointer(pointer) else { continue };
        let values = match value {
            Value::Array(sentences) if SENTENCES.contains(pointer) => sentences.iter().map(cell).collect(),
            value => vec![cell(value)],
        };
        for (nth, value) in values.iter().filter(|value| !value.is_empty()).enumerate() {
            let title = if nth == 0 { title } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{title:width$}  {value}");
        }
    }
    text.trim_end().to_owned()
}

fn table(columns: Columns<'_>, rows: &[Value], shown: fn(&Value) -> String) -> String {
    let is_said = |pointer: &str| !SELDOM.contains(&pointer) || rows.iter().any(|row| row.pointer(pointer).is_some());
    let columns: Vec<_> = columns.iter().filter(|(_, pointer)| is_said(pointer)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|(title, _)| *title));
    let mut numeric = vec![!rows.is_empty(); columns.len()];
    for row in rows {
        let cells: Vec<String> =
            columns.iter().map(|(_, pointer)| row.pointer(pointer).map(shown).unwrap_or_default()).collect();
        for (numeric, cell) in numeric.iter_mut().zip(&cells) {
            *numeric &= cell.is_empty() || cell.parse::<f64>().is_ok();
        }
        table.add_row(cells);
    }
    for (column, numeric) in table.column_iter_mut().zip(numeric) {
        column.set_padding((0, 2));
        if numeric {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// As much of a value as a table bears; all of it is in the JSON.
fn short_cell(value: &Value) -> String {
    let text = cell(value);
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A value on one line. Texts come from devices and vendors: nothing in them may move the cursor.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(false) => String::new(),
        Value::Bool(true) => "yes".into(),
        // An error of several lines is one sentence after the other.
        Value::String(text) => in_a_line(&text.lines().map(str::trim).collect::<Vec<_>>().join(" ")),
        Value::Array(list) => {
            let between = if list.iter().any(Value::is_object) { "; " } else { ", " };
            list.iter().map(cell).collect::<Vec<_>>().join(between)
        }
        Value::Number(number) => number.to_string(),
        Value::Object(fields) => {
            fields.iter().filter_map(|(name, value)| named(name, value)).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A field in words; what has none is left out.
fn named(name: &str, value: &Value) -> Option<String> {
    let (name, text) = (in_a_line(name).replace('_', " "), cell(value));
    match value {
        Value::Object(_) | Value::Array(_) if text.is_empty() => Some(name),
        Value::Object(_) | Value::Array(_) => Some(format!("{name} ({text})")),
        _ if text.is_empty() => None,
        _ => Some(format!("{name} {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn foreign_text_moves_nothing() {
        let text = "good\ncontract: fine \u{1b}[2J\u{2066}";
        assert_eq!(in_a_line(text), "good\u{fffd}contract: fine \u{fffd}[2J\u{fffd}");
        assert_eq!(harmless(text), "good\ncontract: fine \u{fffd}[2J\u{fffd}");
        assert_eq!(harmless("四个汉字 · é\n"), "四个汉字 · é\n");
    }

    #[test]
    fn what_has_parts_is_no_json_for_people() {
        for (value, told) in [
            (
                json!({"valve": {"order": "close-forced", "order_id": 7, "valid_until": null, "reason": "gas-leak"}}),
                "valve (order close-forced, order id 7, reason gas-leak)",
            ),
            (json!({"set-clock": {"to": null}}), "set-clock"),
            (
                json!({"set-parameters": [{"name": "a", "value": {"integer": 5}}, {"name": "b", "value": {"text": "x"}}]}),
                "set-parameters (name a, value (integer 5); name b, value (text x))",
            ),
            (json!("rejected:\n  the first\r\n  the second"), "rejected: the first the second"),
        ] {
            assert_eq!(cell(&value), told);
        }
    }

    #[test]
    fn tables_align_and_numbers_stand_right() {
        let rows = [
            json!({"name": "a", "n": 5, "deep": {"list": ["x", "y"]}}),
            json!({"name": "long\u{1b}[31m \u{202e}name", "n": 1234, "flag": true}),
        ];
        let columns: Columns<'_> = &[("NAME", "/name"), ("N", "/n"), ("LIST", "/deep/list"), ("FLAG", "/flag")];
        let expected = [
            "NAME                N  LIST  FLAG",
            "a                   5  x, y",
            "long\u{fffd}[31m \u{fffd}name  1234        yes",
        ];
        assert_eq!(table(columns, &rows, short_cell), expected.join("\n"));
    }

    #[test]
    fn sentences_stand_below_each_other() {
        let columns: Columns<'_> = &[("health", "/health/status"), ("out", "/health/out_of_service"), ("n", "/n")];
        let object = json!({"health": {"status": "ok", "out_of_service": ["a, b is out", "c is out"]}, "n": [1, 2]});
        assert_eq!(pairs(columns, &object), "health  ok\nout     a, b is out\n        c is out\nn       1, 2");
        assert_eq!(pairs(columns, &json!({"health": {"status": "ok", "out_of_service": []}})), "health  ok");
    }

    #[test]
    fn what_few_tell_is_a_column_where_somebody_does() {
        let columns: Columns<'_> = &[("VALUE", "/value"), ("STORAGE", "/storage"), ("TARIFF", "/tariff")];
        let rows = [json!({"value": "1.5"}), json!({"value": "1.2", "storage": 1})];
        assert_eq!(table(columns, &rows, short_cell), "VALUE  STORAGE\n  1.5\n  1.2        1");
        assert_eq!(table(columns, &rows[..1], short_cell), "VALUE\n  1.5");
    }

    #[test]
    fn what_a_command_has_read_tells_what_is_no_good_reading() {
        let register = json!({
            "quantity": "working-volume", "storage": 1, "value": "0", "unit": "cubic-metre", "role": "cumulative",
            "quality": "invalid",
        });
        let expected = [
            "AT  QUANTITY        STORAGE  VALUE  UNIT         ROLE        QUALITY",
            "    working-volume        1      0  cubic-metre  cumulative  invalid",
        ];
        assert_eq!(table(crate::cli::meter::READINGS, &[register], short_cell), expected.join("\n"));
    }
}
