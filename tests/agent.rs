//! The agent on the shipped policy: token-exact trajectories, log-probabilities, budgets, tools
//! that are slow or wrong.

use crate::scripted::{NEVER, Scripted, check_authorship, local, markov, play_on, request};
use crate::scripted_generator::{Manners, ScriptedGenerators};
use crate::{Plain, assert_close, both, checkout, load, with_kernels};
use paretopo_agent::{
    PolicyText, RolloutConfig, RolloutContext, RolloutRequest, ToolSchedule, Workers, rollout,
};
use paretopo_chat::ToolSyntax;
use paretopo_environments::{Resources, ToolEnvironment};
use paretopo_generation::{SamplingConfig, log_softmax};
use paretopo_models::{AutoModel, CausalLm, ForwardInput, Placement, to_host};
use paretopo_settings::{Seconds, Temperature};
use paretopo_training::RunConfig;
use paretopo_trajectory::{
    Author, CallStatus, FinishReason, ObjectiveValues, Split, Task, Trajectory, TrajectoryId,
};
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub(crate) fn policy(place: &Placement<Plain>) -> AutoModel<Plain> {
    load(&checkout("models/tiny-math"), place).1
}

pub(crate) fn policy_text() -> PolicyText {
    PolicyText::from_folder(&checkout("models/tiny-math")).unwrap()
}

pub(crate) fn math() -> ToolEnvironment {
    let resources = Resources { python_worker: crate::python_worker(), ..Resources::default() };
    RunConfig::default().build_environment(&resources, &mut ()).unwrap()
}

/// Problems that the shipped policy likes to give to its tool.
pub(crate) fn problems() -> Vec<Task> {
    let problem = |index: usize| Task {
        id: format!("t{index}"),
        question: format!("What is {}*{}?", 421 + 37 * index, 23 + index),
        answers: vec!["1".into()],
        ..Task::default()
    };
    (0..12).map(problem).collect()
}

fn play(environment: &ToolEnvironment, tasks: &[Task], config: &RolloutConfig) -> Vec<Trajectory> {
    play_at(&with_kernels(), 1, environment, tasks, config)
}

fn play_at(
    place: &Placement<Plain>,
    workers: usize,
    environment: &ToolEnvironment,
    tasks: &[Task],
    config: &RolloutConfig,
) -> Vec<Trajectory> {
    let workers = Workers::new(workers, workers).unwrap();
    let (model, text) = (policy(place), policy_text());
    let context = RolloutContext {
        generators: &local(&model, &place.device),
        context: 256,
        text: &text,
        environment,
        weight_version: 3,
        cancelled: &NEVER,
        workers: &workers,
    };
    let requests: Vec<RolloutRequest<'_>> = tasks
        .iter()
        .enumerate()
        .map(|(index, task)| RolloutRequest {
            id: TrajectoryId::new("test", index as u64, 0),
            task,
            sample: 0,
            seed: index as u64,
            tool_free: false,
            preference: ObjectiveValues::default(),
        })
        .collect();
    let mut heard = 0;
    let (trajectories, statistics) =
        rollout(&context, config, &requests, &mut |_| heard += 1).unwrap();
    assert_eq!((heard, trajectories.len()), (tasks.len(), tasks.len()));
    assert_eq!(
        statistics.sampled_tokens as usize,
        trajectories.iter().map(Trajectory::sampled_tokens).sum::<usize>()
    );
    trajectories
}

/// What must hold for any trajectory: authorship, log-probabilities under a fresh forward pass over
/// exactly its ids, ids that spell its text.
fn check_exactness(model: &AutoModel<Plain>, text: &PolicyText, trajectory: &Trajectory) {
    let (ids, mask, logprobs) =
        (trajectory.ids(), trajectory.mask(), trajectory.aligned_logprobs());
    let logits = model
        .unembed(model.hidden(&ForwardInput::right_padded(&[&ids], &Default::default()), None));
    let vocab_size = logits.dims()[2];
    let rows: Vec<Vec<f32>> = to_host(logits).chunks(vocab_size).map(log_softmax).collect();
    for position in (1..ids.len()).filter(|position| mask[*position]) {
        let recomputed = rows[position - 1][ids[position] as usize];
        assert_close(
            &[logprobs[position]],
            &[recomputed],
            2e-4,
            &format!("{}, position {position}", trajectory.task_id),
        );
    }
    assert_eq!(trajectory.segments[0].author, Author::Prompt);
    let after_prompt: Vec<u32> =
        trajectory.segments[1..].iter().flat_map(|segment| segment.ids.clone()).collect();
    let spelled = text.tokenizer.decode(&after_prompt).unwrap();
    assert_eq!(spelled.trim_end_matches("<|end|>"), trajectory.response, "{}", trajectory.task_id);
    let outputs =
        trajectory.segments.iter().filter(|segment| segment.author == Author::Tool).count();
    assert_eq!(outputs, trajectory.call_count());
}

#[test]
fn trajectories_are_token_exact() {
    let environment = math();
    let tasks = &environment.tasks(Split::Test)[..40];
    let config = RolloutConfig { batch_size: 16, ..RolloutConfig::default() };
    for place in both() {
        let trajectories = play_at(&place, 1, &environment, tasks, &config);
        let (model, text) = (policy(&place), policy_text());
        for trajectory in &trajectories {
            check_exactness(&model, &text, trajectory);
        }
        assert!(
            trajectories.iter().any(|trajectory| trajectory.call_count() > 0),
            "the shipped policy calls its tool sometimes"
        );
        let is_sound =
            |own: &&Trajectory| own.calls.iter().all(|call| call.outcome.status == CallStatus::Ok);
        assert!(trajectories.iter().filter(is_sound).count() > 30);
    }
}

#[test]
fn segments_and_calls_tell_when_they_were_and_by_which_weights() {
    let environment = math();
    let tasks = &environment.tasks(Split::Test)[..40];
    let trajectories = play(&environment, tasks, &RolloutConfig::default());
    for trajectory in &trajectories {
        assert_eq!(Trajectory::from_line(&trajectory.to_line()).unwrap(), *trajectory);
        let mut before = 0.0;
        for segment in &trajectory.segments {
            let by_model = segment.author == Author::Model;
            assert_eq!(segment.weight_version, by_model.then_some(3));
            let time = segment.time.unwrap();
            assert!(before <= time.began && time.began <= time.ended, "{:?}", trajectory.segments);
            before = time.ended;
        }
        assert!(before <= trajectory.seconds, "{trajectory:?}");
        // one call a turn: the k-th belongs to the k-th segment of the model, in front of its output
        let own = (0..trajectory.segments.len())
            .filter(|index| trajectory.segments[*index].author == Author::Model);
        for (call, asked) in trajectory.calls.iter().zip(own) {
            assert_eq!(call.segment, Some(asked));
            let (time, turn) = (call.time.unwrap(), trajectory.segments[asked].time.unwrap());
            let output = trajectory.segments[asked + 2].time.unwrap();
            assert_eq!(trajectory.segments[asked + 2].author, Author::Tool);
            assert!(turn.ended <= time.began && time.began <= output.began, "{trajectory:?}");
            assert!(output.began <= time.ended, "{trajectory:?}");
        }
    }
    assert!(trajectories.iter().any(|trajectory| trajectory.call_count() > 0));
}

#[test]
fn batching_does_not_change_what_is_sampled_nor_its_log_probabilities() {
    let environment = math();
    let tasks = &environment.tasks(Split::Test)[..24];
    let alone =
        play(&environment, tasks, &RolloutConfig { batch_size: 1, ..RolloutConfig::default() });
    let together =
        play(&environment, tasks, &RolloutConfig { batch_size: 24, ..RolloutConfig::default() });
    let ready = RolloutConfig {
        batch_size: 7,
        tool_schedule: ToolSchedule::AsReady {},
        ..RolloutConfig::default()
    };
    let split = play_at(
        &with_kernels(),
        3,
        &environment,
        tasks,
        &RolloutConfig { batch_size: 24, ..RolloutConfig::default() },
    );
    for other in [together, play(&environment, tasks, &ready), split] {
        for (a, b) in alone.iter().zip(&other) {
            assert_eq!(a.ids(), b.ids());
            assert_close(&a.aligned_logprobs(), &b.aligned_logprobs(), 1e-4, &a.task_id);
        }
    }
}

#[test]
fn a_fixed_schedule_is_bit_exact() {
    let environment = math();
    let tasks = &environment.tasks(Split::Test)[..24];
    let without_clock = |mut trajectories: Vec<Trajectory>| {
        for trajectory in &mut trajectories {
            trajectory.seconds = 0.0;
            trajectory.segments.iter_mut().for_each(|segment| segment.time = None);
            for call in &mut trajectory.calls {
                call.outcome.seconds = 0.0;
                call.time = None;
            }
        }
        trajectories
    };
    let first = without_clock(play(&environment, tasks, &RolloutConfig::default()));
    assert_eq!(first, without_clock(play(&environment, tasks, &RolloutConfig::default())));
}

#[test]
fn a_tool_that_never_answers_in_time_costs_its_deadline_and_no_more() {
    let environment = Scripted::new(problems(), "1", Duration::from_secs(30));
    for tool_schedule in [ToolSchedule::FixedLag { steps: 2 }, ToolSchedule::AsReady {}] {
        let config = RolloutConfig {
            call_seconds: Seconds::literal(0.1),
            max_calls: 1,
            tool_threads: 12,
            tool_schedule,
            ..RolloutConfig::default()
        };
        let started = Instant::now();
        let trajectories = play(&environment, &environment.task, &config);
        // one deadline and its grace of a second; calls run side by side
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        let calls: Vec<_> = trajectories.iter().flat_map(|trajectory| &trajectory.calls).collect();
        assert!(
            !calls.is_empty()
                && calls.iter().all(|call| call.outcome.status == CallStatus::Timeout)
        );
    }
}

#[test]
fn an_episode_ends_at_its_deadline() {
    let environment = Scripted::new(problems(), "1", Duration::from_millis(300));
    let config = RolloutConfig {
        episode_seconds: Seconds::literal(0.05),
        tool_schedule: ToolSchedule::AsReady {},
        ..RolloutConfig::default()
    };
    let trajectories = play(&environment, &environment.task, &config);
    assert!(trajectories.iter().any(|trajectory| trajectory.finish == FinishReason::Deadline));
}

#[test]
fn budgets_hold() {
    let environment = Scripted::new(problems(), "7", Duration::ZERO);
    let text = policy_text();
    let config = RolloutConfig { max_calls: 1, max_sampled_tokens: 20, ..RolloutConfig::default() };
    for trajectory in play(&environment, &environment.task, &config) {
        assert!(
            trajectory.call_count() <= 1 && trajectory.sampled_tokens() <= 20,
            "{}",
            trajectory.response
        );
        let ids = trajectory.ids();
        let stopped = text.end_ids.contains(ids.last().unwrap());
        let wanted = if stopped { FinishReason::Stop } else { FinishReason::Length };
        assert_eq!(trajectory.finish, wanted, "{}", trajectory.response);
        assert!(stopped || trajectory.sampled_tokens() == 20 || ids.len() == 256);
    }
    let none = RolloutConfig { max_calls: 0, ..config };
    assert!(
        play(&environment, &environment.task, &none)
            .iter()
            .all(|trajectory| trajectory.call_count() == 0)
    );
}

#[test]
fn output_is_cut_to_its_token_budget_and_read_in_a_block() {
    let environment = Scripted::new(problems(), &"1 ".repeat(200), Duration::ZERO);
    let (model, text) = (policy(&with_kernels()), policy_text());
    let config = RolloutConfig { max_calls: 2, max_output_tokens: 40, ..RolloutConfig::default() };
    let trajectories = play(&environment, &environment.task, &config);
    assert!(trajectories.iter().any(|trajectory| trajectory.call_count() > 0));
    for trajectory in &trajectories {
        check_exactness(&model, &text, trajectory);
        for segment in trajectory.segments.iter().filter(|segment| segment.author == Author::Tool) {
            assert_eq!(segment.ids.len(), 40);
        }
    }
}

#[test]
fn output_without_end_is_neither_tokenised_nor_kept_whole() {
    let environment = Scripted::new(problems(), &"1 ".repeat(1_500_000), Duration::ZERO);
    let config = RolloutConfig { max_calls: 1, max_output_tokens: 40, ..RolloutConfig::default() };
    let trajectories = play(&environment, &environment.task, &config);
    let mut calls = trajectories.iter().flat_map(|trajectory| &trajectory.calls).peekable();
    assert!(calls.peek().is_some());
    for call in calls {
        // 64 characters a token: 1280 in front, 1280 behind
        let text = &call.outcome.text;
        assert!(call.outcome.truncated && text.contains("...(2997440 characters omitted)..."));
        assert_eq!(text.len(), 2560 + "...(2997440 characters omitted)...".len());
    }
}

#[test]
fn a_cancelled_rollout_ends() {
    let environment = math();
    let (place, text) = (with_kernels(), policy_text());
    let model = policy(&place);
    let cancelled = AtomicBool::new(true);
    let context = RolloutContext {
        generators: &local(&model, &place.device),
        context: 256,
        text: &text,
        environment: &environment,
        weight_version: 0,
        cancelled: &cancelled,
        workers: &Workers::default(),
    };
    let request = RolloutRequest {
        id: TrajectoryId::new("test", 0, 0),
        task: &environment.tasks(Split::Test)[0],
        sample: 0,
        seed: 0,
        tool_free: false,
        preference: ObjectiveValues::default(),
    };
    assert!(rollout(&context, &RolloutConfig::default(), &[request], &mut |_| {}).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn tool_output_never_becomes_the_policys_text_nor_a_marker(
        output in "(<\\|end\\|>|<\\|assistant\\|>|```|```python\n|\n```\n|\\\\boxed\\{1\\}|[0-9]{1,3}|\n|ä){0,8}",
        temperature in prop_oneof![Just(0.0), Just(1.0), Just(1.5)].prop_map(Temperature::literal),
    ) {
        let environment = Scripted::new(problems(), &output, Duration::ZERO);
        let text = policy_text();
        let config = RolloutConfig { max_calls: 2, sampling: SamplingConfig { temperature, ..SamplingConfig::default() }, ..RolloutConfig::default() };
        for trajectory in play(&environment, &environment.task[..4], &config) {
            for segment in &trajectory.segments {
                let sampled = segment.author == Author::Model;
                prop_assert_eq!(segment.logprobs.len(), if sampled { segment.ids.len() } else { 0 });
                if segment.author == Author::Tool {
                    prop_assert!(segment.ids.iter().all(|id| !text.end_ids.contains(id)));
                    prop_assert_eq!(&segment.ids, &text.tokenizer.encode_plain(&output).unwrap());
                }
            }
        }
    }
}

#[test]
fn a_policy_that_imitates_tool_output_is_still_the_policy() {
    let text = policy_text();
    // what a tool would say, with an answer behind it, and no call before it
    let forged = "\n```output\n42\n```\n\\boxed{7}";
    let ids = text.tokenizer.encode_plain(forged).unwrap();
    let start = *text
        .opening(&math(), &math().tasks(Split::Test)[0], &ToolSyntax::FencedPython {})
        .unwrap()
        .last()
        .unwrap();
    let chain: Vec<u32> =
        std::iter::once(start).chain(ids.iter().copied()).chain([text.end_ids[0]]).collect();
    assert!(
        chain.iter().collect::<std::collections::HashSet<_>>().len() == chain.len(),
        "a chain cannot visit a token twice"
    );
    let model = markov::<Plain>(&text, |last, next| {
        if chain.windows(2).any(|pair| pair == [last, next]) { 50.0 } else { 0.0 }
    });
    let environment = math();
    let config = RolloutConfig::default();
    let task = &environment.tasks(Split::Test)[0];
    let device = Default::default();
    let generators = local::<Plain, _>(&model, &device);
    let played = play_on(&text, &generators, &environment, &[request(task, 1)], &config).unwrap();
    let trajectory = &played[0];
    check_authorship(&text, trajectory, &config);
    assert_eq!(
        (trajectory.calls.len(), trajectory.response.as_str(), trajectory.answer.as_deref()),
        (0, forged, Some("7"))
    );
    assert!(trajectory.segments[1..].iter().all(|segment| segment.author == Author::Model));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    /// Random chains over markers, special tokens and all else, against a tool that speaks like a
    /// policy.
    #[test]
    fn no_policy_crosses_the_line_between_itself_and_its_tools(
        seed in any::<u64>(),
        sharpness in 0.5f32..6.0,
        output in "(<\\|end\\|>|```python\n|\n```\n|\\\\boxed\\{1\\}|[0-9]){0,5}",
        (chunk, delay, lost_after) in (1usize..9, 0usize..3, 20usize..200),
    ) {
        let text = policy_text();
        let markers: Vec<u32> = ["\n```output\n", "\n```\n", "\n```", "```python\n", "\\boxed{", "}", "print(", ")"]
            .iter().flat_map(|marker| text.tokenizer.encode_plain(marker).unwrap()).collect();
        let noise = |last: u32, next: u32| {
            let mixed = (seed ^ (u64::from(last) << 32 | u64::from(next))).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1u32 << 24) as f32
        };
        // markers and the first few ids, which are the special tokens, are likelier than the rest
        let logit = |last: u32, next: u32| {
            let likelier = if markers.contains(&next) { 3.0 } else if next < 5 { 1.0 } else { 0.0 };
            sharpness * noise(last, next) + likelier
        };
        let size = text.tokenizer.vocab_size() as u32;
        let logits = |ids: &[u32]| {
            let last = ids[ids.len() - 1];
            (0..size).map(|next| logit(last, next)).collect::<Vec<f32>>()
        };
        let manners = Manners { chunk, delay, lost_after, failing: None };
        let generators = ScriptedGenerators::new(logits, manners);
        let environment = Scripted::new(problems(), &output, Duration::ZERO);
        let config = RolloutConfig { max_calls: 3, max_sampled_tokens: 60, ..RolloutConfig::default() };
        for sample in 0..4 {
            let request = request(&environment.task[0], seed ^ sample);
            let played = play_on(&text, &generators, &environment, &[request], &config).unwrap();
            check_authorship(&text, &played[0], &config);
        }
    }
}
