//! The forms in which rows of the registry come and go: CSV with a header, and NDJSON. Reading says what is wrong in
//! which line and column; it never gives up at the first flaw.
//!
//! A row speaks of some columns. What it does not speak of stays as the registry has it; what it leaves empty is taken away.

use crate::limits;
use crate::model::{Column, Fields, Flaw, FlawKind, Particulars, Record};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::io::{Chain, Read};

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

/// Why a file cannot be read as rows at all; `line` 0: the file as a whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("{0}")]
    File(String),
    #[error("line {line}: {what}")]
    Line { line: u64, what: String },
}

/// A row, or the line of one with all that is wrong with it.
pub type ReadRow = Result<Row, (u64, Vec<Flaw>)>;

/// Rows of a CSV text, one at a time.
pub struct Csv<R> {
    /// Ends in `END`.
    reader: csv::Reader<Chain<R, &'static [u8]>>,
    /// Column of each field.
    header: Vec<Column>,
    record: csv::ByteRecord,
}

/// What is read behind the text, so that its end can be told: the last line is ended, and a row of a zero follows, which
/// is left alone. Where a quote is still open, its field swallows the line feed, and the zero ends that field.
const END: &[u8] = b"\n\"\0\n";
const END_ROW: &[u8] = b"\0\n";
const END_OF_OPEN_QUOTE: &[u8] = b"\n\0";
const OPEN_QUOTE: &str = "a quote is opened and never closed, so that all the rest belongs to it; close it, or write a quote within quotes twice";
const UTF16_MARKS: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

impl<R: Read> Csv<R> {
    /// Reads the header.
    pub fn open(input: R) -> Result<Self, Unreadable> {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // A carriage return before it is a blank at the end of the last field.
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(256 * 1024)
            .from_reader(input.chain(END));
        let mut csv = Self { reader, header: Vec::new(), record: csv::ByteRecord::new() };
        if !csv.advance()? {
            return Err(Unreadable::File(format!("is empty; the first line names the columns: {}", columns())));
        }
        if csv.is_open_quote() {
            return Err(Unreadable::Line { line: csv.line(), what: OPEN_QUOTE.into() });
        }
        csv.header = header(&csv.record)?;
        Ok(csv)
    }

    /// The columns that the rows speak of.
    pub fn said(&self) -> Said {
        self.header.iter().copied().collect()
    }

    /// The next row; `None`: that was all.
    pub fn read(&mut self) -> Result<Option<ReadRow>, Unreadable> {
        loop {
            if !self.advance()? {
                return Ok(None);
            }
            // A spreadsheet's empty rows are commas only.
            if self.record.iter().any(|field| !field.trim_ascii().is_empty()) {
                break;
            }
        }
        let line = self.line();
        if self.is_open_quote() {
            return Ok(Some(Err((line, vec![Flaw::row(FlawKind::Malformed, OPEN_QUOTE)]))));
        }
        if self.record.len() != self.header.len() {
            let message = format!(
                "{} fields, but the header has {}; put a field that contains a comma into \"quotes\"",
                self.record.len(),
                self.header.len()
            );
            return Ok(Some(Err((line, vec![Flaw::row(FlawKind::Malformed, message)]))));
        }
        let mut fields: Fields<'_> = [""; Column::ALL.len()];
        for (column, bytes) in self.header.iter().zip(&self.record) {
            fields[*column as usize] = text(bytes, line, column.name())?;
        }
        Ok(Some(Row::read(line, fields, self.said())))
    }

    /// The first line of the row. The reader stands behind its last; one that is quoted may have several.
    fn line(&self) -> u64 {
        let within = self.record.as_slice().split(|byte| *byte == b'\n').count() as u64 - 1;
        self.reader.position().line().saturating_sub(1 + within)
    }

    fn is_open_quote(&self) -> bool {
        self.record.iter().next_back().is_some_and(|field| field.ends_with(END_OF_OPEN_QUOTE))
    }

    /// False: that was all.
    fn advance(&mut self) -> Result<bool, Unreadable> {
        let read = self.reader.read_byte_record(&mut self.record);
        let read = read.map_err(|error| Unreadable::File(error.to_string()))?;
        Ok(read && !(self.record.len() == 1 && self.record.as_slice() == END_ROW))
    }
}

fn header(record: &csv::ByteRecord) -> Result<Vec<Column>, Unreadable> {
    let first = record.get(0).unwrap_or_default();
    if UTF16_MARKS.iter().any(|mark| first.starts_with(mark)) {
        return Err(Unreadable::File(format!("is UTF-16 text; {}", utf8_remedy("UTF-16"))));
    }
    let mut header = Vec::with_capacity(record.len());
    for bytes in record {
        let name = text(bytes, 1, "header")?.trim().to_ascii_lowercase();
        let bad = |what: String| Unreadable::Line { line: 1, what };
        let column: Column = name.parse().map_err(|_| {
            let shown: String = name.chars().take(60).collect();
            bad(format!("there is no column `{shown}`; columns, separated by commas, are: {}", columns()))
        })?;
        if header.contains(&column) {
            return Err(bad(format!("the column `{column}` stands there twice; remove one")));
        }
        header.push(column);
    }
    for needed in [Column::Device, Column::Kind] {
        if !header.contains(&needed) {
            return Err(Unreadable::Line { line: 1, what: format!("the column `{needed}` is missing; add it") });
        }
    }
    Ok(header)
}

fn text<'a>(bytes: &'a [u8], line: u64, column: &str) -> Result<&'a str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| {
        let (looks, encoding) = if is_gbk(bytes) { ("GBK, not UTF-8", "GBK") } else { ("not UTF-8", "ITS-ENCODING") };
        Unreadable::Line { line, what: format!("{column}: the text is {looks}; {}", utf8_remedy(encoding)) }
    })
}

fn utf8_remedy(encoding: &str) -> String {
    format!("save the file as `CSV UTF-8`, or convert it: iconv -f {encoding} -t UTF-8 old.csv > new.csv")
}

/// Whether all bytes beyond ASCII come in pairs, as GBK writes a character.
fn is_gbk(bytes: &[u8]) -> bool {
    let mut bytes = bytes.iter();
    while let Some(first) = bytes.next() {
        let pair = match first {
            0x81..=0xfe => bytes.next().is_some_and(|second| (0x40..=0xfe).contains(second) && *second != 0x7f),
            _ => first.is_ascii(),
        };
        if !pair {
            return false;
        }
    }
    true
}

/// The names of all columns, as a header has them.
pub fn columns() -> String {
    Column::ALL.iter().map(|column| column.name()).collect::<Vec<_>>().join(",")
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

/// A chunk of rows: all that are good, and all that is wrong with the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    pub rows: Vec<Row>,
    pub flaws: Vec<(u64, Flaw)>,
}

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

    fn take(&mut self, row: ReadRow) -> Result<(), Unreadable> {
        match row {
            Ok(row) => self.rows.push(row),
            Err((line, flaws)) => self.flaws.extend(flaws.into_iter().map(|flaw| (line, flaw))),
        }
        if self.rows.len() > limits::CHUNK_ROWS_MAX {
            return Err(Unreadable::File(format!("more than {} rows; send less at a time", limits::CHUNK_ROWS_MAX)));
        }
        Ok(())
    }
}

/// Writes rows as an export has them: a header, then one line a record, LF, quotes only where they are needed.
pub struct CsvText {
    writer: csv::Writer<Vec<u8>>,
    bytes_most: usize,
    /// The columns that are written.
    said: Said,
}

impl CsvText {
    pub fn new(said: Said) -> Self {
        Self { writer: csv::WriterBuilder::new().from_writer(Vec::new()), bytes_most: 0, said }
    }

    pub fn header(&mut self) {
        for column in Column::ALL {
            if self.said.has(*column) {
                self.field(column.name());
            }
        }
        self.end();
    }

    pub fn record(&mut self, record: &Record) {
        let mut columns = Column::ALL.iter();
        record.write(|field| {
            if columns.next().is_some_and(|column| self.said.has(*column)) {
                self.field(field);
            }
        });
        self.end();
    }

    /// What was written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        let full = std::mem::replace(self, Self::new(self.said));
        // Writing into memory cannot fail.
        full.writer.into_inner().unwrap_or_default()
    }

    /// It has no more bytes than this.
    pub fn bytes_most(&self) -> usize {
        self.bytes_most
    }

    fn field(&mut self, text: &str) {
        // A comma or line end, two quotes, and each quote within twice.
        self.bytes_most += text.len() + 3 + text.bytes().filter(|byte| *byte == b'"').count();
        let _ = self.writer.write_field(text);
    }

    fn end(&mut self) {
        let _ = self.writer.write_record(None::<&[u8]>);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each flaw as `line column: kind`.
    fn flaws(text: &[u8]) -> Vec<String> {
        let chunk = Chunk::of_csv(text).expect("readable");
        let column = |flaw: &Flaw| flaw.column.map_or("row", Column::name);
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
                assert_eq!(flaws[0].column.map(Column::name), Some(expected), "{text}: {flaws:?}");
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
        assert_eq!(flaws.iter().map(|flaw| flaw.column).collect::<Vec<_>>(), [Some(Column::Channel)]);
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
