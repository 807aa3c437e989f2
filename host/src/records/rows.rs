//! The forms in which rows of the registry come and go: CSV with a header, and NDJSON. Reading says what is wrong in
//! which line and column; it never gives up at the first flaw.
//!
//! A row speaks of some columns. What it does not speak of stays as the registry has it; what it leaves empty is taken away.

use super::table::{self, Form, Table, Text, Unreadable};
use crate::model::{Column, Fields, Flaw, FlawKind, Particulars, Record};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::io::Read;

/// A record and the line it came from, counted from 1 with the header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub line: u64,
    /// Empty in what the row does not speak of, until it is completed.
    pub record: Record,
    pub said: Said,
}

/// The columns that a row speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Said(u32);

impl Said {
    pub const ALL: Self = Self((1 << Column::ALL.len()) - 1);

    pub fn has(self, column: Column) -> bool {
        self.0 & (1 << column as u32) != 0
    }

    fn add(&mut self, column: Column) {
        self.0 |= 1 << column as u32;
    }
}

impl FromIterator<Column> for Said {
    fn from_iter<T: IntoIterator<Item = Column>>(columns: T) -> Self {
        let mut said = Self::default();
        columns.into_iter().for_each(|column| said.add(column));
        said
    }
}

/// What stands for columns that a row does not speak of while it is read: the record may have them, so what needs them is
/// judged when the row is completed.
const STAND_INS: [(Column, &str); 2] = [(Column::Parent, "unsaid/parent"), (Column::Adapter, "unsaid")];

impl Row {
    fn read(line: u64, mut fields: Fields<'_>, said: Said) -> ReadRow {
        for (column, text) in STAND_INS {
            if !said.has(column) {
                fields[column as usize] = text;
            }
        }
        let mut record = Record::parse(&fields).map_err(|flaws| (line, flaws))?;
        if !said.has(Column::Parent) {
            record.about.parent = None;
        }
        if !said.has(Column::Adapter) {
            record.about.adapter.clear();
        }
        Ok(Self { line, record, said })
    }

    /// Takes what the row does not speak of from what was said before. Both together may contradict each other.
    pub fn complete(&mut self, before: Option<&Particulars>) -> Result<(), Vec<Flaw>> {
        let judged = STAND_INS.iter().all(|(column, _)| self.said.has(*column));
        if self.said == Said::ALL || (before.is_none() && judged) {
            return Ok(());
        }
        let mut texts = texts(&self.record);
        if let Some(before) = before {
            let old = Record { device: self.record.device.clone(), about: before.clone() };
            for ((column, text), old) in Column::ALL.iter().zip(&mut texts).zip(self::texts(&old)) {
                if !self.said.has(*column) && !self.takes_away(*column) {
                    *text = old;
                }
            }
        }
        self.record = Record::parse(&std::array::from_fn(|at| texts[at].as_str()))?;
        Ok(())
    }

    /// Whether it means something only together with what was said before.
    pub fn hangs(&self) -> bool {
        let about = &self.record.about;
        let behind = !about.protocol.is_empty()
            || !about.line_address.is_empty()
            || !about.line_format.is_empty()
            || about.channel.is_some()
            || about.baud.is_some();
        (behind && !self.said.has(Column::Parent)) || (!about.profile.is_empty() && !self.said.has(Column::Adapter))
    }

    /// Whether what this column means goes with what the row leaves empty.
    fn takes_away(&self, column: Column) -> bool {
        let about = &self.record.about;
        match column {
            Column::Protocol | Column::Channel | Column::LineAddress | Column::Baud | Column::LineFormat => {
                self.said.has(Column::Parent) && about.parent.is_none()
            }
            Column::Profile => self.said.has(Column::Adapter) && about.adapter.is_empty(),
            _ => false,
        }
    }
}

/// A text for each column.
fn texts(record: &Record) -> Vec<String> {
    let mut texts = Vec::with_capacity(Column::ALL.len());
    record.write(|text| texts.push(text.to_owned()));
    texts
}

/// A row, or the line of one with all that is wrong with it.
pub type ReadRow = Result<Row, (u64, Vec<Flaw>)>;

/// Records of a CSV text, one at a time.
pub struct Csv<R>(Table<R>);

const FORM: Form = Form { columns: Column::NAMES, needed: &["device", "kind"], secret: false };

impl<R: Read> Csv<R> {
    /// Reads the header.
    pub fn open(input: R) -> Result<Self, Unreadable> {
        Table::open(input, &FORM).map(Self)
    }

    /// The columns that the rows speak of.
    pub fn said(&self) -> Said {
        self.0.header().iter().map(|at| Column::ALL[*at]).collect()
    }

    /// The next row; `None`: that was all.
    pub fn read(&mut self) -> Result<Option<ReadRow>, Unreadable> {
        let line = match self.0.advance()? {
            None => return Ok(None),
            Some(Err((line, flaw))) => return Ok(Some(Err((line, vec![flaw])))),
            Some(Ok(line)) => line,
        };
        let mut fields: Fields<'_> = [""; Column::ALL.len()];
        for field in self.0.fields() {
            let (at, text) = field?;
            fields[at] = text;
        }
        Ok(Some(Row::read(line, fields, self.said())))
    }
}

/// The names of all columns, as a header has them.
pub fn columns() -> String {
    Column::NAMES.join(",")
}

/// A row as a line of NDJSON has it, and as the API takes one record: a text for each column that it names, empty for a
/// null; `None` for a column that it does not name.
struct JsonRow([Option<String>; Column::ALL.len()]);

impl<'de> Deserialize<'de> for JsonRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JsonRowVisitor)
    }
}

struct JsonRowVisitor;

impl<'de> Visitor<'de> for JsonRowVisitor {
    type Value = JsonRow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one object with the columns of a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonRow, A::Error> {
        let mut row = JsonRow(Default::default());
        while let Some(name) = map.next_key::<String>()? {
            let Ok(column) = name.parse::<Column>() else {
                let shown: String = name.chars().take(60).collect();
                return Err(A::Error::custom(format!("there is no field `{shown}`; fields are: {}", columns())));
            };
            let text = match column {
                Column::Channel | Column::Baud => map.next_value::<Option<u32>>()?.map(|number| number.to_string()),
                _ => map.next_value()?,
            };
            if row.0[column as usize].replace(text.unwrap_or_default()).is_some() {
                return Err(A::Error::custom(format!("the field `{column}` stands there twice; remove one")));
            }
        }
        Ok(row)
    }
}

/// Reads one line of NDJSON.
pub fn from_json(line: u64, bytes: &[u8]) -> ReadRow {
    let JsonRow(texts) = serde_json::from_slice(bytes)
        .map_err(|error| (line, vec![Flaw::row(FlawKind::Malformed, format!("{error}; one JSON object a line"))]))?;
    let said = Column::ALL.iter().copied().filter(|column| texts[*column as usize].is_some()).collect();
    Row::read(line, std::array::from_fn(|at| texts[at].as_deref().unwrap_or_default()), said)
}

pub type Chunk = table::Chunk<Row>;

impl Chunk {
    pub fn of_csv(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut csv = Csv::open(bytes)?;
        let mut chunk = Self::default();
        while let Some(row) = csv.read()? {
            chunk.take(row)?;
        }
        Ok(chunk)
    }

    pub fn of_json(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut chunk = Self::default();
        for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if !text.trim_ascii().is_empty() {
                chunk.take(from_json(line, text))?;
            }
        }
        Ok(chunk)
    }
}

/// Writes rows as an export has them: a header, then one line a record.
pub struct CsvText {
    text: Text,
    /// The columns that are written.
    said: Said,
}

impl CsvText {
    pub fn new(said: Said) -> Self {
        Self { text: Text::default(), said }
    }

    pub fn header(&mut self) {
        self.text.row(Column::ALL.iter().filter(|column| self.said.has(**column)).map(|column| column.name()));
    }

    pub fn record(&mut self, record: &Record) {
        let mut columns = Column::ALL.iter();
        record.write(|field| {
            if columns.next().is_some_and(|column| self.said.has(*column)) {
                self.text.field(field);
            }
        });
        self.text.end();
    }

    /// What was written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text).into_bytes()
    }

    /// It has no more bytes than this.
    pub fn bytes_most(&self) -> usize {
        self.text.bytes_most()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    /// Each flaw as `line column: kind`.
    fn flaws(text: &[u8]) -> Vec<String> {
        let chunk = Chunk::of_csv(text).expect("readable");
        let column = |flaw: &Flaw| flaw.column.unwrap_or("row");
        chunk.flaws.iter().map(|(line, flaw)| format!("{line} {}: {}", column(flaw), flaw.kind)).collect()
    }

    #[test]
    fn what_spreadsheets_write_is_read() {
        let plain = "device,kind,district\nusp/1,meter,\"West, upper\"\nusp/2,dtu,西城区\n";
        let bom = format!("\u{feff}{plain}");
        let crlf = plain.replace('\n', "\r\n");
        let order = "District , KIND,device\n\"West, upper\",meter,usp/1\n西城区,dtu,usp/2";
        let blank = "device,kind,district\nusp/1,meter,\"West, upper\"\nusp/2,dtu,西城区\n,,\n\n";
        let expected = Chunk::of_csv(plain.as_bytes()).expect("readable");
        assert_eq!(expected.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(expected.rows[0].record.about.district, "West, upper");
        for text in [&bom[..], &crlf, order, blank] {
            assert_eq!(Chunk::of_csv(text.as_bytes()).as_ref(), Ok(&expected), "{text:?}");
        }
    }

    /// Each row: a file, and its flaws by line and column.
    #[test]
    fn flaws_name_line_and_column() {
        for (text, expected) in [
            ("device,kind\nusp/1,meter\n", &[][..]),
            ("device,kind\n1,meter\nusp/2,pump\n", &["2 device: malformed", "3 kind: malformed"]),
            ("device,kind\n1,pump\n", &["2 device: malformed", "2 kind: malformed"]),
            ("device,kind\n\n\nusp/1,pump\n", &["4 kind: malformed"]),
            ("device,kind\n\r\n,\nusp/1,pump\n", &["4 kind: malformed"]),
            ("device,kind,district\nusp/1,meter,West, upper\n", &["2 row: malformed"]),
            ("device,kind,district\nusp/1,meter\n", &["2 row: malformed"]),
            ("device,kind,district\nusp/1,meter,\"a\nb\"\nusp/2,,c\n", &["2 district: malformed", "4 kind: malformed"]),
            ("device,kind,district\nusp/1,meter,\"a\nusp/2,meter,c\n", &["2 row: malformed"]),
            ("device,kind,district\n\nusp/1,meter,a\nusp/2,meter,\"", &["4 row: malformed"]),
            ("device,kind,district\nusp/2,meter,\"b\"\"\n\n", &["2 row: malformed"]),
            ("device,kind,district\nusp/2,meter,\"b\"", &[]),
            (
                "device,kind,parent,channel\nusp/1,meter,usp/1,\nusp/2,meter,,3\n",
                &["2 parent: circle", "3 channel: malformed"],
            ),
        ] {
            assert_eq!(flaws(text.as_bytes()), expected, "{text:?}");
        }
    }

    /// Each row: a file that is none, and words of the refusal.
    #[test]
    fn files_of_another_form_are_refused_with_the_remedy() {
        let gbk =
            [b"device,kind,district\nusp/1,meter,".as_slice(), &[0xce, 0xf7, 0xb3, 0xc7, 0xc7, 0xf8], b"\n"].concat();
        for (text, says) in [
            (
                &gbk[..],
                "line 2: district: the text is GBK, not UTF-8; save the file as `CSV UTF-8`, or convert it: iconv",
            ),
            (b"device,kind\nusp/\xff,meter\n", "line 2: device: the text is not UTF-8"),
            (
                b"\xff\xfed\0e\0v\0",
                "is UTF-16 text; save the file as `CSV UTF-8`, or convert it: iconv -f UTF-16 -t UTF-8",
            ),
            (b"\xfe\xff\0d\0e\0v\0\n", "iconv -f UTF-16 -t UTF-8"),
            (b"", "is empty"),
            (b"\n\n", "is empty"),
            (b"device,\"kind\nusp/1,meter\n", "line 1: a quote is opened and never closed"),
            (b"device\nusp/1\n", "line 1: the column `kind` is missing"),
            (b"device;kind\nusp/1;meter\n", "line 1: there is no column `device;kind`; columns, separated by commas"),
            (b"device,kind,kind\n", "line 1: the column `kind` stands there twice"),
        ] {
            let refusal = Chunk::of_csv(text).expect_err("refused").to_string();
            assert!(refusal.contains(says), "got {refusal:?}, wanted {says:?}");
        }
        let row = "usp/1,meter\n".repeat(limits::CHUNK_ROWS_MAX + 1);
        assert!(Chunk::of_csv(format!("device,kind\n{row}").as_bytes()).is_err());
    }

    /// Each row: what is new in a row, over what was said before, and what comes of both; empty: a flaw of that column.
    #[test]
    fn what_a_row_does_not_speak_of_stays() {
        const BEFORE: &str = "device,kind,adapter,profile,parent,protocol,channel,district,line_address\n\
            usp/1,meter,usp,north,usp/9,mbus,3,West,77\n";
        let row = |text: &str| Chunk::of_csv(text.as_bytes()).expect("readable").rows.remove(0);
        let before = row(BEFORE).record.about;
        for (header, fields, expected) in [
            ("customer", "K-1", "usp,north,usp/9,mbus,3,West,K-1,77"),
            ("customer,district", "K-1,", "usp,north,usp/9,mbus,3,,K-1,77"),
            ("channel", "4", "usp,north,usp/9,mbus,4,West,,77"),
            ("profile", "south", "usp,south,usp/9,mbus,3,West,,77"),
            ("parent", "usp/8", "usp,north,usp/8,mbus,3,West,,77"),
            // With the parent goes what is behind it, with the adapter its profile.
            ("parent", "", "usp,north,,,,West,,"),
            ("adapter", "", ",,usp/9,mbus,3,West,,77"),
            ("adapter,profile", ",south", "profile"),
            ("parent,channel", ",4", "channel"),
        ] {
            let text = format!("device,kind,{header}\nusp/1,meter,{fields}\n");
            let chunk = Chunk::of_csv(text.as_bytes()).expect("readable");
            let flaws: Vec<Flaw> = chunk.flaws.into_iter().map(|(_, flaw)| flaw).collect();
            let Some(mut row) = chunk.rows.into_iter().next() else {
                assert_eq!(flaws[0].column, Some(expected), "{text}: {flaws:?}");
                continue;
            };
            assert_eq!(row.complete(Some(&before)), Ok(()), "{text}");
            let all = texts(&row.record);
            let shown: Vec<&str> = [4, 5, 6, 7, 8, 9, 10, 12].iter().map(|at| &all[*at][..]).collect();
            assert_eq!(shown.join(","), expected, "{text}");
        }
        // Nothing was said before: then what needs a parent has none.
        let mut alone = row("device,kind,channel\nusp/1,meter,4\n");
        let flaws = alone.complete(None).expect_err("refused");
        assert_eq!(flaws.iter().map(|flaw| flaw.column).collect::<Vec<_>>(), [Some("channel")]);
        let json = Chunk::of_json(b"{\"device\":\"usp/1\",\"kind\":\"meter\",\"channel\":null,\"district\":\"\"}");
        let mut json = json.expect("readable").rows.remove(0);
        assert_eq!(json.complete(Some(&before)), Ok(()));
        let about = json.record.about;
        assert_eq!((about.channel, &about.district[..], &about.protocol[..]), (None, "", "mbus"));
    }

    #[test]
    fn json_rows_are_the_same_rows() {
        let json = "{\"device\":\"usp/1\",\"kind\":\"meter\",\"parent\":\"usp/9\",\"channel\":3}\n\n{\"device\":7}\n";
        let chunk = Chunk::of_json(json.as_bytes()).expect("readable");
        assert_eq!(chunk.rows[0].record.about.channel, Some(3));
        assert_eq!(chunk.flaws.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "device,kind,district,customer\nusp/1,meter,\"a \"\"b\"\", c\",一号\n";
        let rows = Chunk::of_csv(text.as_bytes()).expect("readable").rows;
        let longest = format!("{}\nusp/1,meter,,,,,,,,\"a \"\"b\"\", c\",一号,,,,\n", columns());
        for (said, expected) in [(rows[0].said, text), (Said::ALL, &longest)] {
            let mut out = CsvText::new(said);
            for _ in 0..2 {
                out.header();
                rows.iter().for_each(|row| out.record(&row.record));
                let most = out.bytes_most();
                let written = out.take();
                assert!(written.len() <= most);
                assert_eq!(String::from_utf8(written).as_deref(), Ok(expected));
            }
        }
    }
}
