//! Demonstrations of mixed quality for the warm start: guesses, as many searches as there are hops, or more than needed.
//!
//! Guesses are drawn at random and mostly wrong, so that nothing is learned by heart; the policy starts out inaccurate where it guesses and
//! wasteful where it searches, and both objectives can improve.

use super::world::{World, WorldQuestion};
use crate::{Demonstration, DemonstrationTurn};
use paretopo_trajectory::ToolCall;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Relative frequency of each way to answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchMixture {
    /// A guess after fewer searches than there are hops, often none.
    pub guess: f64,
    /// One search a hop.
    pub enough: f64,
    /// Further searches: the same again, or for the answer.
    pub redundant: f64,
}

impl Default for SearchMixture {
    fn default() -> Self {
        Self { guess: 0.25, enough: 0.35, redundant: 0.40 }
    }
}

/// A demonstration of one of `questions`; `search` is the tool.
pub(super) fn demonstrate(
    world: &World,
    questions: &[WorldQuestion],
    seed: u64,
    index: u64,
    mixture: &SearchMixture,
    search: &dyn Fn(&ToolCall) -> String,
) -> Demonstration {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xD3);
    rng.set_stream(index);
    let question = &questions[rng.random_range(0..questions.len())];
    let hops = question.queries.len();
    let strategy = rng.random_range(0.0..mixture.guess + mixture.enough + mixture.redundant);
    let mut queries = question.queries.clone();
    let mut answer = question.task.answers[0].clone();
    if strategy < mixture.guess {
        queries.truncate(rng.random_range(0..hops));
        answer = world.guess(question.kind, &mut rng);
    } else if strategy >= mixture.guess + mixture.enough {
        for _ in 0..rng.random_range(1..3) {
            let place = rng.random_range(0..queries.len());
            if rng.random_bool(0.5) {
                queries.insert(place, queries[place].clone());
            } else {
                queries.push(answer.clone());
            }
        }
    }
    let mut turns = Vec::new();
    for query in queries {
        let call = ToolCall { name: "search".into(), arguments: serde_json::json!({ "query": query }) };
        let output = search(&call);
        turns.extend([DemonstrationTurn::Call(call), DemonstrationTurn::Output(output)]);
    }
    turns.push(DemonstrationTurn::Answer(format!("<answer>{answer}</answer>")));
    Demonstration { question: question.task.question.clone(), turns }
}
