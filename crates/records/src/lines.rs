//! The lines of a file, one at a time, however large the file is.

use std::io::{BufRead, Result};
use std::path::PathBuf;

/// Bytes of the longest line that is read. An episode of 100,000 tokens with twenty alternatives
/// each has about 50 MB; a file without line breaks shall not fill the memory.
const LONGEST: usize = 256 << 20;

/// A line that cannot be read; those behind it can.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` line {line}: {}{reason}", if *.torn { "it is cut off: " } else { "" })]
pub struct LineError {
    /// The file.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: u64,
    /// Whether it is the last line and has no line break: what a kill leaves.
    pub torn: bool,
    /// What is wrong.
    pub reason: String,
}

/// A line as it was read.
pub(crate) enum Line {
    /// Its bytes are in the buffer.
    Whole {
        /// Whether there is a line break behind it.
        ended: bool,
    },
    /// It was passed over.
    TooLong,
}

/// Reads the next line, without its line break, into `buffer`, which is emptied first; returns how
/// many bytes it took from the file, 0 at its end.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn next_line(reader: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<(u64, Line)> {
    buffer.clear();
    let (mut taken, mut too_long) = (0, false);
    loop {
        let available = reader.fill_buf()?;
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        if buffer.len() + part.len() > LONGEST {
            too_long = true;
            buffer.clear();
        }
        if !too_long {
            buffer.extend_from_slice(part);
        }
        let ended = end.is_some();
        let used = part.len() + usize::from(ended);
        let is_last = ended || available.is_empty();
        reader.consume(used);
        taken += used as u64;
        if is_last {
            let line = if too_long { Line::TooLong } else { Line::Whole { ended } };
            return Ok((taken, line));
        }
    }
}

impl Line {
    /// In words, for one that was passed over.
    pub(crate) fn too_long() -> String {
        format!("it is longer than {} MiB", LONGEST >> 20)
    }
}

/// Whether there is nothing to read in a line.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    paretopo_reading::unmarked_line(line).iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn lines_are_what_stands_between_line_breaks_however_the_reader_is_filled() {
        for capacity in [1, 2, 3, 64] {
            let mut reader = BufReader::with_capacity(capacity, &b"ab\n\ncde"[..]);
            let (mut buffer, mut found) = (Vec::new(), Vec::new());
            loop {
                let (taken, line) = next_line(&mut reader, &mut buffer).unwrap();
                if taken == 0 {
                    break;
                }
                let ended = matches!(line, Line::Whole { ended: true });
                found.push((String::from_utf8(buffer.clone()).unwrap(), taken, ended));
            }
            let line = |text: &str, taken, ended| (text.to_owned(), taken, ended);
            assert_eq!(found, [line("ab", 3, true), line("", 1, true), line("cde", 3, false)]);
        }
        assert!(is_blank(b" \r") && is_blank(b"\xef\xbb\xbf") && !is_blank(b"{}"));
    }
}
