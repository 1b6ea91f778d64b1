//! JSON lines in and out.

use crate::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::path::Path;

/// A file's text; `-` is standard input.
pub(super) fn read_text(path: &Path) -> Result<String, Problem> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Problem::unreadable(path, &error))?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(|error| Problem::unreadable(path, &error))
}

/// Every line as a value; an error names the line.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Problem> {
    let text = read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                Problem::mistake(format!("`{}` line {}: {error}", path.display(), index + 1))
            })
        })
        .collect()
}

/// Prints values as lines. A reader that has had enough (`| head`) is no error.
pub(super) fn print<T: Serialize>(values: impl IntoIterator<Item = T>) -> Result<(), Problem> {
    let mut out = std::io::stdout().lock();
    for value in values {
        let line = serde_json::to_string(&value).map_err(Problem::failure)?;
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            result => result.map_err(Problem::failure)?,
        }
    }
    Ok(())
}
