//! The forms in which rows of the registry come and go: CSV with a header, and NDJSON. Reading says what is wrong in
//! which line and column; it never gives up at the first flaw.

use crate::limits;
use crate::model::{Column, Fields, Flaw, FlawKind, Record};
use serde::Deserialize;
use std::io::{Chain, Read};

/// A record and the line it came from, counted from 1 with the header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub line: u64,
    pub record: Record,
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
    /// Ends in a line feed, whether or not the text does: lines are counted by them.
    reader: csv::Reader<Chain<R, &'static [u8]>>,
    /// Column of each field.
    header: Vec<Column>,
    record: csv::ByteRecord,
}

const UTF8_REMEDY: &str = "save the file as `CSV UTF-8`, or convert it: iconv -f GBK -t UTF-8 old.csv > new.csv";
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
            .from_reader(input.chain(b"\n".as_slice()));
        let mut csv = Self { reader, header: Vec::new(), record: csv::ByteRecord::new() };
        if !csv.advance()? {
            return Err(Unreadable::File(format!("is empty; the first line names the columns: {}", columns())));
        }
        csv.header = header(&csv.record)?;
        Ok(csv)
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
        Ok(Some(Record::parse(&fields).map(|record| Row { line, record }).map_err(|flaws| (line, flaws))))
    }

    /// The first line of the row. The reader stands behind its last; one that is quoted may have several.
    fn line(&self) -> u64 {
        let within = self.record.as_slice().split(|byte| *byte == b'\n').count() as u64 - 1;
        self.reader.position().line().saturating_sub(1 + within)
    }

    fn advance(&mut self) -> Result<bool, Unreadable> {
        self.reader.read_byte_record(&mut self.record).map_err(|error| Unreadable::File(error.to_string()))
    }
}

fn header(record: &csv::ByteRecord) -> Result<Vec<Column>, Unreadable> {
    let first = record.get(0).unwrap_or_default();
    if UTF16_MARKS.iter().any(|mark| first.starts_with(mark)) {
        return Err(Unreadable::File(format!("is UTF-16 text; {UTF8_REMEDY}")));
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
        let looks = if is_gbk(bytes) { "GBK, not UTF-8" } else { "not UTF-8" };
        Unreadable::Line { line, what: format!("{column}: the text is {looks}; {UTF8_REMEDY}") }
    })
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

/// A row as a line of NDJSON has it, and as the API takes one record.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JsonRow {
    device: String,
    kind: String,
    manufacturer: String,
    model: String,
    adapter: String,
    profile: String,
    parent: String,
    protocol: String,
    channel: Option<u8>,
    district: String,
    customer: String,
    key_slot: String,
    line_address: String,
    baud: Option<u32>,
    line_format: String,
}

/// Reads one line of NDJSON.
pub fn from_json(line: u64, bytes: &[u8]) -> ReadRow {
    let row: JsonRow = serde_json::from_slice(bytes)
        .map_err(|error| (line, vec![Flaw::row(FlawKind::Malformed, format!("{error}; one JSON object a line"))]))?;
    let channel = row.channel.map(|channel| channel.to_string()).unwrap_or_default();
    let baud = row.baud.map(|baud| baud.to_string()).unwrap_or_default();
    let fields: Fields<'_> = [
        &row.device,
        &row.kind,
        &row.manufacturer,
        &row.model,
        &row.adapter,
        &row.profile,
        &row.parent,
        &row.protocol,
        &channel,
        &row.district,
        &row.customer,
        &row.key_slot,
        &row.line_address,
        &baud,
        &row.line_format,
    ];
    Record::parse(&fields).map(|record| Row { line, record }).map_err(|flaws| (line, flaws))
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
}

impl Default for CsvText {
    fn default() -> Self {
        Self { writer: csv::WriterBuilder::new().from_writer(Vec::new()), bytes_most: 0 }
    }
}

impl CsvText {
    pub fn header(&mut self) {
        for column in Column::ALL {
            self.field(column.name());
        }
        self.end();
    }

    pub fn record(&mut self, record: &Record) {
        record.write(|field| self.field(field));
        self.end();
    }

    /// What was written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        let full = std::mem::take(self);
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
            (b"\xff\xfed\0e\0v\0", "UTF-16"),
            (b"", "is empty"),
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
        let mut out = CsvText::default();
        out.header();
        rows.iter().for_each(|row| out.record(&row.record));
        let most = out.bytes_most();
        let written = out.take();
        assert!(written.len() <= most);
        assert_eq!(Chunk::of_csv(&written).map(|chunk| chunk.rows), Ok(rows));
        let longest = format!("{}\nusp/1,meter,,,,,,,,\"a \"\"b\"\", c\",一号,,,,\n", columns());
        assert_eq!(String::from_utf8(written), Ok(longest));
    }
}
