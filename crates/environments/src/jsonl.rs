//! Tasks from JSON lines: `{"id", "question", "answer"}` (or `"answers": [...]`); other fields are ignored.

use paretopo_trajectory::Task;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What can be wrong with an environment's data or settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is missing or unreadable.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("`{path}` line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The passages to search in.
    #[error(transparent)]
    Retrieval(#[from] paretopo_retrieval::RetrievalError),
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
}

#[derive(Deserialize)]
struct Row {
    id: Option<String>,
    question: String,
    answer: Option<serde_json::Value>,
    #[serde(default)]
    answers: Vec<String>,
}

/// Reads a file of tasks; a missing id becomes `FILE:LINE`.
///
/// # Errors
/// When the file cannot be read, a line is not a task, or the file holds none; the error names the line.
pub fn read_tasks(path: &Path) -> Result<Vec<Task>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|source| DataError::Read { path: path.into(), source })?;
    let mut tasks = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |reason: String| DataError::Line { path: path.into(), line: index + 1, reason };
        let row: Row = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let mut answers = row.answers;
        match row.answer {
            Some(serde_json::Value::String(answer)) => answers.push(answer),
            Some(serde_json::Value::Number(answer)) => answers.push(answer.to_string()),
            None => {}
            Some(other) => return Err(wrong(format!("`answer` must be a string or a number, not `{other}`"))),
        }
        if answers.is_empty() {
            return Err(wrong("no `answer`".into()));
        }
        let id = row.id.unwrap_or_else(|| format!("{}:{}", path.display(), index + 1));
        if !ids.insert(id.clone()) {
            return Err(wrong(format!("the id `{id}` appears twice")));
        }
        tasks.push(Task { id, question: row.question, answers, ..Task::default() });
    }
    if tasks.is_empty() {
        return Err(DataError::Setting(format!("`{}` holds no task", path.display())));
    }
    Ok(tasks)
}
