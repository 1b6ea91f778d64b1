//! The turn loop on a scripted generator: it writes by the bigrams of a text, in chunks, with delays
//! and losses, against a tool that answers with another text. SCRIPT NUL OUTPUT.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_agent::{PolicyText, RolloutConfig};
use paretopo_fuzz::{checkout, pair};
use paretopo_trajectory::Task;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::time::Duration;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/scripted.rs"]
mod scripted;
#[path = "../../tests/scripted_generator.rs"]
mod scripted_generator;

use scripted::{Scripted, check_authorship, play_on, request};
use scripted_generator::{Manners, ScriptedGenerators};

static TEXT: OnceLock<PolicyText> = OnceLock::new();

fuzz_target!(|input: &str| {
    let text = TEXT.get_or_init(|| {
        PolicyText::from_folder(&checkout("models/tiny-math")).expect("the shipped policy")
    });
    let (script, output) = pair(input);
    let task = Task {
        id: "t".into(),
        question: "What is 2+2?".into(),
        answers: vec!["4".into()],
        ..Task::default()
    };
    let environment = Scripted::new(vec![task], output, Duration::ZERO);
    let task = &environment.task[0];
    let config = RolloutConfig::default();
    let opening = text.opening(&environment, task, &config.syntax).expect("an opening");
    // special tokens in a script mean themselves: the policy can sample any id
    let script: Vec<u32> = opening
        .last()
        .copied()
        .into_iter()
        .chain(text.tokenizer.encode(script).expect("ids"))
        .collect();
    let size = text.tokenizer.vocab_size();
    let mut bigrams = vec![0.0; size * size];
    script.windows(2).for_each(|pair| bigrams[pair[0] as usize * size + pair[1] as usize] = 12.0);
    let logits = |ids: &[u32]| {
        let last = ids[ids.len() - 1] as usize;
        bigrams[last * size..(last + 1) * size].to_vec()
    };
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let seed = hasher.finish();
    let config = RolloutConfig {
        max_calls: (seed % 4) as usize,
        max_sampled_tokens: 48,
        max_output_tokens: 24,
        ..config
    };
    let manners = Manners {
        chunk: 1 + (seed >> 8) as usize % 9,
        delay: (seed >> 16) as usize % 3,
        lost_after: 4 + (seed >> 24) as usize % 60,
        failing: None,
    };
    let generators = ScriptedGenerators::new(logits, manners);
    for sample in 0..4 {
        let requests = [request(task, seed ^ sample)];
        let played = play_on(text, &generators, &environment, &requests, &config)
            .expect("a generator lives long enough for a token");
        check_authorship(text, &played[0], &config);
    }
});
