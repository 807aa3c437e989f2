//! Results: a table for people, `target/bench.json` for machines.

use serde_json::{Value, json};

/// Rows in the order measured.
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    ratio: Option<f64>,
    bound: Option<Bound>,
}

/// What a figure must reach.
#[derive(Clone, Copy)]
pub enum Bound {
    ValueAtMost(f64),
    RatioAtLeast(f64),
    RatioAtMost(f64),
}

impl Table {
    pub fn new() -> Self {
        println!("{:<58} {:>12} {:<10} {:>7}  bound", "benchmark", "value", "unit", "ratio");
        Self { rows: Vec::new() }
    }

    /// Adds and prints a row.
    pub fn row(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        ratio: Option<f64>,
        bound: Option<Bound>,
    ) {
        let row = Row { name: name.into(), value, unit, ratio, bound };
        let ratio = row.ratio.map_or(String::new(), |r| format!("{r:.2}"));
        println!("{:<58} {:>12.2} {:<10} {:>7}  {}", row.name, row.value, row.unit, ratio, row.verdict());
        self.rows.push(row);
    }

    /// Writes the file. Figures are reported, never asserted: the machine may be busy.
    pub fn finish(self) -> anyhow::Result<()> {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let path = super::process::target_dir()?.join("bench.json");
        std::fs::write(&path, serde_json::to_string_pretty(&rows)?)?;
        println!("written to target/bench.json");
        Ok(())
    }
}

impl Row {
    fn verdict(&self) -> String {
        let (text, met) = match self.bound {
            None => return String::new(),
            Some(Bound::ValueAtMost(most)) => (format!("<= {most}"), self.value <= most),
            Some(Bound::RatioAtMost(most)) => (format!("ratio <= {most}"), self.ratio.is_some_and(|r| r <= most)),
            Some(Bound::RatioAtLeast(least)) => (format!("ratio >= {least}"), self.ratio.is_some_and(|r| r >= least)),
        };
        format!("{text} {}", if met { "ok" } else { "MISSED" })
    }

    fn json(&self) -> Value {
        let (bound, of) = match self.bound {
            None => (Value::Null, Value::Null),
            Some(Bound::ValueAtMost(most)) => (json!(most), json!("value at most")),
            Some(Bound::RatioAtMost(most)) => (json!(most), json!("ratio at most")),
            Some(Bound::RatioAtLeast(least)) => (json!(least), json!("ratio at least")),
        };
        json!({
            "name": self.name, "value": self.value, "unit": self.unit, "ratio": self.ratio, "bound": bound, "bound_is": of,
        })
    }
}
