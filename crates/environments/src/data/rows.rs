//! Rows of files: JSON (one list), JSON lines, or parquet, told apart by their first bytes. Text is
//! UTF-8, with a byte-order mark or without; lines of joined files may bring more of them, and a
//! table that was converted by a program that took the mark for a letter has it in the name of its
//! first column.

use super::DataError;
use paretopo_containment::contained;
use paretopo_reading::MARK;
use parquet::column::page::Page;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How long a parquet file may keep its reader busy without a row, or a row group checked.
const PATIENCE: Duration = Duration::from_secs(60);

/// A row with its line (JSON lines) or number (otherwise), counted from 1; or what is wrong with
/// that line.
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
        let rows = read_parquet(File::open(path).map_err(read)?, PATIENCE)
            .map_err(|reason| wrong(0, format!("not a readable parquet file: {reason}")))?;
        return Ok(numbered(rows));
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

fn numbered(rows: Vec<Value>) -> Vec<Row> {
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

/// Its rows. A damaged file may ask the reader for billions of steps, so it reads on a thread of
/// its own, which is left alone once nothing has come of it for `patience`.
fn read_parquet(file: File, patience: Duration) -> Result<Vec<Value>, String> {
    let (sender, progress) = sync_channel(1024);
    std::thread::spawn(move || {
        // some damaged files make the reader panic
        let failed = match contained(|| send_rows(file, &sender)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        // nobody listens only when the patience was over
        let _ = sender.send(Progress::Failed(failed));
    });
    let mut rows = Vec::new();
    loop {
        match progress.recv_timeout(patience) {
            Ok(Progress::Row(row)) => rows.push(row),
            Ok(Progress::Checked) => {}
            Ok(Progress::Failed(reason)) => return Err(reason),
            Err(RecvTimeoutError::Disconnected) => return Ok(rows),
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!(
                    "nothing could be read of it for {} s",
                    patience.as_secs_f32()
                ));
            }
        }
    }
}

/// What the reading thread says.
enum Progress {
    /// A row group's dictionaries are good.
    Checked,
    Row(Value),
    Failed(String),
}

fn send_rows(file: File, sender: &SyncSender<Progress>) -> Result<(), ParquetError> {
    let reader = SerializedFileReader::new(file)?;
    for group in 0..reader.num_row_groups() {
        check_dictionaries(reader.get_row_group(group)?.as_ref())?;
        if sender.send(Progress::Checked).is_err() {
            return Ok(());
        }
    }
    for row in reader.get_row_iter(None)? {
        if sender.send(Progress::Row(row?.to_json_value())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The reader makes room for as many values as a dictionary says it has; each takes a byte at
/// least.
fn check_dictionaries(group: &dyn RowGroupReader) -> Result<(), ParquetError> {
    for column in 0..group.num_columns() {
        let first = group.get_column_page_reader(column)?.get_next_page()?;
        if let Some(Page::DictionaryPage { buf, num_values, .. }) = first
            && num_values as usize > buf.len()
        {
            return Err(ParquetError::General(format!(
                "a dictionary of {num_values} values in {} bytes",
                buf.len()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of booleans takes no bytes for its elements: each of these 40 asks for 2^31 - 1 steps
    /// (a second) in 7 bytes. Found by fuzzing.
    #[test]
    fn a_parquet_file_of_billions_of_nothings_is_refused() {
        // a field whose number is 15 more than the last, of type list (9); 15 in the high half: the
        // size follows; booleans (1); the size as a varint
        let list = [0xF9, 0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 0x07];
        let metadata = list.repeat(40);
        let length = (metadata.len() as u32).to_le_bytes();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        std::fs::write(&path, [b"PAR1", metadata.as_slice(), &length, b"PAR1"].concat()).unwrap();
        let error =
            read_parquet(File::open(path).unwrap(), Duration::from_millis(100)).unwrap_err();
        assert_eq!(error, "nothing could be read of it for 0.1 s");
    }
}
