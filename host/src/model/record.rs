//! A record of the device registry: what the utility says of a device before, and beside, what the device says itself.
//!
//! Here are the columns, what each may hold, and the two forms of a record (fields of text, and typed). Whether the
//! adapter or the parent that a record names exists is for the station to say (`records`).

use super::{DeviceKey, DeviceKind};
use crate::limits;
use serde::{Deserialize, Serialize};

names! {
    /// Columns of the registry, in the order in which they are written.
    Column {
        Device = "device", Kind = "kind", Manufacturer = "manufacturer", Model = "model", Adapter = "adapter",
        Profile = "profile", Parent = "parent", Protocol = "protocol", Channel = "channel", District = "district",
        Customer = "customer", KeySlot = "key_slot", LineAddress = "line_address", Baud = "baud", LineFormat = "line_format",
    }
}

names! {
    /// What is wrong with a row.
    FlawKind {
        Malformed = "malformed", Duplicate = "duplicate", UnknownAdapter = "unknown-adapter",
        UnknownProfile = "unknown-profile", UnknownParent = "unknown-parent", NoCarrier = "no-carrier",
        Circle = "circle", TooDeep = "too-deep", HasChildren = "has-children",
    }
}

/// One device as the registry has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    pub device: DeviceKey,
    pub about: Particulars,
}

/// An address as it is compared behind a carrier: carriers fill addresses with zeros in front.
pub fn bare(address: &str) -> &str {
    address.trim_start_matches('0')
}

/// Everything but the key. Empty texts: not said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Particulars {
    pub kind: DeviceKind,
    pub manufacturer: String,
    pub model: String,
    pub adapter: String,
    pub profile: String,
    /// The concentrator or DTU in front of it.
    pub parent: Option<DeviceKey>,
    /// What the parent carries for it: a protocol code of `wit/codes.md`.
    pub protocol: String,
    /// Behind the parent.
    pub channel: Option<u8>,
    pub district: String,
    pub customer: String,
    /// Name of the key's slot; never a key.
    pub key_slot: String,
    /// How the parent calls it, where that is not its own address.
    pub line_address: String,
    /// Of the line behind the parent.
    pub baud: Option<u32>,
    /// Of the line behind the parent, such as `8E1`.
    pub line_format: String,
}

/// Something wrong with a row, for people to mend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flaw {
    /// `None`: the row as a whole.
    pub column: Option<&'static str>,
    pub kind: FlawKind,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// A row as text, one field a column.
pub type Fields<'a> = [&'a str; Column::ALL.len()];

/// The ways in which a registered device can be there.
const KINDS: [DeviceKind; 3] = [DeviceKind::Meter, DeviceKind::Concentrator, DeviceKind::Dtu];
/// Speeds of a line.
const BAUDS: std::ops::RangeInclusive<u32> = 50..=1_000_000;
const WORD_BYTES_MAX: usize = 32;
const SHOWN_CHARS_MAX: usize = 40;

impl Flaw {
    pub fn new(column: Column, kind: FlawKind, message: impl Into<String>) -> Self {
        Self::of(column.name(), kind, message)
    }

    /// Of a column of any table.
    pub fn of(column: &'static str, kind: FlawKind, message: impl Into<String>) -> Self {
        Self { column: Some(column), kind, message: message.into() }
    }

    /// Of the row as a whole.
    pub fn row(kind: FlawKind, message: impl Into<String>) -> Self {
        Self { column: None, kind, message: message.into() }
    }
}

impl Record {
    /// Reads a row; blanks around a field do not count. Says everything that is wrong, not only the first.
    pub fn parse(fields: &Fields<'_>) -> Result<Self, Vec<Flaw>> {
        let mut reading = Reading { fields, flaws: Vec::new() };
        let device = reading.key(Column::Device);
        let kind = reading.kind();
        let about = Particulars {
            kind: kind.unwrap_or(DeviceKind::Meter),
            manufacturer: reading.text(Column::Manufacturer),
            model: reading.text(Column::Model),
            adapter: reading.word(Column::Adapter),
            profile: reading.word(Column::Profile),
            parent: if reading.field(Column::Parent).is_empty() { None } else { reading.key(Column::Parent) },
            protocol: reading.word(Column::Protocol),
            channel: reading.channel(),
            district: reading.text(Column::District),
            customer: reading.text(Column::Customer),
            key_slot: reading.word(Column::KeySlot),
            line_address: reading.line_address(),
            baud: reading.baud(),
            line_format: reading.line_format(),
        };
        reading.relations(device.as_ref(), &about);
        match device {
            Some(device) if reading.flaws.is_empty() => Ok(Self { device, about }),
            _ => Err(reading.flaws),
        }
    }

    /// The row as text, as `parse` reads it and an export writes it.
    pub fn write(&self, mut field: impl FnMut(&str)) {
        let about = &self.about;
        field(self.device.as_str());
        field(about.kind.name());
        field(&about.manufacturer);
        field(&about.model);
        field(&about.adapter);
        field(&about.profile);
        field(about.parent.as_ref().map_or("", DeviceKey::as_str));
        field(&about.protocol);
        field(&about.channel.map(|channel| channel.to_string()).unwrap_or_default());
        field(&about.district);
        field(&about.customer);
        field(&about.key_slot);
        field(&about.line_address);
        field(&about.baud.map(|baud| baud.to_string()).unwrap_or_default());
        field(&about.line_format);
    }
}

impl Particulars {
    /// Whether other devices can stand behind it.
    pub fn is_carrier(&self) -> bool {
        self.kind != DeviceKind::Meter
    }
}

/// A row being read.
struct Reading<'a> {
    fields: &'a Fields<'a>,
    flaws: Vec<Flaw>,
}

impl<'a> Reading<'a> {
    fn field(&self, column: Column) -> &'a str {
        self.fields[column as usize].trim()
    }

    fn malformed(&mut self, column: Column, message: impl Into<String>) {
        self.flaws.push(Flaw::new(column, FlawKind::Malformed, message));
    }

    fn key(&mut self, column: Column) -> Option<DeviceKey> {
        let text = self.field(column);
        if text.is_empty() {
            self.malformed(column, "is empty; write the device as realm/address, such as usp/50001234567810");
            return None;
        }
        text.parse().map_err(|error: super::KeyError| self.malformed(column, error.to_string())).ok()
    }

    fn kind(&mut self) -> Option<DeviceKind> {
        let text = self.field(Column::Kind);
        let found = KINDS.into_iter().find(|kind| kind.name() == text);
        if found.is_none() {
            self.malformed(Column::Kind, format!("`{}` is none of: meter, concentrator, dtu", shown(text)));
        }
        found
    }

    fn text(&mut self, column: Column) -> String {
        let text = self.field(column);
        if text.len() > limits::RECORD_TEXT_BYTES_MAX {
            let most = limits::RECORD_TEXT_BYTES_MAX;
            self.malformed(column, format!("{} bytes; shorten it to {most} at most", text.len()));
        } else if text.contains(char::is_control) {
            self.malformed(column, format!("`{}` holds a line break or another control character", shown(text)));
        }
        text.to_owned()
    }

    fn word(&mut self, column: Column) -> String {
        let text = self.field(column);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.len() > WORD_BYTES_MAX || !text.bytes().all(plain) {
            let what = format!("`{}` is no name; use at most 32 letters, digits, `-` or `_`", shown(text));
            self.malformed(column, what);
        }
        text.to_owned()
    }

    fn channel(&mut self) -> Option<u8> {
        let text = self.field(Column::Channel);
        if text.is_empty() {
            return None;
        }
        let channel = text.parse().ok();
        if channel.is_none() {
            let what = format!("`{}` is no channel; write a number from 0 to 255, or nothing", shown(text));
            self.malformed(Column::Channel, what);
        }
        channel
    }

    fn line_address(&mut self) -> String {
        let text = self.field(Column::LineAddress);
        if !text.is_empty() && !DeviceKey::is_address(text) {
            let what = format!("`{}` is no address; it has 1 to 32 printable characters without blanks", shown(text));
            self.malformed(Column::LineAddress, what);
        }
        text.to_owned()
    }

    fn baud(&mut self) -> Option<u32> {
        let text = self.field(Column::Baud);
        if text.is_empty() {
            return None;
        }
        let baud = text.parse().ok().filter(|baud| BAUDS.contains(baud));
        if baud.is_none() {
            let what = format!("`{}` is no line speed; write a number such as 2400, or nothing", shown(text));
            self.malformed(Column::Baud, what);
        }
        baud
    }

    /// Data bits, parity, stop bits.
    fn line_format(&mut self) -> String {
        let text = self.field(Column::LineFormat);
        if !matches!(text.as_bytes(), [] | [b'5'..=b'8', b'N' | b'E' | b'O', b'1' | b'2']) {
            let what = format!("`{}` is no line format; write 8N1, 8E1, 8O1 or the like, or nothing", shown(text));
            self.malformed(Column::LineFormat, what);
        }
        text.to_owned()
    }

    /// Fields that mean something only together.
    fn relations(&mut self, device: Option<&DeviceKey>, about: &Particulars) {
        let alone = self.field(Column::Parent).is_empty();
        if alone && !about.protocol.is_empty() {
            self.malformed(Column::Protocol, "is said without a parent; name the parent that carries it");
        }
        for column in [Column::Channel, Column::LineAddress, Column::Baud, Column::LineFormat] {
            if alone && !self.field(column).is_empty() {
                self.malformed(column, "is said without a parent; name the parent that has it");
            }
        }
        if about.adapter.is_empty() && !about.profile.is_empty() {
            self.malformed(Column::Profile, "is said without an adapter; name the adapter that it configures");
        }
        if device.is_some() && device == about.parent.as_ref() {
            let circle = Flaw::new(Column::Parent, FlawKind::Circle, "is the device itself; leave it empty");
            self.flaws.push(circle);
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Fields<'_> = [
        "usp/1",
        "meter",
        "Acme",
        "G4, big",
        "usp",
        "",
        "usp/900",
        "mbus",
        "3",
        "西城区/一号院",
        "K-7",
        "main",
        "77",
        "2400",
        "8E1",
    ];

    #[test]
    fn a_row_comes_back_as_it_was() {
        let blanks = GOOD.map(|field| format!(" {field}\t"));
        let record = Record::parse(&std::array::from_fn(|at| blanks[at].as_str())).expect("good");
        let mut written = Vec::new();
        record.write(|field| written.push(field.to_owned()));
        assert_eq!(written, GOOD);
        assert_eq!(record.about.channel, Some(3));
    }

    /// Each row: the column that is changed, to what, and which columns are then refused with which words.
    #[test]
    fn refusals_name_column_and_remedy() {
        let long = "x".repeat(limits::RECORD_TEXT_BYTES_MAX + 1);
        for (column, text, refused, says) in [
            (Column::Device, "", Column::Device, "realm/address"),
            (Column::Device, "50001234567810", Column::Device, "realm/address"),
            (Column::Device, "usp/a b", Column::Device, "1 to 32 printable"),
            (Column::Device, "usp/900", Column::Parent, "the device itself"),
            (Column::Kind, "", Column::Kind, "meter, concentrator, dtu"),
            (Column::Kind, "other", Column::Kind, "meter, concentrator, dtu"),
            (Column::Manufacturer, &long, Column::Manufacturer, "shorten it"),
            (Column::District, "a\nb", Column::District, "line break"),
            (Column::Adapter, "us p", Column::Adapter, "no name"),
            (Column::Adapter, "", Column::Adapter, ""),
            (Column::Parent, "900", Column::Parent, "realm/address"),
            (Column::Parent, "", Column::Protocol, "name the parent"),
            (Column::Channel, "256", Column::Channel, "0 to 255"),
            (Column::Channel, "one", Column::Channel, "0 to 255"),
            (Column::KeySlot, "m/n", Column::KeySlot, "no name"),
            (Column::LineAddress, "7 7", Column::LineAddress, "no address"),
            (Column::Parent, "", Column::LineAddress, "name the parent"),
            (Column::Baud, "fast", Column::Baud, "2400"),
            (Column::LineFormat, "8X1", Column::LineFormat, "8N1"),
        ] {
            let mut fields = GOOD;
            fields[column as usize] = text;
            match Record::parse(&fields) {
                Ok(_) => assert_eq!(says, "", "{column} `{text}` is taken"),
                Err(flaws) => {
                    let found = flaws.iter().any(|f| f.column == Some(refused.name()) && f.message.contains(says));
                    assert!(found && !says.is_empty(), "{column} `{text}`: {flaws:?}");
                }
            }
        }
        let mut fields = GOOD;
        (fields[Column::Adapter as usize], fields[Column::Profile as usize]) = ("", "north");
        assert_eq!(Record::parse(&fields).expect_err("refused").len(), 1);
    }
}
