//! Commands in words: what people type after `command send DEVICE`, as the JSON that the API takes.

use crate::model::{Civil, Command, Day, Interval, ParameterValue, ReadScope, ReportPeriod, ScheduleChange};
use crate::model::{HexBytes, Parameter, Valve, ValveOrder, check_distinct};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

#[derive(Subcommand, Clone, Debug)]
pub enum Order {
    /// Read the registers now: current (the default), account or valve
    Read {
        #[arg(default_value = "current")]
        scope: ReadScope,
    },
    /// Read stored values: `read-history day 2024-03-01 2024-03-10`
    ReadHistory {
        /// minute, hour, day or month
        interval: Interval,
        /// A day, or a local time such as 2024-03-01T06:00:00
        first: Moment,
        last: Moment,
    },
    /// Move the valve: permit-open, close-temporary or close-forced
    Valve {
        order: ValveOrder,
        /// A code of wit/codes.md, such as balance-exhausted
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Set the device's clock; without a time, to the station's at the moment of sending
    SetClock { to: Option<Moment> },
    /// Change when the device reports
    SetSchedule(Schedule),
    /// Set parameters: `name=5`, `name=text` or `name=0x00ff`
    SetParameters {
        #[arg(required = true, value_name = "NAME=VALUE")]
        parameters: Vec<String>,
    },
    /// Read parameters by name
    ReadParameters {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Args, Clone, Debug)]
pub struct Schedule {
    /// daily, dekad, monthly or hourly
    #[arg(long)]
    period: Option<ReportPeriod>,
    /// Minute of the day at which the fleet begins to report, 0 to 1439
    #[arg(long)]
    minute_of_day: Option<u16>,
    #[arg(long)]
    stagger_minutes: Option<u16>,
    #[arg(long)]
    awake_minutes: Option<u16>,
    #[arg(long)]
    heartbeat_minutes: Option<u16>,
}

/// A local time, or a day as its first second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moment(Civil);

impl std::str::FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('T') {
            return text.parse().map(Self);
        }
        text.parse::<Day>().map(|day| Self(day.start()))
    }
}

impl Order {
    pub fn into_command(self) -> Result<Command> {
        Ok(match self {
            Self::Read { scope } => Command::Read { scope },
            Self::ReadHistory { interval, first, last } => {
                Command::ReadHistory { interval, first: first.0, last: last.0 }
            }
            Self::Valve { order, reason } => Command::Valve(Valve { order, order_id: None, valid_until: None, reason }),
            Self::SetClock { to } => Command::SetClock { to: to.map(|moment| moment.0) },
            Self::SetSchedule(change) => Command::SetSchedule(change.resolve()?),
            Self::SetParameters { parameters } => {
                Command::SetParameters(parameters.iter().map(|text| parameter(text)).collect::<Result<_>>()?)
            }
            Self::ReadParameters { names } => Command::ReadParameters(names),
        })
    }
}

/// A command in the contract's form.
pub fn from_json(text: &str) -> Result<Command> {
    if !text.starts_with('{') {
        bail!("`{text}` is no command; see `polymeter command send --help`, or give one as JSON");
    }
    let asked = serde_json::from_str(text).context("this is no command: it is not even JSON")?;
    check_distinct(text.as_bytes()).context("this is no command")?;
    crate::api::forms::command(asked).map_err(anyhow::Error::msg)
}

impl Schedule {
    fn resolve(self) -> Result<ScheduleChange> {
        let change = ScheduleChange {
            period: self.period,
            minute_of_day: self.minute_of_day,
            stagger_minutes: self.stagger_minutes,
            awake_minutes: self.awake_minutes,
            heartbeat_minutes: self.heartbeat_minutes,
        };
        if change == ScheduleChange::default() {
            bail!(
                "nothing to change: give at least one of --period, --minute-of-day, --stagger-minutes, --awake-minutes, --heartbeat-minutes"
            );
        }
        Ok(change)
    }
}

fn parameter(text: &str) -> Result<Parameter> {
    let Some((name, value)) = text.split_once('=') else { bail!("`{text}`: write NAME=VALUE") };
    let value = if let Some(digits) = value.strip_prefix("0x") {
        ParameterValue::Bytes(HexBytes(hex::decode(digits).with_context(|| format!("`{value}` is no hexadecimal"))?))
    } else if let Ok(number) = value.parse() {
        ParameterValue::Integer(number)
    } else {
        ParameterValue::Text(value.into())
    };
    Ok(Parameter { name: name.into(), value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        order: Order,
    }

    #[test]
    fn words_become_commands() {
        for (words, expected) in [
            ("read", r#"{"read":{"scope":"current"}}"#),
            ("read account", r#"{"read":{"scope":"account"}}"#),
            (
                "read-history day 2024-03-01 2024-03-10T06:00:00",
                r#"{"read-history":{"interval":"day","first":"2024-03-01T00:00:00","last":"2024-03-10T06:00:00"}}"#,
            ),
            (
                "valve close-forced --reason balance-exhausted",
                r#"{"valve":{"order":"close-forced","order_id":null,"valid_until":null,"reason":"balance-exhausted"}}"#,
            ),
            ("set-clock", r#"{"set-clock":{"to":null}}"#),
            (
                "set-parameters a=5 b=x c=0x0f",
                r#"{"set-parameters":[{"name":"a","value":{"integer":5}},{"name":"b","value":{"text":"x"}},{"name":"c","value":{"bytes":"0f"}}]}"#,
            ),
        ] {
            let line = Line::try_parse_from(std::iter::once("x").chain(words.split(' '))).expect(words);
            let command = line.order.into_command().expect(words);
            assert_eq!(serde_json::to_string(&command).expect("JSON"), expected);
        }
    }

    #[test]
    fn what_is_no_command_says_so() {
        for words in ["set-schedule", "set-parameters a"] {
            let line = Line::try_parse_from(std::iter::once("x").chain(words.split(' '))).expect(words);
            assert!(line.order.into_command().is_err(), "{words}");
        }
        assert!(Line::try_parse_from(["x", "valve", "explode"]).is_err());
    }
}
