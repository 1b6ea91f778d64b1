//! Rows of files: JSON (one list), JSON lines, or parquet, told apart by their first bytes.

use super::DataError;
use paretopo_containment::contained;
use parquet::column::page::Page;
use parquet::errors::ParquetError;
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
        let rows =
            read_parquet(File::open(path).map_err(read)?).map_err(|reason| wrong(0, format!("not a readable parquet file: {reason}")))?;
        return Ok(rows.into_iter().enumerate().map(|(index, row)| (index + 1, Ok(row))).collect());
    }
    if bytes.trim_ascii_start().starts_with(b"[") {
        let rows: Vec<Value> = serde_json::from_slice(&bytes).map_err(|error| wrong(error.line(), error.to_string()))?;
        return Ok(rows.into_iter().enumerate().map(|(index, row)| (index + 1, Ok(row))).collect());
    }
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    Ok(lines.map(|(index, line)| (index + 1, serde_json::from_slice(line).map_err(|error| error.to_string()))).collect())
}

/// The reader makes room for as many values as a dictionary says it has; each takes a byte at least.
fn check_dictionaries(reader: &SerializedFileReader<File>) -> Result<(), ParquetError> {
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        for column in 0..group.num_columns() {
            let first = group.get_column_page_reader(column)?.get_next_page()?;
            if let Some(Page::DictionaryPage { buf, num_values, .. }) = first
                && num_values as usize > buf.len()
            {
                return Err(ParquetError::General(format!("a dictionary of {num_values} values in {} bytes", buf.len())));
            }
        }
    }
    Ok(())
}

/// Some damaged files make the reader panic.
fn read_parquet(file: File) -> Result<Vec<Value>, String> {
    let read = || {
        let reader = SerializedFileReader::new(file)?;
        check_dictionaries(&reader)?;
        reader.get_row_iter(None)?.map(|row| Ok(row?.to_json_value())).collect::<Result<Vec<Value>, ParquetError>>()
    };
    contained(read)?.map_err(|error| error.to_string())
}
