//! Which tasks fit the policy: their prompts are short enough and leave room to answer in its
//! context. Found out before anything is played, so that no run meets a prompt that is too long.

use crate::{Observer, RunConfig, Surroundings, TrainingError};
use paretopo_agent::{LongPrompts, PolicyText, RolloutConfig, open_tasks, require_question};
use paretopo_chat::ChatError;
use paretopo_environments::{Demonstration, Environment, Part, Partner, ToolEnvironment};
use paretopo_models::{ModelConfig, ModelFamily, read_config};
use paretopo_trajectory::{Message, Split, Task, Trajectory};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Prompts that are opened between two looks at whether the run is to stop.
const BLOCK: usize = 1024;
/// How many long prompts are named.
const SHOWN: usize = 5;

/// The policy's side of the question.
pub(crate) struct Reader<'a> {
    pub(crate) text: &'a PolicyText,
    /// Longest sequence in tokens that the model was made for.
    pub(crate) context: usize,
    pub(crate) cancelled: &'a AtomicBool,
}

/// An environment without the tasks that do not fit, and with others cut.
struct Fitting {
    inner: Box<dyn Environment>,
    /// The tasks of the splits in which some did not fit.
    remaining: HashMap<Split, Vec<Task>>,
}

impl Environment for Fitting {
    fn tasks(&self, split: Split) -> &[Task] {
        self.remaining.get(&split).map_or_else(|| self.inner.tasks(split), Vec::as_slice)
    }

    fn opening(&self, task: &Task) -> Vec<Message> {
        self.inner.opening(task)
    }

    fn extract_answer(&self, response: &str) -> Option<String> {
        self.inner.extract_answer(response)
    }

    fn answer_to(&self, task: &Task, response: &str) -> Option<String> {
        self.inner.answer_to(task, response)
    }

    fn parts(&self) -> &[Part] {
        self.inner.parts()
    }

    fn succeeded(&self, task: &Task, trajectory: &Trajectory) -> bool {
        self.inner.succeeded(task, trajectory)
    }

    fn task_reward(&self, task: &Task, trajectory: &Trajectory) -> f64 {
        self.inner.task_reward(task, trajectory)
    }

    fn metrics(&self, task: &Task, trajectory: &Trajectory) -> Vec<(&'static str, f64)> {
        self.inner.metrics(task, trajectory)
    }

    fn demonstration(&self, index: u64) -> Option<Demonstration> {
        self.inner.demonstration(index)
    }

    fn partner(&self) -> Option<Arc<dyn Partner>> {
        self.inner.partner()
    }

    fn most_episodes(&self) -> usize {
        self.inner.most_episodes()
    }

    fn reward_names(&self) -> Vec<String> {
        self.inner.reward_names()
    }

    fn reward(&self, name: &str, task: &Task, trajectory: &Trajectory) -> Option<f64> {
        self.inner.reward(name, task, trajectory)
    }
}

/// What of a split was measured.
#[derive(Default)]
struct Measured {
    /// The places of the tasks that fit, and what became of those that were cut.
    fitting: Vec<(usize, Option<Task>)>,
    /// Ids and tokens of those that do not fit as they are.
    long: Vec<(String, usize)>,
}

/// The splits that a training recipe plays, each with the number of its tasks; 0 for all.
pub(crate) fn played_splits(config: &RunConfig, trains: bool) -> Vec<(Split, usize)> {
    let evaluation = &config.evaluation;
    let mut splits = vec![(evaluation.split, evaluation.tasks)];
    if trains {
        splits.push((Split::Train, 0));
        if config.train.validate_every > 0 {
            splits.push((Split::Validation, evaluation.tasks));
        }
    }
    splits
}

/// The environment without the tasks, among those that are played, whose prompts are too long, or
/// with such tasks cut.
/// Every prompt is opened, so a template that renders nothing is found, too; and so is one that leaves
/// the question out.
///
/// # Errors
/// When a prompt cannot be opened or has no question in it; when one is too long and that is to stop the run, or none is
/// left: says how many, the longest, and the first ones' ids. When the run is interrupted.
pub(crate) fn fitting(
    reader: &Reader<'_>,
    rollout: &RolloutConfig,
    environment: ToolEnvironment,
    splits: &[(Split, usize)],
    observer: &mut dyn Observer,
) -> Result<ToolEnvironment, TrainingError> {
    if let Some(note) = uncalled(rollout, &environment) {
        observer.note(&note);
    }
    let mut remaining = HashMap::new();
    let mut problems = Vec::new();
    for (split, wanted) in widest(splits) {
        let measured = measure(reader, rollout, &environment, (split, wanted), observer)?;
        require_question(reader.text, &environment, rollout, environment.tasks(split))?;
        if measured.long.is_empty() {
            continue;
        }
        let name = format!("{split:?}").to_lowercase();
        let said = describe(&measured, &name, &too_long(rollout, reader.context));
        if rollout.long_prompts == LongPrompts::Stop {
            problems.push(said);
        } else if measured.fitting.is_empty() {
            problems.push(format!("{said}; no {name} task is left"));
        } else {
            let cut = measured.fitting.iter().filter(|(_, cut)| cut.is_some()).count();
            observer.note(&match cut {
                0 => format!("left out: {said}"),
                _ if cut == measured.long.len() => format!("cut: {said}"),
                _ => format!("cut, or left out but for {cut}: {said}"),
            });
            let tasks = environment.tasks(split);
            let fitting = measured.fitting.into_iter();
            let fitting = fitting.map(|(place, cut)| cut.unwrap_or_else(|| tasks[place].clone()));
            remaining.insert(split, fitting.collect());
        }
    }
    if !problems.is_empty() {
        let hint = match rollout.long_prompts {
            LongPrompts::Stop => {
                "take a policy with a longer context, or leave such tasks out or cut them with `rollout.long_prompts=skip` or `cut`"
            }
            LongPrompts::Skip | LongPrompts::Cut => "take a policy with a longer context",
        };
        return Err(TrainingError::LongPrompts(format!("{}\nhint: {hint}", problems.join("\n"))));
    }
    if remaining.is_empty() {
        return Ok(environment);
    }
    let inner = environment.environment;
    Ok(ToolEnvironment { environment: Box::new(Fitting { inner, remaining }), ..environment })
}

/// What is wrong with prompts that do not fit.
fn too_long(rollout: &RolloutConfig, context: usize) -> String {
    let limit = rollout.prompt_limit(context);
    match limit + 1 < context {
        true => format!("of more than {limit} tokens (`rollout.max_prompt_tokens`)"),
        false => format!(
            "that leave no room to answer in the model's context of {context} tokens \
             (`max_position_embeddings`)"
        ),
    }
}

/// That the syntax of calls names a tool that is not there, if so.
fn uncalled(rollout: &RolloutConfig, environment: &ToolEnvironment) -> Option<String> {
    let called = rollout.syntax.only_tool()?;
    let names: Vec<String> =
        environment.tools.iter().map(|tool| format!("`{}`", tool.name)).collect();
    let is_there = environment.tools.iter().any(|tool| tool.name == called);
    (!is_there && !names.is_empty()).then(|| {
        format!(
            "warning: `rollout.syntax` writes calls of a tool `{called}`, but there is {}\nhint: \
             give a tool of the list `name = \"{called}\"`, or take another syntax",
            names.join(", ")
        )
    })
}

/// Each split once, with the larger number of tasks.
fn widest(splits: &[(Split, usize)]) -> Vec<(Split, usize)> {
    let mut widest: Vec<(Split, usize)> = Vec::new();
    for (split, wanted) in splits {
        match widest.iter_mut().find(|(other, _)| other == split) {
            Some((_, most)) if *most == 0 || *wanted == 0 => *most = 0,
            Some((_, most)) => *most = (*most).max(*wanted),
            None => widest.push((*split, *wanted)),
        }
    }
    widest
}

/// Measures a split's first tasks, until `wanted` of them (0 for all) would be played.
fn measure(
    reader: &Reader<'_>,
    rollout: &RolloutConfig,
    environment: &ToolEnvironment,
    (split, wanted): (Split, usize),
    observer: &mut dyn Observer,
) -> Result<Measured, TrainingError> {
    let tasks = environment.tasks(split);
    let wanted = if wanted == 0 { tasks.len() } else { wanted.min(tasks.len()) };
    let mut found = Measured::default();
    let mut done = 0;
    // all preferences take about as many tokens
    let told = rollout.told(&rollout.usual_preference(&environment.objective_names()));
    while done < tasks.len() {
        // those that stop the run count as played
        let played = match rollout.long_prompts {
            LongPrompts::Stop => done,
            LongPrompts::Skip | LongPrompts::Cut => found.fitting.len(),
        };
        let block = &tasks[done..tasks.len().min(done + BLOCK.min(wanted - played))];
        if block.is_empty() {
            break;
        }
        if reader.cancelled.load(Ordering::Relaxed) {
            return Err(TrainingError::Interrupted);
        }
        let opened: Vec<(&Task, &str)> = block.iter().map(|task| (task, told.as_str())).collect();
        let prompts = open_tasks(reader.text, environment, rollout, &opened)?;
        let limit = rollout.prompt_limit(reader.context);
        for (index, (task, prompt)) in block.iter().zip(prompts).enumerate() {
            if prompt.len() <= limit {
                found.fitting.push((done + index, None));
                continue;
            }
            found.long.push((task.id.clone(), prompt.len()));
            if rollout.long_prompts == LongPrompts::Cut {
                let tokens = |task: &Task| {
                    let opened = open_tasks(reader.text, environment, rollout, &[(task, &told)])?;
                    Ok(opened[0].len())
                };
                let cut = cut(task, limit, tokens)?;
                found.fitting.extend(cut.map(|task| (done + index, Some(task))));
            }
        }
        done += block.len();
        if tasks.len() > BLOCK {
            observer.progress("prompts", done, tasks.len());
        }
    }
    Ok(found)
}

/// The task with the longest end of its question, from a word's beginning on, whose prompt has at
/// most `limit` tokens; `None` where that is no word.
fn cut(
    task: &Task,
    limit: usize,
    tokens: impl Fn(&Task) -> Result<usize, ChatError>,
) -> Result<Option<Task>, ChatError> {
    let question = task.question.trim();
    let from = |start: usize| Task { question: question[start..].to_owned(), ..task.clone() };
    let is_start =
        |(_, pair): &(usize, [char; 2])| pair[0].is_whitespace() && !pair[1].is_whitespace();
    let behind = question.char_indices().skip(1);
    let pairs = question.chars().zip(behind).map(|(before, (at, c))| (at, [before, c]));
    let starts: Vec<usize> = pairs.filter(is_start).map(|(at, _)| at).collect();
    // the first start from which it fits: later ones are shorter
    let (mut low, mut high) = (0, starts.len());
    while low < high {
        let middle = (low + high) / 2;
        match tokens(&from(starts[middle]))? <= limit {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    Ok(starts.get(low).map(|start| from(*start)))
}

fn describe(measured: &Measured, split: &str, why: &str) -> String {
    let Measured { fitting, long } = measured;
    let cut = fitting.iter().filter(|(_, cut)| cut.is_some()).count();
    let mut named: Vec<String> =
        long.iter().take(SHOWN).map(|(id, tokens)| format!("`{id}` ({tokens})")).collect();
    if long.len() > SHOWN {
        named.push(format!("and {} more", long.len() - SHOWN));
    }
    let longest = long.iter().map(|(_, tokens)| *tokens).max().unwrap_or_default();
    format!(
        "{} of {} {split} tasks have prompts {why}; the longest has {longest}: {}",
        long.len(),
        long.len() + fitting.len() - cut,
        named.join(", ")
    )
}

/// Whether an evaluation's tasks fit the policy, without loading its weights; for several
/// evaluations in a row, so that the last one's prompts are looked at before the first is played.
/// The environment is built for it and dropped again.
///
/// # Errors
/// When a task cannot be played; see `rollout.long_prompts`.
pub fn check_prompts<F: ModelFamily>(
    config: &RunConfig,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    let mut observer = ProgressAlone(observer);
    let environment = surroundings.environment(config, &mut observer)?;
    crate::evaluation::require_tasks(&environment, config.evaluation.split)?;
    let text = PolicyText::from_folder(&surroundings.policy_folder)?;
    crate::evaluation::sampling_of(&config.evaluation, &text)?;
    let context = read_config::<F>(&surroundings.policy_folder)?.context();
    let reader = Reader { text: &text, context, cancelled: surroundings.cancelled };
    let splits = played_splits(config, false);
    fitting(&reader, &config.rollout, environment, &splits, &mut observer).map(drop)
}

/// Keeps back the notes, which the evaluation itself repeats.
struct ProgressAlone<'a>(&'a mut dyn Observer);

impl Observer for ProgressAlone<'_> {
    fn progress(&mut self, phase: &str, done: usize, total: usize) {
        self.0.progress(phase, done, total);
    }

    fn step(&mut self, step: u64, total: u64, metrics: &crate::Metrics) {
        self.0.step(step, total, metrics);
    }

    fn note(&mut self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_that_is_played_twice_is_measured_once() {
        let (train, test) = (Split::Train, Split::Test);
        assert_eq!(widest(&[(test, 5), (train, 0), (test, 9)]), [(test, 9), (train, 0)]);
        assert_eq!(widest(&[(train, 5), (train, 0)]), [(train, 0)]);
        assert_eq!(widest(&[(train, 0), (train, 5)]), [(train, 0)]);
    }

    #[test]
    fn long_prompts_are_counted_and_the_first_are_named() {
        let long = (0..7).map(|index| (format!("t{index}"), 100 + index)).collect();
        let fitting = [0, 4, 8].map(|place| (place, None)).to_vec();
        let measured = Measured { fitting, long };
        let said = describe(&measured, "test", "of more than 90 tokens");
        for part in ["7 of 10 test tasks", "of more than 90 tokens", "longest has 106"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(
            said.ends_with(
                "`t0` (100), `t1` (101), `t2` (102), `t3` (103), `t4` (104), and 2 more"
            )
        );
    }
    #[test]
    fn a_question_is_cut_at_a_word_to_what_fits() {
        let task =
            Task { id: "t".into(), question: " one  two three\nfour ".into(), ..Task::default() };
        // as many tokens as characters, and three around them
        let tokens = |task: &Task| Ok(task.question.chars().count() + 3);
        let cut = |limit| cut(&task, limit, tokens).unwrap().map(|task| task.question);
        assert_eq!(cut(17).as_deref(), Some("two three\nfour"));
        assert_eq!(cut(16).as_deref(), Some("three\nfour"));
        assert_eq!(cut(7).as_deref(), Some("four"));
        assert_eq!(cut(6), None);
    }
}
