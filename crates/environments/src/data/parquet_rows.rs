//! Rows of parquet files.

use paretopo_containment::contained;
use parquet::column::page::Page;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use serde_json::Value;
use std::fs::File;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How long a parquet file may keep its reader busy without a row, or a row group checked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its rows. A damaged file may ask the reader for billions of steps, so it reads on a thread of
/// its own, which is left alone once nothing has come of it for [`PATIENCE`].
///
/// # Errors
/// What is wrong with the file.
pub(super) fn read(file: File) -> Result<Vec<Value>, String> {
    read_within(file, PATIENCE)
}

fn read_within(file: File, patience: Duration) -> Result<Vec<Value>, String> {
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
        let error = read_within(File::open(path).unwrap(), Duration::from_millis(100)).unwrap_err();
        assert_eq!(error, "nothing could be read of it for 0.1 s");
    }
}
