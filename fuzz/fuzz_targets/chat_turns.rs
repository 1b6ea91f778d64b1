//! The turn loop of chat models: a policy that writes any text, with the markers of its family, and
//! a tool that answers with another. FAMILY (a byte) SCRIPT NUL OUTPUT.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_agent::{PolicyText, RolloutConfig};
use paretopo_fuzz::{checkout, pair};
use paretopo_trajectory::Task;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/chat_families.rs"]
mod chat_families;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/scripted.rs"]
mod scripted;
#[path = "../../tests/scripted_generator.rs"]
mod scripted_generator;

use chat_families::{FAMILIES, check_turns, config, text_of};
use scripted::{Scripted, play_in, request};
use scripted_generator::{Manners, ScriptedGenerators};

static TEXTS: OnceLock<Vec<PolicyText>> = OnceLock::new();

fuzz_target!(|input: &str| {
    let texts = TEXTS.get_or_init(|| FAMILIES.iter().map(text_of).collect());
    let mut letters = input.chars();
    let chosen = letters.next().map_or(0, |letter| letter as usize % FAMILIES.len());
    let (text, family) = (&texts[chosen], &FAMILIES[chosen]);
    let (script, output) = pair(letters.as_str());
    let task = Task {
        id: "t".into(),
        question: "What is 2+2?".into(),
        answers: vec!["4".into()],
        ..Task::default()
    };
    let environment = Scripted::new(vec![task], output, Duration::ZERO);
    // special tokens in a script mean themselves: the policy can sample any id
    let mut script = text.tokenizer.encode(script).expect("ids");
    script.push(text.end_ids[0]);
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let seed = hasher.finish();
    let config = RolloutConfig {
        max_calls: (seed % 4) as usize,
        max_sampled_tokens: 200,
        max_output_tokens: 24,
        ..config(family)
    };
    let manners = Manners {
        chunk: 1 + (seed >> 8) as usize % 9,
        delay: (seed >> 16) as usize % 3,
        lost_after: 4 + (seed >> 24) as usize % 200,
        failing: None,
    };
    let size = text.tokenizer.vocab_size();
    // how many were drawn, and behind what the last
    let seen = Mutex::new((0, Vec::new()));
    let logits = |held: &[u32]| {
        let mut seen = seen.lock().expect("nobody panicked");
        let mut row = vec![0.0; size];
        row[script[seen.0.min(script.len() - 1)] as usize] = 50.0;
        *seen = (seen.0 + 1, held.to_vec());
        row
    };
    let generators = ScriptedGenerators::new(logits, manners);
    let requests = [request(&environment.task[0], seed)];
    let played = play_in(16_384, text, &generators, &environment, &requests, &config)
        .expect("a generator lives long enough for a token");
    let seen = seen.into_inner().expect("nobody panicked").1;
    check_turns(text, family, &played[0], &seen, &config);
});
