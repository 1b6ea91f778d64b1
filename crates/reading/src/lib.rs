//! Text files as people and programs write them: UTF-8, with or without the byte-order mark that
//! some editors and spreadsheets put in front of it.
//!
//! ```
//! use paretopo_reading::{lines, to_text};
//!
//! fn main() -> std::io::Result<()> {
//!     let text = to_text(b"\xef\xbb\xbfname = 1\n\n\xef\xbb\xbfsteps = 2\n".to_vec())?;
//!     // the second file that was joined to the first brought a mark of its own
//!     assert_eq!(lines(&text).collect::<Vec<_>>(), [(1, "name = 1"), (3, "steps = 2")]);
//!
//!     let error = to_text(b"\xff\xfea\0".to_vec()).expect_err("it is in UTF-16");
//!     assert!(error.to_string().starts_with("the text is in UTF-16, not in UTF-8"));
//!     Ok(())
//! }
//! ```
//!
//! Everything that a user may have written is read through here: configurations, rows, corpora,
//! templates, the JSON of a checkpoint. Other encodings are refused in words; nothing is guessed.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// UTF-8's byte-order mark.
pub const MARK: &str = "\u{feff}";

/// A file's text, without its mark.
///
/// ```
/// use paretopo_reading::read_text;
///
/// fn main() -> std::io::Result<()> {
///     let folder = tempfile::tempdir()?;
///     let path = folder.path().join("run.toml");
///     std::fs::write(&path, b"\xef\xbb\xbfsteps = 3\n")?;
///     assert_eq!(read_text(&path)?, "steps = 3\n");
///     // in Latin-1
///     std::fs::write(&path, b"steps = 3\n# gr\xf6\xdfer\n")?;
///     let error = read_text(&path).expect_err("it is not UTF-8");
///     assert_eq!(error.to_string(), "line 2 is not UTF-8 (byte 14)");
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When the file cannot be read or is not UTF-8; the error says what it is instead.
pub fn read_text(path: &Path) -> Result<String> {
    to_text(std::fs::read(path)?)
}

/// Bytes as text, without its mark.
///
/// # Errors
/// When they are not UTF-8.
pub fn to_text(bytes: Vec<u8>) -> Result<String> {
    let marked = without_mark(&bytes)?.len() < bytes.len();
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        invalid(format!("line {line} is not UTF-8 (byte {})", valid.len()))
    })?;
    Ok(if marked { text[MARK.len()..].to_owned() } else { text })
}

/// Bytes without UTF-8's mark at their beginning.
///
/// # Errors
/// When they begin as UTF-16 or UTF-32 does: with a mark of these, or with a zero byte beside a
/// character.
pub fn without_mark(bytes: &[u8]) -> Result<&[u8]> {
    let encoding = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => "UTF-16",
        _ => return Ok(bytes.strip_prefix(MARK.as_bytes()).unwrap_or(bytes)),
    };
    Err(invalid(format!("the text is in {encoding}, not in UTF-8\nhint: save it as UTF-8")))
}

/// A line without a mark: the second of two files that were joined brings its own.
pub fn unmarked_line(line: &[u8]) -> &[u8] {
    line.strip_prefix(MARK.as_bytes()).unwrap_or(line)
}

/// The lines of a text that are not blank, counted from 1, each without a mark.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.strip_prefix(MARK).unwrap_or(line)))
        .filter(|(_, line)| !line.trim().is_empty())
}

fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> std::result::Result<String, String> {
        to_text(bytes.to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_mark_is_passed_over_once_and_only_in_front() {
        assert_eq!(text(b"\xef\xbb\xbfa\xef\xbb\xbfb").as_deref(), Ok("a\u{feff}b"));
        assert_eq!(text(b"\xef\xbb\xbf").as_deref(), Ok(""));
        assert_eq!(text(b"a").as_deref(), Ok("a"));
        assert_eq!(text(b"").as_deref(), Ok(""));
        // one byte less than a mark is no UTF-8
        assert_eq!(text(b"\xef\xbb").unwrap_err(), "line 1 is not UTF-8 (byte 0)");
    }

    #[test]
    fn other_encodings_are_refused_by_name() {
        let utf16 = |text: &str, to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(to_bytes).collect()
        };
        for bytes in [
            utf16("\u{feff}{\"a\": 1}", u16::to_le_bytes),
            utf16("\u{feff}{\"a\": 1}", u16::to_be_bytes),
            utf16("{\"a\": 1}", u16::to_le_bytes),
            utf16("{\"a\": 1}", u16::to_be_bytes),
        ] {
            let error = text(&bytes).unwrap_err();
            assert!(error.contains("in UTF-16") && error.contains("save it as UTF-8"), "{error}");
        }
        assert!(text(b"\xff\xfe\0\0a\0\0\0").unwrap_err().contains("in UTF-32"));
        // Latin-1
        assert_eq!(text(b"a\nb\xe9").unwrap_err(), "line 2 is not UTF-8 (byte 3)");
    }

    #[test]
    fn joined_files_bring_marks_of_their_own() {
        let joined = "a\n\n\u{feff}b\r\n\u{feff}\n c";
        assert_eq!(lines(joined).collect::<Vec<_>>(), [(1, "a"), (3, "b"), (5, " c")]);
        assert_eq!(unmarked_line(b"\xef\xbb\xbf{}"), b"{}");
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_text(&folder.path().join("x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
