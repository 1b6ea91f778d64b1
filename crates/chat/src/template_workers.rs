//! Templates from elsewhere, rendered in processes that can be killed.
//!
//! A template is a program, and one step of it can take any time (`messages * 10**10 ~ ""`) or
//! memory (a text doubled forty times). Jinja here counts steps, not what a step costs, so the
//! program that reads other people's templates has workers render them: this very binary, started
//! as `paretopo template-worker`, its memory held by the allocator, its time by the parent. A
//! worker that failed is replaced.

use crate::conversation::{Conversation, Rendered};
use crate::jinja::Jinja;
use crate::template::Source;
use paretopo_containment::{Farewell, IdleWorkers, Worker, WorkerFailure, serve};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// Memory in bytes that a worker may use beyond what an idle one needs; who starts
/// [`template_worker`] sets it as its allocator's limit.
pub const TEMPLATE_WORKER_MEMORY: usize = 256 << 20;
/// Time for one rendering. Published templates take less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer: a text of 16 MiB, whose bytes JSON writes as six at most.
const LONGEST_ANSWER: usize = 6 * (17 << 20);

static INSTALLED: OnceLock<TemplateWorkers> = OnceLock::new();

/// From now on [`crate::ChatTemplate`]s of this process are parsed and rendered in worker
/// processes, which `command` starts; such a process must call [`template_worker`]. For a program's
/// `main`; has an effect once.
pub fn isolate_templates(command: Vec<PathBuf>) {
    INSTALLED.get_or_init(|| TemplateWorkers { command, idle: IdleWorkers::default() });
}

/// What [`isolate_templates`] installed.
pub(crate) fn installed() -> Option<&'static TemplateWorkers> {
    INSTALLED.get()
}

/// The workers' main loop.
///
/// # Errors
/// When the socket to the parent breaks, which ends the worker.
pub fn template_worker() -> std::io::Result<()> {
    let mut latest: Option<Jinja> = None;
    serve(|request: Request<'_>| answer(&mut latest, request))
}

fn answer(latest: &mut Option<Jinja>, request: Request<'_>) -> Answer {
    let known = latest.take().filter(|jinja| *jinja.source() == *request.source);
    let jinja = latest.insert(known.map_or_else(|| Jinja::new(request.source.into_owned()), Ok)?);
    request.conversation.map(|conversation| jinja.render(&conversation)).transpose()
}

#[derive(Serialize, Deserialize)]
struct Request<'a> {
    source: Cow<'a, Source>,
    /// What to render; nothing, to see whether the template parses.
    conversation: Option<Cow<'a, Conversation>>,
}

/// The text, if one was asked for, or what is wrong with the template.
type Answer = Result<Option<Rendered>, String>;

/// Workers by the command that starts them. Each rendering in flight has one of its own.
#[derive(Debug)]
pub(crate) struct TemplateWorkers {
    command: Vec<PathBuf>,
    idle: IdleWorkers,
}

impl TemplateWorkers {
    /// Whether a template parses; an error says why not.
    pub(crate) fn parse(&self, source: &Source) -> Result<(), String> {
        self.ask(&Request { source: Cow::Borrowed(source), conversation: None }).map(drop)
    }

    /// Renders a conversation; an error says why the template does not.
    pub(crate) fn render(
        &self,
        source: &Source,
        conversation: &Conversation,
    ) -> Result<Rendered, String> {
        let conversation = Some(Cow::Borrowed(conversation));
        let request = Request { source: Cow::Borrowed(source), conversation };
        self.ask(&request)?.ok_or_else(|| "its worker answered something else".into())
    }

    fn ask(&self, request: &Request<'_>) -> Answer {
        let answered = match self.idle.take().map(|worker| self.ask_worker(worker, request)) {
            // an idle worker may have been killed by others: then a new one is asked
            None | Some(Err((WorkerFailure::Died, _))) => {
                let worker = Worker::start(&self.command, LONGEST_ANSWER, Farewell::Kill)
                    .map_err(|error| format!("its worker did not start: {error}"))?;
                self.ask_worker(worker, request)
            }
            Some(answered) => answered,
        };
        answered.unwrap_or_else(|(failure, code)| match failure {
            WorkerFailure::Late => Err(format!("it took longer than {} s", PATIENCE.as_secs())),
            WorkerFailure::Misbehaved => Err("its worker answered nonsense and was stopped".into()),
            WorkerFailure::Died => {
                let (most, code) = (TEMPLATE_WORKER_MEMORY >> 20, code.map_or("none".into(), |code| code.to_string()));
                Err(format!("it took more than {most} MiB of memory, or its worker crashed (exit code {code})"))
            }
        })
    }

    /// What a worker answers, which is idle again then, or why it does not, and its exit code.
    fn ask_worker(
        &self,
        mut worker: Worker,
        request: &Request<'_>,
    ) -> Result<Answer, (WorkerFailure, Option<i32>)> {
        let answer =
            worker.ask(request, PATIENCE).map_err(|failure| (failure, worker.exit_code()))?;
        self.idle.keep(worker);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::Message;

    fn source(template: &str) -> Source {
        let templates = [("default".to_owned(), template.to_owned())].into();
        Source { templates, ..Source::default() }
    }

    #[test]
    fn one_worker_serves_several_templates() {
        let messages = [Message { role: paretopo_trajectory::Role::User, content: "Hi".into() }];
        let render = |latest: &mut Option<Jinja>, template: &str| {
            let conversation = Cow::Owned(Conversation::new(&messages, &[], false));
            let source = Cow::Owned(source(template));
            answer(latest, Request { source, conversation: Some(conversation) })
                .map(|rendered| rendered.map(|rendered| rendered.text))
        };
        let mut latest = None;
        for _ in 0..2 {
            assert_eq!(render(&mut latest, "{{ messages[0].content }}!"), Ok(Some("Hi!".into())));
            assert_eq!(render(&mut latest, "{{ messages[0].role }}"), Ok(Some("user".into())));
            assert!(render(&mut latest, "{% if %}").is_err());
        }
    }

    #[test]
    fn a_worker_that_does_not_start_or_ends_is_an_error() {
        let source = source("");
        let killed = Worker::start(&["true".into()], 100, Farewell::Kill).unwrap();
        let workers =
            TemplateWorkers { command: vec!["false".into()], idle: IdleWorkers::default() };
        workers.idle.keep(killed);
        assert!(
            workers.parse(&source).unwrap_err().contains("exit code 1"),
            "the second worker's code"
        );
        for (program, reason) in [("/nonexistent", "did not start"), ("false", "exit code 1")] {
            let workers =
                TemplateWorkers { command: vec![program.into()], idle: IdleWorkers::default() };
            let error = workers.parse(&source).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
