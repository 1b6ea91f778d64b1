//! `search` and `serve-search`: the embedded retriever by hand, measured, and for others.

use super::{lines, resources};
use crate::output::outln;
use crate::problem::Problem;
use crate::progress::Progress;
use paretopo_environments::qa::read_questions;
use paretopo_retrieval::{PassageIndex, RetrievalError};
use paretopo_training::Observer;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

fn open(corpus: &Path, quiet: bool) -> Result<PassageIndex, Problem> {
    let mut progress = Progress::new(quiet);
    let mut report =
        |done: u64, total: u64| progress.progress("index", done as usize, total as usize);
    let opened = PassageIndex::open_or_build(corpus, &resources()?.cache, &mut report);
    let index = opened.map_err(|error| match error {
        RetrievalError::Index { .. } => Problem::failure(error),
        error => Problem::mistake(error),
    })?;
    if let Some(note) = index.note_of_ids(corpus).map_err(Problem::failure)? {
        progress.note(&note);
    }
    Ok(index)
}

pub(super) fn query(corpus: &Path, query: &str, topk: usize, quiet: bool) -> Result<(), Problem> {
    let hits = open(corpus, quiet)?.search(query, topk).map_err(Problem::failure)?;
    lines::print(hits.into_iter().map(|hit| {
        let passage = hit.passage;
        serde_json::json!({ "id": passage.id, "title": passage.title, "text": passage.text, "score": hit.score })
    }))
}

/// How many of a set's questions have all their supporting passages among the first hits, and what
/// share of the passages is there.
#[derive(Default)]
struct Recall {
    questions: f64,
    all: f64,
    share: f64,
}

impl Recall {
    fn add(&mut self, there: usize, of: usize) {
        self.questions += 1.0;
        self.all += f64::from(u8::from(there == of));
        self.share += there as f64 / of as f64;
    }
}

pub(super) fn recall(
    corpus: &Path,
    questions: &Path,
    topk: usize,
    quiet: bool,
) -> Result<(), Problem> {
    let index = open(corpus, quiet)?;
    let questions = read_questions(questions).map_err(Problem::mistake)?;
    let (mut sets, mut whole) = (BTreeMap::<String, Recall>::new(), Recall::default());
    let started = Instant::now();
    for question in questions.iter().filter(|question| !question.task.supporting.is_empty()) {
        let hits = index.search(&question.task.question, topk).map_err(Problem::failure)?;
        let found: HashSet<&str> = hits.iter().map(|hit| hit.passage.title.as_str()).collect();
        let supporting = &question.task.supporting;
        let there = supporting.iter().filter(|title| found.contains(title.as_str())).count();
        whole.add(there, supporting.len());
        if let Some(source) = &question.source {
            sets.entry(source.clone()).or_default().add(there, supporting.len());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    if whole.questions == 0.0 {
        return Err(Problem::mistake("none of the questions names its supporting passages"));
    }
    outln!(
        "all supporting passages among the first {topk}, and the mean share of them, over {} passages",
        index.len()
    );
    for (name, recall) in
        sets.iter().map(|(name, recall)| (name.as_str(), recall)).chain([("together", &whole)])
    {
        outln!(
            "{name:24} {:6} questions  {:.3}  {:.3}",
            recall.questions,
            recall.all / recall.questions,
            recall.share / recall.questions
        );
    }
    outln!("{:.0} queries a second on one thread", whole.questions / seconds);
    Ok(())
}

#[cfg(not(feature = "search-server"))]
pub(super) fn serve(
    _corpus: &Path,
    _address: &str,
    _topk: usize,
    _quiet: bool,
    _cancelled: &'static AtomicBool,
) -> Result<(), Problem> {
    Err(Problem::mistake(
        "the search server is not compiled into this binary\nhint: build it with `cargo build \
         --release --features search-server`",
    ))
}

#[cfg(feature = "search-server")]
pub(super) fn serve(
    corpus: &Path,
    address: &str,
    topk: usize,
    quiet: bool,
    cancelled: &'static AtomicBool,
) -> Result<(), Problem> {
    use paretopo_retrieval::server;

    let index = open(corpus, quiet)?;
    let passages = index.len();
    let ready = |address| outln!("serving {passages} passages at http://{address}/retrieve");
    let stop = async {
        while !cancelled.load(std::sync::atomic::Ordering::Relaxed) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    server::serve(index, address, topk, server::Limits::default(), ready, stop)
        .map_err(Problem::mistake)
}
