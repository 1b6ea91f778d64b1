//! Rows of files: JSON (one list), JSON lines, or parquet, told apart by their first bytes. Text is
//! UTF-8, with a byte-order mark or without; lines of joined files may bring more of them, and a
//! table that was converted by a program that took the mark for a letter has it in the name of its
//! first column.

use super::{DataError, FileRow};
use paretopo_reading::MARK;
use serde_json::Value;
use std::path::Path;

/// All rows.
///
/// # Errors
/// When the file cannot be read as a whole; a line that is no JSON is a row that says so.
pub(super) fn read_rows(path: &Path) -> Result<Vec<FileRow>, DataError> {
    let read = |source| DataError::Read { path: path.into(), source };
    let wrong = |line: usize, reason: String| DataError::Line { path: path.into(), line, reason };
    let bytes = std::fs::read(path).map_err(read)?;
    if bytes.starts_with(b"PAR1") {
        #[cfg(not(feature = "parquet"))]
        return Err(DataError::LeftOut { path: path.into() });
        #[cfg(feature = "parquet")]
        return super::parquet_rows::read(std::fs::File::open(path).map_err(read)?)
            .map_err(|reason| wrong(0, format!("not a readable parquet file: {reason}")))
            .map(numbered);
    }
    let text = paretopo_reading::without_mark(&bytes).map_err(read)?;
    if text.trim_ascii_start().starts_with(b"[") {
        let rows: Vec<Value> =
            serde_json::from_slice(text).map_err(|error| wrong(error.line(), error.to_string()))?;
        return Ok(numbered(rows));
    }
    let lines = text
        .split(|byte| *byte == b'\n')
        .map(paretopo_reading::unmarked_line)
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty());
    Ok(lines
        .map(|(index, line)| {
            let row = serde_json::from_slice(line).map(with_unmarked_names);
            (index + 1, row.map_err(|error| error.to_string()))
        })
        .collect())
}

fn numbered(rows: Vec<Value>) -> Vec<FileRow> {
    let rows = rows.into_iter().map(with_unmarked_names).enumerate();
    rows.map(|(index, row)| (index + 1, Ok(row))).collect()
}

fn with_unmarked_names(row: Value) -> Value {
    match row {
        Value::Object(fields) if fields.keys().any(|name| name.starts_with(MARK)) => {
            let unmarked = |name: String| match name.strip_prefix(MARK) {
                Some(name) => name.to_owned(),
                None => name,
            };
            Value::Object(fields.into_iter().map(|(name, value)| (unmarked(name), value)).collect())
        }
        other => other,
    }
}

#[cfg(all(test, not(feature = "parquet")))]
mod tests {
    use super::*;

    #[test]
    fn parquet_that_is_left_out_is_refused_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        std::fs::write(&path, b"PAR1").unwrap();
        let error = read_rows(&path).unwrap_err().to_string();
        assert!(error.contains("--features parquet"), "{error}");
    }
}
