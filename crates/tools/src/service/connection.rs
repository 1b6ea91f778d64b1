//! One line to a program or a server: a request and its answer, both an object of JSON.

use super::config::Asked;
use paretopo_containment::{Launch, LineProcess, WorkerFailure};
use paretopo_retrieval::why_untrusted;
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Bytes of an answer; more is nonsense.
const MOST: usize = 16 << 20;
/// Characters of nonsense that are told.
const TOLD: usize = 80;

/// What is known of an attempt that has brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody can have begun to do what was asked.
    Untaken,
    /// It may have been done.
    Lost,
    /// It was not done in time.
    Late,
    /// There was no time left to ask.
    Expired,
}

/// Why an attempt has brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    fn lost(reason: impl Into<String>) -> Self {
        Self::new(Kind::Lost, reason)
    }

    fn late(who: &str) -> Self {
        Self::new(Kind::Late, format!("{who} did not answer in time"))
    }
}

/// A line to whoever is asked. A program is started by [`Connection::open`], and gone after any
/// failure, since its answer to what was asked may still come.
pub(super) enum Connection {
    Program { launch: Launch, process: Option<LineProcess> },
    Server { agent: ureq::Agent, url: String, headers: Vec<(String, String)>, greeted: bool },
}

impl Connection {
    /// # Errors
    /// When what is sent to a server along with requests is not there.
    pub(super) fn new(asked: &Asked) -> Result<Self, String> {
        Ok(match asked {
            Asked::Program(program) => Self::Program { launch: program.launch(), process: None },
            Asked::Server(server) => {
                let (agent, headers) = (server.trust("server")?.agent(), server.headers("server")?);
                Self::Server { agent, url: server.url.clone(), headers, greeted: false }
            }
        })
    }

    /// Whether a request can be sent without opening the line first.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Program { process, .. } => {
                process.as_ref().is_some_and(|process| !process.has_ended())
            }
            Self::Server { greeted, .. } => *greeted,
        }
    }

    /// Starts a program, and waits until it has answered `greeting`.
    pub(super) fn open(
        &mut self,
        greeting: &Map<String, Value>,
        deadline: Instant,
        over: &AtomicBool,
    ) -> Result<(), Failure> {
        if let Self::Program { launch, process } = self {
            let started = LineProcess::start(launch, MOST);
            let program = launch.program.display();
            let hint = match started.is_err() && !launch.program.is_absolute() {
                true => "\nhint: it is in no folder of `PATH`",
                false => "",
            };
            let untold = |error| {
                Failure::new(Kind::Untaken, format!("cannot start `{program}`: {error}{hint}"))
            };
            *process = Some(started.map_err(untold)?);
        }
        // it may have taken the greeting, but it was asked nothing yet
        let untaken = |failure: Failure| {
            Failure::new(Kind::Untaken, format!("no answer to the greeting: {}", failure.reason))
        };
        self.ask(greeting, deadline, over).map_err(untaken)?;
        if let Self::Server { greeted, .. } = self {
            *greeted = true;
        }
        Ok(())
    }

    /// The answer to a request with an `id`, which the answer must have, too.
    pub(super) fn ask(
        &mut self,
        request: &Map<String, Value>,
        deadline: Instant,
        over: &AtomicBool,
    ) -> Result<Map<String, Value>, Failure> {
        let text = serde_json::to_vec(request)
            .map_err(|error| Failure::lost(format!("a request that is no JSON: {error}")))?;
        let answer = match self {
            Self::Program { launch, process } => {
                let name = launch.program.display().to_string();
                ask_program(&name, process, &text, deadline, over)
                    .and_then(|answer| read(&answer, request, &name))
                    .inspect_err(|_| *process = None)?
            }
            Self::Server { agent, url, headers, .. } => {
                let answer = ask_server(agent, url, headers, &text, deadline)?;
                read(&answer, request, url)?
            }
        };
        Ok(answer)
    }
}

fn ask_program(
    name: &str,
    process: &mut Option<LineProcess>,
    text: &[u8],
    deadline: Instant,
    over: &AtomicBool,
) -> Result<Vec<u8>, Failure> {
    let Some(asked) = process else {
        return Err(Failure::new(Kind::Untaken, format!("`{name}` is not started")));
    };
    asked.exchange(text, deadline, over).map_err(|failure| match failure {
        WorkerFailure::Late => Failure::late(&format!("`{name}`")),
        WorkerFailure::Died => {
            let ending = asked.ending().unwrap_or_else(|| "it closed its output".into());
            Failure::lost(format!("`{name}`: {ending}"))
        }
        WorkerFailure::Misbehaved => {
            Failure::lost(format!("`{name}` wrote a line of more than {MOST} bytes"))
        }
    })
}

fn ask_server(
    agent: &ureq::Agent,
    url: &str,
    headers: &[(String, String)],
    text: &[u8],
    deadline: Instant,
) -> Result<Vec<u8>, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    let request = agent.post(url).config().timeout_global(Some(left)).build();
    let request = request.header("Content-Type", "application/json");
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let failure = |error: ureq::Error| match &error {
        ureq::Error::Timeout(_) => Failure::late(url),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            Failure::new(Kind::Untaken, format!("{url}: {error}"))
        }
        ureq::Error::Io(io) if io.kind() == ErrorKind::ConnectionRefused => {
            Failure::new(Kind::Untaken, format!("{url}: {error}"))
        }
        _ => match why_untrusted(&error) {
            Some(reason) => Failure::new(Kind::Untaken, format!("{url}: {reason}")),
            None => Failure::lost(format!("{url}: {error}")),
        },
    };
    let mut response = request.send(text).map_err(failure)?;
    let status = response.status();
    let body =
        response.body_mut().with_config().limit(MOST as u64).read_to_vec().map_err(failure)?;
    if !status.is_success() {
        let said: String = String::from_utf8_lossy(&body).chars().take(TOLD).collect();
        return Err(Failure::lost(format!("{url}: status {status}: {said}")));
    }
    Ok(body)
}

/// An answer as an object, which has the request's `id`.
fn read(
    answer: &[u8],
    request: &Map<String, Value>,
    who: &str,
) -> Result<Map<String, Value>, Failure> {
    let Ok(object) = serde_json::from_slice::<Map<String, Value>>(answer) else {
        let said: String = String::from_utf8_lossy(answer).chars().take(TOLD).collect();
        return Err(Failure::lost(format!(
            "`{who}` wrote `{said}`, which is no object of JSON (notes belong on standard error)"
        )));
    };
    if object.get("id") != request.get("id") {
        let said = object.get("id").map_or_else(|| "none".to_owned(), Value::to_string);
        return Err(Failure::lost(format!(
            "`{who}` answered a request with another `id` ({said})"
        )));
    }
    Ok(object)
}
