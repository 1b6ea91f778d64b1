//! A Python session in an episode: what one call leaves is there for the next call of the same
//! trajectory, and for no other.

use crate::agent::policy_text;
use crate::scripted::{check_authorship, play_on};
use crate::scripted_generator::{Manners, ScriptedGenerators};
use paretopo_agent::{PolicyText, RolloutConfig, RolloutRequest};
use paretopo_chat::ToolSyntax;
use paretopo_environments::Resources;
use paretopo_tools::{PythonConfig, PythonInterpreter, ToolEntry};
use paretopo_training::RunConfig;
use paretopo_trajectory::{ObjectiveValues, Split, TokenId, TrajectoryId};

/// Logits of a policy that writes one text after the other, each behind the output of a call.
fn in_turn(
    text: &PolicyText,
    prompt: &[TokenId],
    turns: &[&str],
) -> impl Fn(&[TokenId]) -> Vec<f32> + Sync + use<> {
    let encode = |text_of: &str| text.tokenizer.encode_plain(text_of).unwrap();
    let turns: Vec<Vec<TokenId>> = turns.iter().map(|turn| encode(turn)).collect();
    let (before, after) = (encode("\n```output\n"), encode("\n```\n"));
    let (start, end, size) = (prompt.len(), text.end_ids[0], text.tokenizer.vocab_size());
    move |ids| {
        let of = |marker: &[TokenId]| -> Vec<usize> {
            let places = ids.windows(marker.len()).enumerate();
            places.filter(|(_, window)| *window == marker).map(|(place, _)| place).collect()
        };
        let outputs = of(&before);
        let written_from = match outputs.last() {
            Some(output) => {
                let closed = of(&after).into_iter().find(|place| place > output);
                closed.unwrap() + after.len()
            }
            None => start,
        };
        let turn = &turns[outputs.len().min(turns.len() - 1)];
        let next = turn.get(ids.len() - written_from).copied().unwrap_or(end);
        let mut logits = vec![0.0; size];
        logits[next as usize] = 50.0;
        logits
    }
}

#[test]
fn a_session_keeps_its_variables_over_the_calls_of_one_episode() {
    let mut interpreters = vec![PythonInterpreter::Monty];
    if cfg!(target_os = "linux") {
        interpreters.push(PythonInterpreter::Cpython);
    }
    let text = policy_text();
    let turns =
        ["```python\nred=41\nprint(red)\n```", "```python\nprint(red+1)\n```", "\\boxed{42}"];
    for interpreter in interpreters {
        for session in [true, false] {
            let python = PythonConfig { interpreter, session, ..PythonConfig::default() };
            let tools = Some(vec![ToolEntry::new("python", python)]);
            let resources =
                Resources { python_worker: crate::python_worker(), ..Resources::default() };
            let environment = RunConfig { tools, ..RunConfig::default() }
                .build_environment(&resources, &mut ())
                .unwrap();
            let task = &environment.tasks(Split::Test)[0];
            let prompt = text.opening(&environment, task, &ToolSyntax::FencedPython {}).unwrap();
            let generators =
                ScriptedGenerators::new(in_turn(&text, &prompt, &turns), Manners::default());
            let request = |sample| RolloutRequest {
                id: TrajectoryId::new("test", 0, sample),
                task,
                sample,
                seed: sample as u64,
                tool_free: false,
                preference: ObjectiveValues::default(),
            };
            let requests = [request(0), request(1)];
            let config = RolloutConfig::default();
            let played = play_on(&text, &generators, &environment, &requests, &config).unwrap();
            for own in &played {
                check_authorship(&text, own, &config);
                let outputs: Vec<&str> =
                    own.calls.iter().map(|call| call.outcome.text.trim()).collect();
                assert_eq!(outputs.len(), 2, "{interpreter:?}: {}", own.response);
                assert_eq!(outputs[0], "41", "{}", own.response);
                if session {
                    assert_eq!(outputs[1], "42", "{interpreter:?}");
                } else {
                    assert!(outputs[1].contains("NameError"), "{interpreter:?}: {}", outputs[1]);
                }
                assert_eq!(own.answer.as_deref(), Some("42"));
            }
        }
    }
}
