//! Tables in CSV: a header that names the columns, and rows. Reading says what is wrong in which line; it never gives up at
//! the first flaw. What the columns mean is for others.

use crate::limits;
use crate::model::{Flaw, FlawKind};
use std::io::{Chain, Read};

/// What a table may have.
pub struct Form {
    pub columns: &'static [&'static str],
    /// Columns that must be there.
    pub needed: &'static [&'static str],
    /// No words about it may repeat what stands in it, for that may be a key.
    pub secret: bool,
}

/// Why a file cannot be read as rows at all; `line` 0: the file as a whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("{0}")]
    File(String),
    #[error("line {line}: {what}")]
    Line { line: u64, what: String },
}

impl Unreadable {
    pub fn too_many_rows() -> Self {
        Self::File(format!("has more than {} rows; send less at a time", limits::CHUNK_ROWS_MAX))
    }
}

/// The line of a row; or what is wrong with it, where it cannot be taken apart.
pub type Line = Result<u64, (u64, Flaw)>;

/// Rows of a CSV text, one at a time.
pub struct Table<R> {
    form: &'static Form,
    /// Ends in `END`.
    reader: csv::Reader<Chain<R, &'static [u8]>>,
    /// Place of each field's column in the form.
    header: Vec<usize>,
    record: csv::ByteRecord,
}

/// What is read behind the text, so that its end can be told: the last line is ended, and a row of a zero follows, which
/// is left alone. Where a quote is still open, its field swallows the line feed, and the zero ends that field.
const END: &[u8] = b"\n\"\0\n";
const END_ROW: &[u8] = b"\0\n";
const END_OF_OPEN_QUOTE: &[u8] = b"\n\0";
const OPEN_QUOTE: &str = "a quote is opened and never closed, so that all the rest belongs to it; close it, or write a quote within quotes twice";
const UTF16_MARKS: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

impl<R: Read> Table<R> {
    /// Reads the header.
    pub fn open(input: R, form: &'static Form) -> Result<Self, Unreadable> {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // A carriage return before it is a blank at the end of the last field.
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(256 * 1024)
            .from_reader(input.chain(END));
        let mut table = Self { form, reader, header: Vec::new(), record: csv::ByteRecord::new() };
        if !table.step()? {
            let columns = form.columns.join(",");
            return Err(Unreadable::File(format!("is empty; the first line names the columns: {columns}")));
        }
        if table.is_open_quote() {
            return Err(Unreadable::Line { line: table.line(), what: OPEN_QUOTE.into() });
        }
        table.header = form.header(&table.record)?;
        Ok(table)
    }

    /// Places of the columns in the form, in the order of the table.
    pub fn header(&self) -> &[usize] {
        &self.header
    }

    /// Goes to the next row and gives its line; `None`: that was all.
    pub fn advance(&mut self) -> Result<Option<Line>, Unreadable> {
        loop {
            if !self.step()? {
                return Ok(None);
            }
            // A spreadsheet's empty rows are commas only.
            if self.record.iter().any(|field| !field.trim_ascii().is_empty()) {
                break;
            }
        }
        let line = self.line();
        if self.is_open_quote() {
            return Ok(Some(Err((line, Flaw::row(FlawKind::Malformed, OPEN_QUOTE)))));
        }
        if self.record.len() != self.header.len() {
            let message = format!(
                "{} fields, but the header has {}; put a field that contains a comma into \"quotes\"",
                self.record.len(),
                self.header.len()
            );
            return Ok(Some(Err((line, Flaw::row(FlawKind::Malformed, message)))));
        }
        Ok(Some(Ok(line)))
    }

    /// The fields of the row, each with the place of its column in the form.
    pub fn fields(&self) -> impl Iterator<Item = Result<(usize, &str), Unreadable>> {
        let line = self.line();
        let named = self.header.iter().zip(&self.record);
        named.map(move |(at, bytes)| Ok((*at, text(bytes, line, self.form.columns[*at])?)))
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
    fn step(&mut self) -> Result<bool, Unreadable> {
        let read = self.reader.read_byte_record(&mut self.record);
        let read = read.map_err(|error| Unreadable::File(error.to_string()))?;
        Ok(read && !(self.record.len() == 1 && self.record.as_slice() == END_ROW))
    }
}

impl Form {
    fn header(&self, record: &csv::ByteRecord) -> Result<Vec<usize>, Unreadable> {
        let first = record.get(0).unwrap_or_default();
        if UTF16_MARKS.iter().any(|mark| first.starts_with(mark)) {
            return Err(Unreadable::File(format!("is UTF-16 text; {}", utf8_remedy("UTF-16"))));
        }
        let bad = |what: String| Unreadable::Line { line: 1, what };
        let mut header = Vec::with_capacity(record.len());
        for bytes in record {
            let name = text(bytes, 1, "header")?.trim().to_ascii_lowercase();
            let Some(at) = self.columns.iter().position(|column| *column == name) else {
                let what = if self.secret {
                    format!("field {} names no column", header.len() + 1)
                } else {
                    format!("there is no column `{}`", name.chars().take(60).collect::<String>())
                };
                let columns = self.columns.join(",");
                return Err(bad(format!("{what}; columns, separated by commas, are: {columns}")));
            };
            if header.contains(&at) {
                return Err(bad(format!("the column `{name}` stands there twice; remove one")));
            }
            header.push(at);
        }
        for needed in self.needed {
            if !header.iter().any(|at| self.columns[*at] == *needed) {
                return Err(bad(format!("the column `{needed}` is missing; add it")));
            }
        }
        Ok(header)
    }
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

/// Writes rows: LF, quotes only where they are needed.
pub struct Text {
    writer: csv::Writer<Vec<u8>>,
    bytes_most: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { writer: csv::WriterBuilder::new().from_writer(Vec::new()), bytes_most: 0 }
    }
}

impl Text {
    pub fn row<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) {
        fields.into_iter().for_each(|field| self.field(field));
        self.end();
    }

    pub fn field(&mut self, text: &str) {
        // A comma or line end, two quotes, and each quote within twice.
        self.bytes_most += text.len() + 3 + text.bytes().filter(|byte| *byte == b'"').count();
        let _ = self.writer.write_field(text);
    }

    pub fn end(&mut self) {
        let _ = self.writer.write_record(None::<&[u8]>);
    }

    /// It has no more bytes than this.
    pub fn bytes_most(&self) -> usize {
        self.bytes_most
    }

    pub fn into_bytes(self) -> Vec<u8> {
        // Writing into memory cannot fail.
        self.writer.into_inner().unwrap_or_default()
    }
}

/// A chunk of rows: all that are good, and all that is wrong with the others.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk<R> {
    pub rows: Vec<R>,
    pub flaws: Vec<(u64, Flaw)>,
}

impl<R> Default for Chunk<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), flaws: Vec::new() }
    }
}

impl<R> Chunk<R> {
    pub fn take(&mut self, row: Result<R, (u64, Vec<Flaw>)>) -> Result<(), Unreadable> {
        match row {
            Ok(row) => self.rows.push(row),
            Err((line, flaws)) => self.flaws.extend(flaws.into_iter().map(|flaw| (line, flaw))),
        }
        if self.rows.len() > limits::CHUNK_ROWS_MAX {
            return Err(Unreadable::too_many_rows());
        }
        Ok(())
    }
}
