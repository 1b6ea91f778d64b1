//! The search tool: a query in, numbered passages out, as Search-R1 (arXiv 2503.09516) shows them.

use crate::{CallContext, Tool, ToolSettings, ToolSurroundings};
use paretopo_retrieval::{
    Hit, PassageIndex, RemoteConfig, RemoteRetriever, RetrieveError, Retriever, check_reachable,
};
use paretopo_settings::{Share, whole, within};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, ToolSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Where the passages are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PassageSource {
    /// Those that come with the environment's tasks: the pages of a generated world, the contexts in
    /// a file of questions.
    Environment {},
    /// A corpus file of `{"id", "title", "text"}` lines, plain or compressed; indexed once.
    Corpus {
        /// The file.
        path: PathBuf,
    },
    /// A server of the Search-R1 protocol.
    Remote(RemoteConfig),
}

/// Searches passages, by BM25 or on a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Where the passages are.
    pub passages: PassageSource,
    /// Passages that a search shows.
    #[serde(deserialize_with = "within::<1, 1000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1000>")]
    pub topk: usize,
    /// Share of searches that miss: the best passage is left out, and the next ones are shown.
    /// Drawn for each call (`CallContext::luck`), so that searching again may help.
    pub miss_rate: Share,
}

impl Default for SearchConfig {
    fn default() -> Self {
        let miss_rate = const { Share::literal(0.0) };
        Self { passages: PassageSource::Environment {}, topk: 2, miss_rate }
    }
}

impl ToolSettings for SearchConfig {
    fn start(&self, surroundings: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
        let retriever: Arc<dyn Retriever> = match &self.passages {
            PassageSource::Environment {} if surroundings.passages.is_empty() => {
                return Err("`passages` are the environment's, but it has none\nhint: give \
                            `passages` a `corpus` or a `remote`"
                    .into());
            }
            PassageSource::Environment {} => {
                let index = PassageIndex::in_memory(surroundings.passages);
                Arc::new(index.map_err(|error| error.to_string())?)
            }
            PassageSource::Corpus { path } => {
                let observer = &mut *surroundings.observer;
                let mut report = |done, total| observer.progress("index", done, total);
                let cache = &surroundings.resources.cache;
                let index = PassageIndex::open_or_build(path, cache, &mut report)
                    .map_err(|error| error.to_string())?;
                // what cannot be read now fails in each search
                if let Ok(Some(note)) = index.note_of_ids(path) {
                    surroundings.observer.note(&note);
                }
                Arc::new(index)
            }
            PassageSource::Remote(remote) => {
                check_reachable(&remote.url).map_err(|error| error.to_string())?;
                Arc::new(RemoteRetriever::new(remote))
            }
        };
        Ok(Arc::new(SearchTool::new(retriever, self.topk).with_misses(self.miss_rate)))
    }
}

/// Searches passages.
pub struct SearchTool {
    retriever: Arc<dyn Retriever>,
    topk: usize,
    miss_rate: f64,
}

impl SearchTool {
    /// A tool that shows the best `topk` passages of a query.
    pub fn new(retriever: Arc<dyn Retriever>, topk: usize) -> Self {
        Self { retriever, topk, miss_rate: 0.0 }
    }

    /// The same tool, of whose searches a share of `rate` misses the best passage; which do is the
    /// luck of each call.
    #[must_use]
    pub fn with_misses(self, rate: Share) -> Self {
        Self { miss_rate: rate.get(), ..self }
    }

    /// The passages to show: of one more than are shown, the best is left out by a search that
    /// misses.
    fn find(&self, query: &str, context: &CallContext) -> Result<Vec<Hit>, RetrieveError> {
        let mut luck = context.luck;
        let missed = luck.chance(self.miss_rate);
        let wanted = self.topk + usize::from(missed);
        let mut hits = self.retriever.retrieve(query, wanted, context.deadline)?;
        if missed && !hits.is_empty() {
            hits.remove(0);
        }
        Ok(hits)
    }
}

impl Tool for SearchTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "search".into(),
            description: "Searches a collection of passages and returns the best matches.".into(),
            parameters: serde_json::json!({
                "type": "object",
                "properties": { "query": { "type": "string", "description": "what to look for" } },
                "required": ["query"],
            }),
        }
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        let started = Instant::now();
        let seconds = || started.elapsed().as_secs_f32();
        let Some(query) = call.arguments.get("query").and_then(|query| query.as_str()) else {
            let reason = "ToolError: `search` needs a string argument `query`";
            return ToolOutcome::new(CallStatus::Error, reason, 0.0).with_fault(Fault::Call);
        };
        if query.trim().is_empty() {
            let reason = "ToolError: the query is empty";
            return ToolOutcome::new(CallStatus::Error, reason, 0.0).with_fault(Fault::Call);
        }
        match self.find(query, context) {
            Ok(hits) if hits.is_empty() => {
                ToolOutcome::new(CallStatus::Ok, "No passage found.", seconds())
            }
            Ok(hits) => {
                let passages = hits.iter().enumerate();
                let shown = passages.map(|(index, hit)| {
                    format!("Doc {}(Title: {}) {}", index + 1, hit.passage.title, hit.passage.text)
                });
                let text = shown.collect::<Vec<_>>().join("\n");
                let sources = hits.into_iter().map(|hit| hit.passage.title).collect();
                ToolOutcome { sources, ..ToolOutcome::new(CallStatus::Ok, text, seconds()) }
            }
            Err(error @ RetrieveError::Timeout) => {
                ToolOutcome::new(CallStatus::Timeout, format!("TimeoutError: {error}"), seconds())
                    .with_fault(Fault::Tool)
            }
            Err(error) => {
                ToolOutcome::new(CallStatus::Error, format!("SearchError: {error}"), seconds())
                    .with_fault(Fault::Tool)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Luck;
    use paretopo_retrieval::{Passage, PassageIndex};
    use paretopo_trajectory::TrajectoryId;
    use std::time::Duration;

    fn index() -> Arc<PassageIndex> {
        let passage = |title: &str, text: &str| Passage {
            id: title.into(),
            title: title.into(),
            text: text.into(),
        };
        let index = PassageIndex::in_memory(&[
            passage("Kora", "Kora was born in Tarn."),
            passage("Tarn", "Tarn is a town."),
        ]);
        Arc::new(index.unwrap())
    }

    fn call_of(tool: &SearchTool, arguments: serde_json::Value, number: usize) -> ToolOutcome {
        let trajectory = TrajectoryId::new("test", 0, 0);
        let luck = Luck::of_call(7, &trajectory, number);
        let deadline = Instant::now() + Duration::from_secs(5);
        let context = CallContext { trajectory, deadline, luck };
        tool.call(&ToolCall { name: "search".into(), arguments }, &context)
    }

    fn call(arguments: serde_json::Value) -> ToolOutcome {
        call_of(&SearchTool::new(index(), 2), arguments, 0)
    }

    #[test]
    fn a_search_that_misses_shows_what_comes_behind_the_best() {
        let tool = SearchTool::new(index(), 1).with_misses(Share::literal(1.0));
        // without a miss Tarn is first and Kora second, see above
        let outcome = call_of(&tool, serde_json::json!({ "query": "tarn" }), 0);
        assert_eq!(outcome.text, "Doc 1(Title: Kora) Kora was born in Tarn.");
        assert_eq!((outcome.status, outcome.sources), (CallStatus::Ok, vec!["Kora".to_owned()]));
        let nothing_else = call_of(&tool, serde_json::json!({ "query": "born" }), 0);
        assert_eq!(nothing_else.text, "No passage found.");
    }

    #[test]
    fn searching_again_draws_anew_and_as_many_miss_as_the_rate_says() {
        let tool = SearchTool::new(index(), 1).with_misses(Share::literal(0.25));
        let misses = |number| {
            call_of(&tool, serde_json::json!({ "query": "tarn" }), number).sources == ["Kora"]
        };
        let drawn: Vec<bool> = (0..400).map(misses).collect();
        // 100 of 400, with a deviation of sqrt(400 * 0.25 * 0.75) = 8.7; four of them
        let missed = drawn.iter().filter(|missed| **missed).count();
        assert!((65..=135).contains(&missed), "{missed}");
        assert_eq!((0..400).map(misses).collect::<Vec<_>>(), drawn);
    }

    #[test]
    fn passages_are_numbered_and_their_titles_kept() {
        let outcome = call(serde_json::json!({ "query": "Kora born" }));
        assert_eq!(
            (outcome.status, outcome.text.as_str()),
            (CallStatus::Ok, "Doc 1(Title: Kora) Kora was born in Tarn.")
        );
        assert_eq!(outcome.sources, ["Kora"]);
        assert_eq!(
            call(serde_json::json!({ "query": "tarn" })).text,
            "Doc 1(Title: Tarn) Tarn is a town.\nDoc 2(Title: Kora) Kora was born in Tarn."
        );
    }

    #[test]
    fn a_retriever_that_fails_is_to_blame_itself() {
        struct Down(RetrieveError);
        impl Retriever for Down {
            fn retrieve(
                &self,
                _: &str,
                _: usize,
                _: Instant,
            ) -> Result<Vec<paretopo_retrieval::Hit>, RetrieveError> {
                Err(self.0.clone())
            }
        }
        let call =
            ToolCall { name: "search".into(), arguments: serde_json::json!({ "query": "x" }) };
        let context = CallContext::new(
            TrajectoryId::new("test", 0, 0),
            Instant::now() + Duration::from_secs(5),
        );
        for (error, status) in [
            (RetrieveError::Timeout, CallStatus::Timeout),
            (RetrieveError::Failed("down".into()), CallStatus::Error),
        ] {
            let outcome = SearchTool::new(Arc::new(Down(error)), 2).call(&call, &context);
            assert_eq!((outcome.status, outcome.fault), (status, Some(Fault::Tool)));
        }
    }

    #[test]
    fn what_cannot_be_searched_is_said() {
        assert_eq!(call(serde_json::json!({ "query": "nothing" })).text, "No passage found.");
        for arguments in [
            serde_json::json!({}),
            serde_json::json!({ "query": 3 }),
            serde_json::json!({ "query": " " }),
        ] {
            let outcome = call(arguments);
            assert_eq!(outcome.status, CallStatus::Error);
            assert!(outcome.text.starts_with("ToolError"), "{}", outcome.text);
            assert_eq!(outcome.fault, Some(Fault::Call));
        }
    }

    #[test]
    fn passages_that_are_not_there_are_named() {
        let resources = crate::Resources::default();
        let start = |config: &SearchConfig| {
            let mut surroundings =
                ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
            config.start(&mut surroundings).err().expect("an error")
        };
        let reason = start(&SearchConfig::default());
        assert!(
            reason.starts_with("`passages` are the environment's, but it has none"),
            "{reason}"
        );
        assert!(reason.contains("\nhint: "), "{reason}");
        let passages = PassageSource::Corpus { path: "/nonexistent".into() };
        let reason = start(&SearchConfig { passages, ..SearchConfig::default() });
        assert!(reason.contains("cannot access"), "{reason}");
    }
}
