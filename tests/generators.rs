//! The seam between the turn loop and what generates: whatever generates, and however it behaves, an
//! episode is the same.

use crate::agent::{policy, policy_text, problems};
use crate::scripted::{Scripted, check_authorship, local, markov, play_on};
use crate::scripted_generator::{Manners, ScriptedGenerators};
use crate::{Plain, rows_of, with_kernels};
use paretopo_agent::{PolicyText, RolloutConfig, RolloutError, RolloutRequest, ToolSchedule};
use paretopo_chat::ToolSyntax;
use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
use paretopo_generation::{Recorded, SamplingConfig, log_softmax};
use paretopo_models::{CausalLm, ForwardInput};
use paretopo_settings::{RepetitionPenalty, Seconds, Temperature, TopP};
use paretopo_trajectory::{
    Author, FinishReason, ObjectiveValues, TokenId, Trajectory, TrajectoryId,
};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Logits of a policy that often writes complete calls.
fn logits(text: &PolicyText) -> impl Fn(&[TokenId]) -> Vec<f32> + Sync + use<> {
    let script = "```python\nprint(1)\n```\nso \\boxed{1}";
    let ids = text.tokenizer.encode_plain(script).unwrap();
    let size = text.tokenizer.vocab_size();
    let last_id = *ids.last().unwrap();
    let end = text.end_ids[0];
    move |held| {
        let last = held[held.len() - 1];
        let mut row = vec![0.0; size];
        let places = (0..ids.len() - 1).filter(|place| ids[*place] == last);
        places.for_each(|place| row[ids[place + 1] as usize] = 9.0);
        if !ids[..ids.len() - 1].contains(&last) {
            row[if last == last_id { end } else { ids[0] } as usize] = 9.0;
        }
        row
    }
}

fn requests(environment: &Scripted) -> Vec<RolloutRequest<'_>> {
    let request = |(index, task)| RolloutRequest {
        id: TrajectoryId::new("test", index as u64, 0),
        task,
        sample: 0,
        seed: 7 + index as u64,
        tool_free: false,
        preference: ObjectiveValues::default(),
    };
    environment.task.iter().enumerate().map(request).collect()
}

fn config() -> RolloutConfig {
    RolloutConfig { batch_size: 5, max_calls: 2, max_sampled_tokens: 70, ..Default::default() }
}

/// Ids, mask, number of calls, response and end.
type Written = (Vec<TokenId>, Vec<bool>, usize, String, FinishReason);

/// What does not depend on the clock or on rounding.
fn written(played: &[Trajectory]) -> Vec<Written> {
    let facts = |own: &Trajectory| {
        (own.ids(), own.mask(), own.call_count(), own.response.clone(), own.finish.clone())
    };
    played.iter().map(facts).collect()
}

#[test]
fn however_a_generator_behaves_an_episode_is_the_same() {
    let text = policy_text();
    let environment = Scripted::new(problems(), "1", Duration::from_millis(2));
    let requests = requests(&environment);
    let play = |manners: Manners, config: &RolloutConfig| {
        let generators = ScriptedGenerators::new(logits(&text), manners);
        let played = play_on(&text, &generators, &environment, &requests, config).unwrap();
        played.iter().for_each(|own| check_authorship(&text, own, config));
        (written(&played), generators.opened.into_inner())
    };
    let (wanted, opened) = play(Manners::default(), &config());
    assert_eq!(opened, 1);
    let calls = |facts: &[Written]| facts.iter().map(|own| own.2).sum::<usize>();
    assert!(calls(&wanted) >= 6, "the script calls its tool: {wanted:?}");
    for chunk in [2, 7, 100] {
        let manners = Manners { chunk, ..Manners::default() };
        assert_eq!(play(manners, &config()).0, wanted, "chunks of {chunk}");
    }
    let manners = Manners { delay: 3, ..Manners::default() };
    assert_eq!(play(manners, &config()).0, wanted, "delayed");
    for (chunk, lost_after) in [(1, 9), (4, 3)] {
        let manners = Manners { chunk, lost_after, ..Manners::default() };
        let (found, opened) = play(manners, &config());
        assert_eq!(found, wanted, "lost after {lost_after} steps");
        assert!(opened > 3, "{opened}");
    }
    // outcomes that come while rows wait to be admitted anew
    let as_ready = RolloutConfig { tool_schedule: ToolSchedule::AsReady {}, ..config() };
    let manners = Manners { lost_after: 5, ..Manners::default() };
    assert_eq!(play(manners, &as_ready).0, wanted);
}

#[test]
fn what_is_drawn_behind_a_call_that_is_answered_at_once_is_of_no_account() {
    let text = policy_text();
    // each further call is refused without asking the tool
    let environment = Scripted::new(problems(), "1", Duration::ZERO).allowing(0);
    let requests = requests(&environment);
    let play = |chunk| {
        let generators =
            ScriptedGenerators::new(logits(&text), Manners { chunk, ..Default::default() });
        written(&play_on(&text, &generators, &environment, &requests, &config()).unwrap())
    };
    let wanted = play(1);
    assert!(wanted.iter().any(|own| own.2 > 0 && own.3.contains("may be called 0 times")));
    for chunk in [2, 7, 100] {
        assert_eq!(play(chunk), wanted, "chunks of {chunk}");
    }
}

#[test]
fn the_models_generator_draws_what_the_scripted_one_does() {
    let text = policy_text();
    let environment = Scripted::new(problems(), "1", Duration::ZERO);
    let requests = requests(&environment);
    let logits = logits(&text);
    let model = markov::<Plain>(&text, |last, next| logits(&[last])[next as usize]);
    let device = Default::default();
    let scripted = ScriptedGenerators::new(logits, Manners::default());
    let penalised = SamplingConfig {
        repetition_penalty: RepetitionPenalty::literal(1.3),
        temperature: Temperature::literal(0.7),
        top_p: TopP::literal(0.9),
        ..SamplingConfig::default()
    };
    for sampling in [SamplingConfig::default(), penalised] {
        let config = RolloutConfig { sampling, ..config() };
        let wanted = play_on(&text, &scripted, &environment, &requests, &config).unwrap();
        let played =
            play_on(&text, &local::<Plain, _>(&model, &device), &environment, &requests, &config);
        assert_eq!(written(&played.unwrap()), written(&wanted));
    }
}

#[test]
fn a_generator_that_is_lost_at_once_again_and_again_stops_the_rollout() {
    let text = policy_text();
    let environment = Scripted::new(problems(), "1", Duration::ZERO);
    let manners = Manners { lost_after: 0, ..Manners::default() };
    let generators = ScriptedGenerators::new(logits(&text), manners);
    let requests = requests(&environment);
    let error = play_on(&text, &generators, &environment, &requests, &config()).unwrap_err();
    assert!(matches!(&error, RolloutError::Lost { times: 4, .. }), "{error}");
    assert!(error.to_string().ends_with("without a token between: the script says so"));
    assert_eq!(generators.opened.load(Ordering::Relaxed), 4);
}

#[test]
fn a_row_that_fails_is_data_and_changes_no_other() {
    let text = policy_text();
    let environment = Scripted::new(problems(), "1", Duration::ZERO);
    let requests = requests(&environment);
    let prompt = text
        .opening(&environment, &environment.task[3], &ToolSyntax::FencedPython {})
        .unwrap()
        .len();
    let play = |failing| {
        let manners = Manners { failing, ..Manners::default() };
        let generators = ScriptedGenerators::new(logits(&text), manners);
        play_on(&text, &generators, &environment, &requests, &config()).unwrap()
    };
    let (wanted, found) = (play(None), play(Some((3, prompt + 4))));
    let (mut wanted, mut facts) = (written(&wanted), written(&found));
    assert_eq!(found[3].finish, FinishReason::Failed("this row cannot go on".into()));
    assert_eq!(found[3].sampled_tokens(), 4);
    wanted.remove(3);
    facts.remove(3);
    assert_eq!(facts, wanted);
}

#[test]
fn rows_wait_for_memory_and_give_it_up_and_draw_the_same() {
    let (model, text) = (policy(&with_kernels()), policy_text());
    let environment = Scripted::new(problems(), &"1 ".repeat(20), Duration::ZERO);
    let requests = requests(&environment);
    let device = Default::default();
    let play = |state_size: StateSize, cache_mib: u64| {
        let generators = LocalGenerators::<Plain, _> {
            model: &model,
            device: &device,
            place: SamplingPlace::Host,
            state_size,
        };
        let config = RolloutConfig {
            cache_mib,
            batch_size: 12,
            episode_seconds: Seconds::literal(60.0),
            ..config()
        };
        let context = paretopo_agent::RolloutContext {
            generators: &generators,
            context: 256,
            text: &text,
            environment: &environment,
            weight_version: 0,
            cancelled: &crate::scripted::NEVER,
            workers: &Default::default(),
        };
        paretopo_agent::rollout(&context, &config, &requests, &mut |_| {})
    };
    // 4 KiB a token: 1 MiB holds 256 tokens, a few episodes of up to some 150
    let size = StateSize { per_token: 4096, per_row: 0 };
    let (wanted, free) = play(size, 0).unwrap();
    assert!(free.generation.most_memory > 1 << 20 && free.generation.evicted_rows == 0);
    let (found, bounded) = play(size, 1).unwrap();
    assert_eq!(written(&found), written(&wanted));
    assert!(bounded.generation.most_memory <= 1 << 20, "{bounded:?}");
    assert!(bounded.generation.evicted_rows > 0, "{bounded:?}");
    assert!(bounded.generation.tokens_read > free.generation.tokens_read);
    // not even one fits
    let error = play(StateSize { per_token: 1 << 16, per_row: 0 }, 1).unwrap_err().to_string();
    assert!(error.contains("all rows together may take 1048576"), "{error}");
}

#[test]
fn drawing_on_the_device_plays_the_same_episodes() {
    let (model, text) = (policy(&with_kernels()), policy_text());
    let environment = Scripted::new(problems(), "1", Duration::ZERO);
    let requests = requests(&environment);
    let device = Default::default();
    let play = |place, sampling| {
        let generators = LocalGenerators { place, ..local::<Plain, _>(&model, &device) };
        let config = RolloutConfig { sampling, ..config() };
        written(&play_on(&text, &generators, &environment, &requests, &config).unwrap())
    };
    let top_p = SamplingConfig { top_p: TopP::literal(0.9), top_k: 20, ..Default::default() };
    for sampling in [SamplingConfig::default(), top_p] {
        assert_eq!(play(SamplingPlace::Device, sampling), play(SamplingPlace::Host, sampling));
    }
}

#[test]
fn entropies_and_alternatives_are_recorded_on_request() {
    let (model, text) = (policy(&with_kernels()), policy_text());
    let environment = Scripted::new(problems(), "1", Duration::ZERO);
    let requests = &requests(&environment)[..2];
    let device = Default::default();
    let recorded = Recorded { entropy: true, alternatives: 3, experts: false };
    let config = RolloutConfig { recorded, ..config() };
    let generators = local::<Plain, _>(&model, &device);
    for own in play_on(&text, &generators, &environment, requests, &config).unwrap() {
        let ids = own.ids();
        let input = ForwardInput::right_padded(&[&ids], &device);
        let logits = rows_of(model.unembed(model.hidden(&input, None)).squeeze_dim(0));
        let mut place = 0;
        for segment in &own.segments {
            let is_model = segment.author == Author::Model;
            let count = if is_model { segment.ids.len() } else { 0 };
            assert_eq!((segment.entropies.len(), segment.alternatives.len()), (count, count));
            for index in 0..count {
                let logprobs = log_softmax(&logits[place + index - 1]);
                let entropy = -logprobs.iter().map(|p| p.exp() * p).sum::<f32>();
                assert!((segment.entropies[index] - entropy).abs() < 1e-3);
                let best = segment.alternatives[index][0];
                assert!((logprobs[best.id as usize] - best.logprob).abs() < 1e-3);
                assert!(logprobs.iter().all(|logprob| *logprob <= best.logprob + 1e-3));
                assert_eq!(segment.alternatives[index].len(), 3);
            }
            place += segment.ids.len();
        }
    }
}
