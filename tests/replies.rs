//! Environments that answer turns: what the policy reads of them, how their episodes end, and that
//! whatever a partner does costs bounded time.

use crate::agent::{policy_text, problems};
use crate::scripted::{play_on, request};
use crate::scripted_generator::{Manners, ScriptedGenerators};
use paretopo_agent::{PolicyText, RolloutConfig, RolloutRequest, ToolSchedule};
use paretopo_environments::{Environment, Partner, ToolEnvironment};
use paretopo_settings::Seconds;
use paretopo_tools::CallContext;
use paretopo_trajectory::{
    Author, FinishReason, Reply, Split, Task, TokenId, Trajectory, TrajectoryId,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a partner does with its third turn.
#[derive(Clone, Copy, PartialEq)]
enum Third {
    Ends,
    GoesOn,
    Fails,
    Panics,
    Hangs,
}

/// Answers each turn with the same word, and writes down what it hears.
struct Umpire {
    third: Third,
    heard: Mutex<Vec<String>>,
}

impl Umpire {
    fn hear(&self, what: String) -> usize {
        let mut heard = self.heard.lock().unwrap();
        heard.push(what);
        heard.iter().filter(|line| line.starts_with("said")).count()
    }
}

impl Partner for Umpire {
    fn begin(&self, task: &Task, trajectory: &TrajectoryId) {
        self.hear(format!("begin {} {trajectory}", task.id));
    }

    fn answer(&self, said: &str, context: &CallContext) -> Reply {
        let is_third = self.hear(format!("said {said} by {}", context.trajectory)) == 3;
        match self.third {
            Third::Fails if is_third => Reply::failed("it fell over"),
            Third::Panics if is_third => panic!("a partner that panics"),
            Third::Hangs if is_third => {
                std::thread::sleep(Duration::from_secs(3));
                Reply::default()
            }
            third => {
                let done = third == Third::Ends && is_third;
                Reply { text: "error".into(), done, ..Reply::default() }
            }
        }
    }

    fn end(&self, trajectory: &TrajectoryId) {
        self.hear(format!("end {trajectory}"));
    }
}

struct Games {
    tasks: Vec<Task>,
    umpire: Arc<Umpire>,
}

impl Environment for Games {
    fn tasks(&self, _: Split) -> &[Task] {
        &self.tasks
    }

    fn partner(&self) -> Option<Arc<dyn Partner>> {
        Some(self.umpire.clone())
    }
}

fn games(third: Third) -> (ToolEnvironment, Arc<Umpire>) {
    let umpire = Arc::new(Umpire { third, heard: Mutex::default() });
    let environment = Box::new(Games { tasks: problems(), umpire: umpire.clone() });
    (ToolEnvironment { environment, tools: Vec::new(), objectives: Vec::new() }, umpire)
}

/// A policy each of whose turns is `\boxed{1}`.
fn logits(text: &PolicyText) -> impl Fn(&[TokenId]) -> Vec<f32> + Sync + use<> {
    let mut ids = text.tokenizer.encode_plain("\\boxed{1}").unwrap();
    ids.push(text.end_ids[0]);
    let size = text.tokenizer.vocab_size();
    move |held| {
        let last = held[held.len() - 1];
        let next = ids.iter().position(|id| *id == last).map_or(0, |place| place + 1);
        let mut row = vec![-50.0; size];
        row[ids[next.min(ids.len() - 1)] as usize] = 50.0;
        row
    }
}

fn config() -> RolloutConfig {
    let call_seconds = const { Seconds::literal(0.5) };
    RolloutConfig { batch_size: 4, max_turns: 5, call_seconds, ..Default::default() }
}

fn played(third: Third, config: &RolloutConfig, manners: Manners) -> (Trajectory, Vec<String>) {
    let text = policy_text();
    let (environment, umpire) = games(third);
    let generators = ScriptedGenerators::new(logits(&text), manners);
    let requests: [RolloutRequest<'_>; 1] = [request(&environment.tasks(Split::Train)[0], 3)];
    let mut played = play_on(&text, &generators, &environment, &requests, config).unwrap();
    let trajectory = played.remove(0);
    // a reply that was given up may still be on its way
    let ended = || umpire.heard.lock().unwrap().last().unwrap().starts_with("end");
    let started = Instant::now();
    while !ended() && started.elapsed() < Duration::from_secs(8) {
        std::thread::sleep(Duration::from_millis(5));
    }
    (trajectory, umpire.heard.lock().unwrap().clone())
}

#[test]
fn a_reply_is_the_next_turn_of_a_user_to_the_token() {
    let text = policy_text();
    for manners in [
        Manners::default(),
        Manners { chunk: 4, ..Manners::default() },
        Manners { lost_after: 3, ..Manners::default() },
    ] {
        for tool_schedule in [ToolSchedule::FixedLag { steps: 2 }, ToolSchedule::AsReady {}] {
            let config = RolloutConfig { tool_schedule, ..config() };
            let (episode, heard) = played(Third::Ends, &config, manners.clone());
            let authors: Vec<Author> =
                episode.segments.iter().map(|segment| segment.author).collect();
            let [model, template] = [Author::Model, Author::Template];
            let turn = [model, template, Author::Environment, template];
            let wanted = [&[Author::Prompt][..], &turn, &turn, &[model]].concat();
            assert_eq!(authors, wanted);
            let question = &problems()[0].question;
            let whole = format!(
                "<|user|>{question}<|assistant|>\\boxed{{1}}<|end|><|user|>error<|assistant|>\
                 \\boxed{{1}}<|end|><|user|>error<|assistant|>\\boxed{{1}}<|end|>"
            );
            assert_eq!(text.tokenizer.decode(&episode.ids()).unwrap(), whole);
            assert_eq!(text.tokenizer.encode(&whole).unwrap(), episode.ids());
            // learnt from is what the policy wrote, its ends included
            let turns = episode.turns();
            assert_eq!(turns, [1..2, 5..6, 9..10]);
            let replied: Vec<Option<usize>> =
                episode.replies.iter().map(|reply| reply.segment).collect();
            assert_eq!(replied, [Some(1), Some(5), Some(9)]);
            assert!(episode.replies[2].done && !episode.replies[1].done);
            assert_eq!(episode.finish, FinishReason::Stop);
            let (task, said) = (&problems()[0].id, "said \\boxed{1} by test-0-0");
            let begin = format!("begin {task} test-0-0");
            assert_eq!(heard, [&begin, said, said, said, "end test-0-0"]);
        }
    }
}

#[test]
fn an_episode_ends_by_its_budgets() {
    // the fifth reply is the last
    let (episode, heard) = played(Third::GoesOn, &config(), Manners::default());
    assert_eq!((episode.finish, episode.replies.len()), (FinishReason::Length, 5));
    assert_eq!(heard.len(), 7);
    // a turn is two ids or more: the policy may write one and a half
    let turn = episode.segments[1].ids.len();
    let short = RolloutConfig { max_sampled_tokens: turn + 1, ..config() };
    let (episode, _) = played(Third::GoesOn, &short, Manners::default());
    assert_eq!((episode.finish, episode.replies.len()), (FinishReason::Length, 1));
    // a turn that uses up the budget is still put to the environment
    let exact = RolloutConfig { max_sampled_tokens: turn, ..config() };
    let (episode, _) = played(Third::GoesOn, &exact, Manners::default());
    assert_eq!((episode.finish, episode.replies.len()), (FinishReason::Length, 1));
    // nor is more read of a reply than may be
    let cut = RolloutConfig { max_output_tokens: 0, ..config() };
    let (episode, _) = played(Third::Ends, &cut, Manners::default());
    assert!(episode.replies[0].truncated && episode.segments[3].ids.is_empty());
}

#[test]
fn a_partner_that_fails_ends_its_episode_within_bounded_time() {
    for (third, reason) in [
        (Third::Fails, "the environment: it fell over"),
        (Third::Panics, "the environment: the environment failed internally"),
        (Third::Hangs, "the environment: the environment did not answer within 0.5 s"),
    ] {
        let started = Instant::now();
        let (episode, heard) = played(third, &config(), Manners::default());
        assert!(started.elapsed() < Duration::from_secs(5), "{reason}");
        assert!(episode.seconds < 2.5, "{reason}: {}", episode.seconds);
        assert_eq!(episode.finish, FinishReason::Failed(reason.into()));
        let said = reason.strip_prefix("the environment: ");
        assert_eq!((episode.lost(), episode.replies.len()), (said, 3));
        let ends = heard.iter().filter(|line| line.starts_with("end")).count();
        assert_eq!((ends, &**heard.last().unwrap()), (1, "end test-0-0"));
    }
}
