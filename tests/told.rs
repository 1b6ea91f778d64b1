//! Episodes that must not call, and episodes that are told what to prefer.

use crate::agent::{policy, policy_text, problems};
use crate::scripted::{Scripted, local, play_on};
use crate::scripted_generator::{Manners, ScriptedGenerators};
use crate::{Plain, with_kernels};
use paretopo_agent::{PreferenceConfig, RolloutConfig, RolloutRequest, Told};
use paretopo_engine::{LocalGenerators, SamplingPlace};
use paretopo_records::read_evaluation;
use paretopo_settings::Weights;
use paretopo_trajectory::{FinishReason, ObjectiveValues, Task, Trajectory, TrajectoryId};
use std::process::Command;
use std::time::Duration;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_paretopo"))
}

fn requests<'t>(tasks: &'t [Task], tool_free: bool) -> Vec<RolloutRequest<'t>> {
    let request = |(index, task): (usize, &'t Task)| RolloutRequest {
        id: TrajectoryId::new("test", index as u64, 0),
        task,
        sample: 0,
        seed: 7 + index as u64,
        tool_free,
        preference: ObjectiveValues::default(),
    };
    tasks.iter().enumerate().map(request).collect()
}

fn calls(played: &[Trajectory]) -> usize {
    played.iter().map(Trajectory::call_count).sum()
}

#[test]
fn an_episode_without_calls_never_begins_one_wherever_tokens_are_drawn() {
    let (model, text) = (policy(&with_kernels()), policy_text());
    let environment = Scripted::new(problems(), "1", Duration::ZERO);
    let device = Default::default();
    let config = RolloutConfig { batch_size: 5, max_sampled_tokens: 70, ..Default::default() };
    let play = |place, tool_free| {
        let generators = LocalGenerators { place, ..local::<Plain, _>(&model, &device) };
        let requests = requests(&environment.task, tool_free);
        play_on(&text, &generators, &environment, &requests, &config).unwrap()
    };
    // the problems are such as the policy likes to give to its tool
    assert!(calls(&play(SamplingPlace::Host, false)) >= 6);
    let here = play(SamplingPlace::Host, true);
    let opening = config.syntax.in_turn().unwrap().open_string();
    for own in &here {
        assert!(own.tool_free && own.calls.is_empty(), "{}", own.response);
        assert!(!own.response.contains(opening), "{}", own.response);
        assert!(!matches!(own.finish, FinishReason::Failed(_)), "{:?}", own.finish);
        // what training computes again is the probability among all tokens, which is the smaller
        for segment in &own.segments {
            let pairs = segment.logprobs.iter().zip(&segment.sampling_logprobs);
            assert!(pairs.clone().all(|(all, allowed)| *all <= allowed + 1e-5));
        }
    }
    let lowest = here.iter().flat_map(|own| &own.segments).flat_map(|segment| {
        segment.logprobs.iter().zip(&segment.sampling_logprobs).map(|(all, allowed)| all - allowed)
    });
    // a call was what most of them would have begun
    assert!(lowest.fold(0.0f32, f32::min) < -0.5);
    let there = play(SamplingPlace::Device, true);
    let ids = |played: &[Trajectory]| played.iter().map(Trajectory::ids).collect::<Vec<_>>();
    assert_eq!(ids(&there), ids(&here));
}

#[test]
fn a_generator_that_cannot_forbid_gives_failed_episodes_and_no_calls() {
    let text = policy_text();
    let environment = Scripted::new(problems(), "1", Duration::ZERO);
    let script = text.tokenizer.encode_plain("```python\nprint(1)\n```").unwrap();
    let size = text.tokenizer.vocab_size();
    let logits = move |held: &[u32]| {
        let mut row = vec![0.0; size];
        let place = script.iter().position(|id| *id == held[held.len() - 1]);
        let next = place.map_or(0, |place| (place + 1) % script.len());
        row[script[next] as usize] = 30.0;
        row
    };
    let generators = ScriptedGenerators::new(logits, Manners::default());
    let requests = requests(&environment.task, true);
    let config = RolloutConfig::default();
    for own in play_on(&text, &generators, &environment, &requests, &config).unwrap() {
        assert!(own.calls.is_empty());
        let FinishReason::Failed(reason) = own.finish else { panic!("{:?}", own.finish) };
        assert_eq!(reason, "what generates began a call though that was forbidden");
    }
}

#[test]
fn what_is_preferred_stands_in_front_of_the_question_and_in_the_trajectory() {
    let (model, text) = (policy(&with_kernels()), policy_text());
    let environment = Scripted::new(problems(), "1", Duration::ZERO);
    let sentence = PreferenceConfig {
        tell: Told::Sentence,
        weights: Weights::literal([1.0, 1.0]),
        drawn: false,
    };
    let names = ["a", "b"].map(str::to_owned).into();
    let config = RolloutConfig {
        preference: Some(sentence.clone()),
        max_sampled_tokens: 20,
        ..Default::default()
    };
    let mut requests = requests(&environment.task, false);
    for request in &mut requests[1..] {
        request.preference = sentence.usual(&names);
    }
    let device = Default::default();
    let generators = local::<Plain, _>(&model, &device);
    let played = play_on(&text, &generators, &environment, &requests, &config).unwrap();
    for (own, request) in played.iter().zip(&requests) {
        assert_eq!(own.preference, request.preference);
        let told = config.preference.as_ref().unwrap().words(&own.preference);
        let wanted = text.opening_told(&environment, request.task, &told, &config.syntax).unwrap();
        assert_eq!(own.segments[0].ids, wanted);
    }
    assert!(played[0].preference.is_empty() && played[1].preference.values() == [0.5, 0.5]);
    assert!(played[1].segments[0].ids.len() > played[0].segments[0].ids.len());
    // its tokenizer has no token for a weight
    let tokens = PreferenceConfig { tell: Told::Tokens, ..sentence };
    let config = RolloutConfig { preference: Some(tokens), ..config };
    let error = play_on(&text, &generators, &environment, &requests, &config).unwrap_err();
    assert!(error.to_string().contains("no token `<w0>`"), "{error}");
}

#[test]
fn evaluations_tell_what_is_known_by_heart_and_what_preferences_bring() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evaluation");
    let output = program()
        .args(["--quiet", "evaluate", "--out"])
        .arg(&out)
        .args(["--set", "evaluation.tasks=60", "--set", "evaluation.head_skill=true"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = read_evaluation(&out).unwrap();
    let head = found.head_skill.unwrap();
    assert!((0.2..=1.0).contains(&head) && found.calls > 0.0, "{found:?}");
    assert!(found.levels.values().all(|level| level.head_skill.is_some()));

    let told = folder.path().join("told");
    let output = program()
        .args(["--quiet", "evaluate", "--out"])
        .arg(&told)
        .args(["--set", "evaluation.tasks=8", "--set", "rollout.preference={tell=\"sentence\"}"])
        .args(["--set", "evaluation.preferences=[[1.0,0.0],[0.0,1.0]]"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = read_evaluation(&told).unwrap();
    assert_eq!(found.preferences.len(), 2);
    assert_eq!(found.preferences[0].preference.values(), [1.0, 0.0]);
    assert_eq!(found.preferences[1].preference.get("r_tool"), Some(1.0));

    let alone = folder.path().join("alone");
    let output = program()
        .args(["--quiet", "evaluate", "--tool-free", "--out"])
        .arg(&alone)
        .args(["--set", "evaluation.tasks=60"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let alone = read_evaluation(&alone).unwrap();
    assert_eq!((alone.calls, alone.em), (0.0, head));
}

#[test]
fn preferences_that_do_not_fit_are_refused() {
    for (settings, said) in [
        (vec!["evaluation.preferences=[[1.0,0.0]]"], "needs `rollout.preference`"),
        (vec!["rollout.preference={weights=[1.0]}"], "1 weights for 2 objectives"),
        (
            vec!["rollout.preference={}", "evaluation.preferences=[[1.0,0.0,1.0]]"],
            "3 weights for 2 objectives",
        ),
        (vec!["rollout.tool_free=9"], "a group has 8 rollouts"),
    ] {
        let mut command = program();
        command.args(["evaluate", "--dry-run"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{error}");
    }
}
