//! Rows of files: JSON (one list), JSON lines, or parquet, told apart by their first bytes.

use super::DataError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use std::fs::File;
use std::path::Path;

/// A row with its line (JSON lines) or number (otherwise), counted from 1; or what is wrong with that line.
pub(super) type Row = (usize, Result<Value, String>);

/// All rows.
///
/// # Errors
/// When the file cannot be read as a whole; a line that is no JSON is a row that says so.
pub(super) fn read_rows(path: &Path) -> Result<Vec<Row>, DataError> {
    let read = |source| DataError::Read { path: path.into(), source };
    let wrong = |line: usize, reason: String| DataError::Line { path: path.into(), line, reason };
    let bytes = std::fs::read(path).map_err(read)?;
    if bytes.starts_with(b"PAR1") {
        let damaged = |error: parquet::errors::ParquetError| wrong(0, format!("not a readable parquet file: {error}"));
        let reader = SerializedFileReader::new(File::open(path).map_err(read)?).map_err(damaged)?;
        let rows = reader.get_row_iter(None).map_err(damaged)?.enumerate();
        return rows.map(|(index, row)| Ok((index + 1, Ok(row.map_err(damaged)?.to_json_value())))).collect();
    }
    if bytes.trim_ascii_start().starts_with(b"[") {
        let rows: Vec<Value> = serde_json::from_slice(&bytes).map_err(|error| wrong(error.line(), error.to_string()))?;
        return Ok(rows.into_iter().enumerate().map(|(index, row)| (index + 1, Ok(row))).collect());
    }
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    Ok(lines.map(|(index, line)| (index + 1, serde_json::from_slice(line).map_err(|error| error.to_string()))).collect())
}
