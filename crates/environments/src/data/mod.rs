//! Tasks from files and data sets: rows, their columns, their splits.

mod columns;
mod datasets;
mod error;
mod ids;
#[cfg(feature = "parquet")]
mod parquet_rows;
mod rows;
mod splits;

pub use columns::{AnswerForm, Columns};
pub use datasets::{DatasetKind, DatasetSource, KNOWN_DATASETS, KnownDataset};
pub use error::DataError;

pub(crate) use columns::level_of;
pub(crate) use splits::Splits;

use crate::LoadObserver;
use ids::UniqueIds;
use paretopo_hub::{Kind, Repository};
use paretopo_retrieval::Passage;
use paretopo_settings::{whole, within};
use paretopo_trajectory::Task;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A question, and the passages that came with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The question, its answers, the titles of its supporting passages.
    pub task: Task,
    /// The passages of its context, if the data have them.
    pub context: Vec<Passage>,
    /// The data set it is from, if the row says so.
    pub source: Option<String>,
}

/// What a row that is not a task does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// It stops the run, before it has begun.
    #[default]
    Stop,
    /// It is left out, and said.
    Skip,
}

/// A file of tasks, split by position: first test, then validation, the rest is for training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// JSON (one list), JSON lines or parquet.
    pub path: PathBuf,
    /// Tasks for testing.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub test: usize,
    /// Tasks for validation.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub validation: usize,
    /// Where the columns have unusual names.
    #[serde(default)]
    pub columns: Columns,
    /// What a bad row does.
    #[serde(default)]
    pub bad_rows: BadRows,
}

/// Turns a row with the usual names into a question; the second argument is the id of a row without
/// one.
pub(crate) type Convert = fn(&Value, String) -> Result<Question, String>;

/// The tasks of a source by split, and the passages that came with them.
pub(crate) type Loaded = (Splits, Vec<Passage>);

/// How many bad rows are said one by one.
const BAD_ROWS_SHOWN: usize = 5;
/// How many files of a repository are named.
const NAMES_SHOWN: usize = 20;

impl FileSource {
    /// # Errors
    /// When the file cannot be read, holds too little, or has a bad row that is to stop the run.
    pub(crate) fn load(
        &self,
        convert: Convert,
        observer: &mut dyn LoadObserver,
    ) -> Result<Loaded, DataError> {
        let mut ids = UniqueIds::default();
        let questions = read(
            std::slice::from_ref(&self.path),
            &self.columns,
            self.bad_rows,
            convert,
            &mut ids,
            observer,
        )?;
        say(&ids, observer);
        let (tasks, passages) = apart(questions);
        Ok((Splits::by_position(&self.path, tasks, self.test, self.validation)?, passages))
    }
}

impl DatasetSource {
    /// # Errors
    /// When a file cannot be fetched or read, or has a bad row that is to stop the run.
    pub(crate) fn load(
        &self,
        convert: Convert,
        observer: &mut dyn LoadObserver,
    ) -> Result<Loaded, DataError> {
        let resolved = self.resolve()?;
        let repository = Repository::open(Kind::Dataset, &resolved.repository, &self.revision)?;
        let names = repository.list()?;
        // over all splits, since a run remembers tasks of all by their ids
        let mut ids = UniqueIds::default();
        let mut questions =
            |pattern: &str, observer: &mut dyn LoadObserver| {
                if pattern.is_empty() {
                    return Ok(Vec::new());
                }
                let mut paths = Vec::new();
                for name in names.iter().filter(|name| datasets::fits(pattern, name)) {
                    paths.push(repository.file(name, &mut |name, done, total| {
                        observer.progress(name, done, total)
                    })?);
                }
                if paths.is_empty() {
                    let shown = &names[..names.len().min(NAMES_SHOWN)];
                    let reason = format!(
                        "`{}` has no file of rows that fits `{pattern}`; of its {} files the \
                         first are {shown:?}",
                        resolved.repository,
                        names.len()
                    );
                    return Err(DataError::Setting(reason));
                }
                read(&paths, &resolved.columns, self.bad_rows, convert, &mut ids, observer)
            };
        let mut all = questions(&resolved.train, observer)?;
        let for_training = all.len();
        all.extend(questions(&resolved.test, observer)?);
        say(&ids, observer);
        // together, so that a passage that both splits bring is held once
        let (mut train, passages) = apart(all);
        let mut test = train.split_off(for_training);
        let pool = if train.is_empty() { &mut test } else { &mut train };
        if pool.len() < self.validation {
            return Err(DataError::Setting(format!(
                "`{}` has {} tasks, not {} for validation",
                self.name,
                pool.len(),
                self.validation
            )));
        }
        let validation = pool.split_off(pool.len() - self.validation);
        Ok((Splits { train, validation, test }, passages))
    }
}

/// A row with its line (JSON lines) or number (otherwise), counted from 1; or what is wrong with
/// that line.
pub type FileRow = (usize, Result<Value, String>);

/// All rows of a file, whatever they hold: JSON (one list), JSON lines or parquet.
///
/// # Errors
/// When the file cannot be read as a whole; a line that is no JSON is a row that says so.
pub fn file_rows(path: &Path) -> Result<Vec<FileRow>, DataError> {
    rows::read_rows(path)
}

/// Reads a file of questions with the usual column names.
///
/// # Errors
/// When the file cannot be read, or a row is not a question; the error names the row.
pub(crate) fn read_file(path: &Path, convert: Convert) -> Result<Vec<Question>, DataError> {
    let (columns, mut ids) = (Columns::default(), UniqueIds::default());
    read(&[path.to_owned()], &columns, BadRows::Stop, convert, &mut ids, &mut ())
}

fn say(ids: &UniqueIds, observer: &mut dyn LoadObserver) {
    if let Some(note) = ids.note() {
        observer.note(&note);
    }
}

/// The last `depth` parts of a path.
fn end_of(path: &Path, depth: usize) -> String {
    let parts: Vec<_> = path.iter().rev().take(depth).map(|part| part.to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

fn read(
    paths: &[PathBuf],
    columns: &Columns,
    bad_rows: BadRows,
    convert: Convert,
    ids: &mut UniqueIds,
    observer: &mut dyn LoadObserver,
) -> Result<Vec<Question>, DataError> {
    let (mut questions, mut bad) = (Vec::new(), 0usize);
    for path in paths {
        for (line, row) in rows::read_rows(path)? {
            // files of several folders may have the same name
            let depth = if paths.len() > 1 { 2 } else { 1 };
            let named = || format!("{}:{line}", end_of(path, depth));
            match row.and_then(|row| convert(&columns.canonical(row)?, named())) {
                Ok(mut question) => {
                    let file = end_of(path, 2);
                    let place = format!("{file}:{line}");
                    let set = question.source.as_deref();
                    question.task.id = ids.give(&question.task.id, set, &file, &place);
                    questions.push(question);
                }
                Err(reason) => {
                    let error = DataError::Line { path: path.clone(), line, reason };
                    if bad_rows == BadRows::Stop {
                        return Err(error);
                    }
                    bad += 1;
                    if bad <= BAD_ROWS_SHOWN {
                        observer.note(&format!("left out: {error}"));
                    }
                }
            }
        }
    }
    if bad > BAD_ROWS_SHOWN {
        observer.note(&format!("{bad} rows were left out, {} were read", questions.len()));
    }
    if questions.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(DataError::Setting(format!("`{}` holds no question", names.join("`, `"))));
    }
    Ok(questions)
}

/// The tasks, and the passages of all contexts without repetition, numbered.
fn apart(questions: Vec<Question>) -> (Vec<Task>, Vec<Passage>) {
    let (mut tasks, mut passages, mut seen) =
        (Vec::with_capacity(questions.len()), Vec::new(), HashSet::new());
    for question in questions {
        tasks.push(question.task);
        passages.extend(
            question
                .context
                .into_iter()
                .filter(|passage| seen.insert((passage.title.clone(), passage.text.clone()))),
        );
    }
    for (index, passage) in passages.iter_mut().enumerate() {
        passage.id = index.to_string();
    }
    (tasks, passages)
}
