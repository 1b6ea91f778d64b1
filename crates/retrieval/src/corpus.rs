//! A corpus: one passage a line, as `{"id", "title", "text"}` or, as Search-R1 has it,
//! `{"id", "contents": "\"Title\"\ntext"}`. Plain, gzip or zstandard, told apart by their first
//! bytes. Text is UTF-8, with a byte-order mark or without; so are joined files.

use crate::RetrievalError;
use crate::passage::{Passage, split_contents};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

#[derive(Deserialize)]
struct Row {
    id: Id,
    title: Option<String>,
    text: Option<String>,
    contents: Option<String>,
}

/// Counts what is read through it, so that progress is known for compressed files too.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Reads a corpus passage by passage.
///
/// ```
/// use paretopo_retrieval::CorpusReader;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let folder = tempfile::tempdir()?;
///     let path = folder.path().join("corpus.jsonl");
///     // both forms of a line
///     let own = r#"{"id": "1", "title": "Neptune", "text": "A planet."}"#;
///     let search_r1 = r#"{"id": 2, "contents": "\"Mercury\"\nA planet, too."}"#;
///     std::fs::write(&path, format!("{own}\n{search_r1}\n"))?;
///     let passages = CorpusReader::open(&path)?.collect::<Result<Vec<_>, _>>()?;
///     assert_eq!(passages[0].title, "Neptune");
///     assert_eq!((passages[1].id.as_str(), passages[1].title.as_str()), ("2", "Mercury"));
///     Ok(())
/// }
/// ```
pub struct CorpusReader {
    path: PathBuf,
    lines: Box<dyn BufRead>,
    line: u64,
    buffer: Vec<u8>,
    /// Set by an error of the file, behind which there is nothing.
    broken: bool,
    read: Arc<AtomicU64>,
    size: u64,
}

impl CorpusReader {
    /// Opens a corpus.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> Result<Self, RetrievalError> {
        let access = |source| RetrievalError::Access { path: path.into(), source };
        let mut file = File::open(path).map_err(access)?;
        let size = file.metadata().map_err(access)?.len();
        let mut start = [0; 4];
        let known = file.read(&mut start).map_err(access)?;
        file.seek(SeekFrom::Start(0)).map_err(access)?;
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, read: read.clone() };
        let lines: Box<dyn BufRead> = match &start[..known] {
            [0x1f, 0x8b, ..] => {
                Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(BufReader::new(counted))))
            }
            [0x28, 0xb5, 0x2f, 0xfd] => {
                Box::new(BufReader::new(zstd::Decoder::new(counted).map_err(access)?))
            }
            _ => Box::new(BufReader::new(counted)),
        };
        Ok(Self {
            path: path.into(),
            lines,
            line: 0,
            buffer: Vec::new(),
            broken: false,
            read,
            size,
        })
    }

    /// Bytes of the file that have been read, and its size.
    pub fn progress(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.size)
    }

    /// The passage of a line.
    fn parse(&self, line: &[u8]) -> Result<Passage, RetrievalError> {
        let wrong = |reason: String| RetrievalError::Line {
            path: self.path.clone(),
            line: self.line,
            reason,
        };
        let row: Row = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        let id = match row.id {
            Id::Text(id) => id,
            Id::Number(id) => id.to_string(),
        };
        let (title, text) = match (row.title, row.text, row.contents) {
            (title, Some(text), _) => (title.unwrap_or_default(), text),
            (_, None, Some(contents)) => split_contents(&contents),
            (_, None, None) => return Err(wrong("neither `text` nor `contents`".into())),
        };
        Ok(Passage { id, title, text })
    }
}

impl CorpusReader {
    /// Behind this error there is nothing to read.
    fn broken_off(&mut self, source: std::io::Error) -> RetrievalError {
        self.broken = true;
        RetrievalError::Access { path: self.path.clone(), source }
    }
}

impl Iterator for CorpusReader {
    type Item = Result<Passage, RetrievalError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.broken {
            self.buffer.clear();
            self.line += 1;
            match self.lines.read_until(b'\n', &mut self.buffer) {
                Err(source) => return Some(Err(self.broken_off(source))),
                Ok(0) => return None,
                Ok(_) => {}
            }
            if self.line == 1
                && let Err(source) = paretopo_reading::without_mark(&self.buffer)
            {
                return Some(Err(self.broken_off(source)));
            }
            let line = paretopo_reading::unmarked_line(&self.buffer);
            if !line.trim_ascii().is_empty() {
                return Some(self.parse(line));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &str = "{\"id\":\"a\",\"title\":\"T\",\"text\":\"x\"}\n\n{\"id\":7,\"contents\":\"\\\"U v\\\"\\ny\\nz\"}\n";

    fn read(bytes: &[u8]) -> Vec<Result<Passage, String>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        CorpusReader::open(file.path())
            .unwrap()
            .map(|row| row.map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn both_forms_are_read_plain_and_compressed() {
        let passage = |id: &str, title: &str, text: &str| {
            Ok(Passage { id: id.into(), title: title.into(), text: text.into() })
        };
        let expected = [passage("a", "T", "x"), passage("7", "U v", "y\nz")];
        assert_eq!(read(TEXT.as_bytes()), expected);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(TEXT.as_bytes()).unwrap();
        assert_eq!(read(&gzip.finish().unwrap()), expected);
        assert_eq!(read(&zstd::encode_all(TEXT.as_bytes(), 1).unwrap()), expected);
    }

    #[test]
    fn byte_order_marks_are_passed_over() {
        let mark = "\u{feff}";
        let expected = read(TEXT.as_bytes());
        // in front of each of two joined files, plain and compressed, and before a blank line
        let joined = format!("{mark}{mark}\n{TEXT}{mark}{TEXT}").replacen(mark, "", 1);
        for bytes in [joined.clone().into_bytes(), zstd::encode_all(joined.as_bytes(), 1).unwrap()]
        {
            assert_eq!(read(&bytes), [expected.clone(), expected.clone()].concat());
        }
        let utf16: Vec<u8> =
            format!("{mark}{TEXT}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let rows = read(&utf16);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].as_ref().unwrap_err().contains("the text is in UTF-16"), "{rows:?}");
    }

    #[test]
    fn a_bad_line_is_named() {
        let rows = read(b"{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"b\"}\n{");
        assert!(rows[0].is_ok());
        assert!(rows[1].as_ref().unwrap_err().contains("line 2: neither `text` nor `contents`"));
        assert!(rows[2].as_ref().unwrap_err().contains("line 3"));
    }

    #[test]
    fn a_truncated_archive_is_an_error_and_not_a_short_corpus() {
        let whole = zstd::encode_all(TEXT.repeat(500).as_bytes(), 1).unwrap();
        let rows = read(&whole[..whole.len() - 5]);
        assert!(rows.last().unwrap().is_err());
    }
}
