//! A call in its trajectory's session: a process that nobody else has, begun by the trajectory's
//! first call. A call that ends it loses what the earlier ones have left, says so, and the next
//! begins a new one.

#[cfg(target_os = "linux")]
use super::cpython::CpythonSession;
use super::monty::MontySession;
use super::sessions::{Refused, Sessions, Turn};
use super::{ENDED_TOO_MANY, Engine, PythonLimits, PythonTool, Ran, Unavailable, not_again};
use crate::CallContext;
use paretopo_containment::WorkerFailure;
use paretopo_trajectory::{CallStatus, Fault, ToolOutcome};
use std::hash::BuildHasher;
use std::time::Instant;

/// The last line of an outcome with which a session has ended.
const ENDED: &str = "SessionEnded: all variables, functions, imports and files are gone";

/// What runs the programs of one trajectory.
pub(super) enum Session {
    Monty(MontySession),
    #[cfg(target_os = "linux")]
    Cpython(CpythonSession),
}

impl Engine {
    fn begin_session(&self) -> Result<Session, Unavailable> {
        match self {
            Self::Monty(monty) => monty.begin_session().map(Session::Monty),
            #[cfg(target_os = "linux")]
            Self::Cpython(cpython) => cpython.begin_session().map(Session::Cpython),
            // refused before, `PythonConfig::check`
            Self::Server(_) => Err(Unavailable::NotStarted("a server has no sessions".into())),
        }
    }

    /// Runs a program, and whether the session goes on.
    fn run_in(
        &self,
        session: &mut Session,
        program: &str,
        limits: PythonLimits,
    ) -> (Result<Ran, Unavailable>, bool) {
        match (self, session) {
            (_, Session::Monty(session)) => session.run(program, limits),
            #[cfg(target_os = "linux")]
            (Self::Cpython(cpython), Session::Cpython(session)) => {
                cpython.run_in(session, program, limits)
            }
            #[cfg(target_os = "linux")]
            (_, Session::Cpython(_)) => {
                (Err(Unavailable::Failed("a session of another interpreter".into())), false)
            }
        }
    }
}

impl PythonTool {
    /// Runs a program in its trajectory's session.
    pub(super) fn run_in_session(
        &self,
        sessions: &Sessions<Session>,
        program: &str,
        context: &CallContext,
    ) -> ToolOutcome {
        let started = Instant::now();
        let mut turn = match sessions.turn(&context.trajectory, context.deadline) {
            Ok(turn) => turn,
            Err(refused) => return refusal(refused, context, started),
        };
        if turn.ended >= ENDED_TOO_MANY {
            return self.outcome(Ok(not_again("this trajectory has")), started);
        }
        let (history, mut ended) = (turn.history, false);
        let ran = self.run_unless_harmful(history, program, || {
            let (ran, goes_on) = self.run_next(&mut turn, program, context);
            ended = !goes_on;
            ran
        });
        match &ran {
            Ok(_) => turn.ended = 0,
            Err(Unavailable::Crashed(WorkerFailure::Died | WorkerFailure::Misbehaved, _)) => {
                turn.ended += 1;
            }
            Err(_) => {}
        }
        turn.history = self.hasher.hash_one((history, program));
        drop(turn);
        let mut outcome = self.outcome(ran, started);
        if ended {
            // behind what was shortened, so that it is always read
            outcome.text = [outcome.text.as_str(), ENDED].join("\n").trim_start().to_owned();
        }
        outcome
    }

    /// Runs a program in a turn's session, which it begins if there is none; and whether that goes
    /// on, or none was begun.
    fn run_next(
        &self,
        turn: &mut Turn<'_, Session>,
        program: &str,
        context: &CallContext,
    ) -> (Result<Ran, Unavailable>, bool) {
        let begun = match turn.session.take() {
            Some(session) => Ok(session),
            None => self.engine.begin_session(),
        };
        let mut session = match begun {
            Ok(session) => session,
            Err(unavailable) => return (Err(unavailable), true),
        };
        let limits = self.limits_until(context.deadline);
        let (ran, goes_on) = self.engine.run_in(&mut session, program, limits);
        turn.session = goes_on.then_some(session);
        (ran, goes_on)
    }
}

/// The outcome of a call that got no turn.
fn refusal(refused: Refused, context: &CallContext, started: Instant) -> ToolOutcome {
    let (status, text) = match refused {
        Refused::Unknown => (
            CallStatus::Error,
            format!("ToolError: trajectory `{}` has not begun or has ended", context.trajectory),
        ),
        Refused::Busy => (
            CallStatus::Timeout,
            "TimeoutError: an earlier call of this trajectory took all the time".to_owned(),
        ),
        Refused::Full(most) => (
            CallStatus::Timeout,
            format!("TimeoutError: {most} sessions live, as many as `python.most_sessions` says"),
        ),
    };
    let seconds = started.elapsed().as_secs_f32();
    let outcome = ToolOutcome::new(status, text, seconds);
    match refused {
        // its own doing
        Refused::Busy => outcome,
        Refused::Unknown | Refused::Full(_) => outcome.with_fault(Fault::Tool),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{PythonConfig, Tool};
    use paretopo_trajectory::{ToolCall, TrajectoryId};
    use std::path::PathBuf;
    use std::time::Duration;

    /// A worker that answers its first request and ends at its second: with the eight bytes of its
    /// number, four of a length (43, octal 53) and that many of JSON.
    const ENDS_AT_THE_SECOND: &str = r#"m=$(mktemp); head -c 12 >$m
        head -c $(od -An -tu4 -j8 -N4 $m) >/dev/null; head -c 8 $m >&0; rm $m
        printf '\053\0\0\0%s' '{"status":"ok","text":"fine","ended":false}' >&0
        head -c 1 >/dev/null"#;

    fn tool(command: &[&str]) -> PythonTool {
        let config = PythonConfig { session: true, ..PythonConfig::default() };
        PythonTool::new(config, command.iter().map(PathBuf::from).collect())
            .expect("a worker is started by the first call")
    }

    fn call(tool: &PythonTool, trajectory: &str, program: &str) -> String {
        let trajectory = TrajectoryId::from(trajectory);
        let arguments = serde_json::json!({ "code": program });
        let call = ToolCall { name: "python".into(), arguments };
        let deadline = Instant::now() + Duration::from_secs(20);
        tool.begin(&trajectory);
        tool.call(&call, &CallContext::new(trajectory, deadline)).text
    }

    /// What a program does depends on those before it, so that one that ends its interpreter twice
    /// is not run again after these; after others it is.
    #[test]
    fn a_program_is_refused_with_its_history() {
        let tool = tool(&["sh", "-c", ENDS_AT_THE_SECOND]);
        for _ in 0..2 {
            assert_eq!(call(&tool, "a", "first"), "fine");
            let ended = call(&tool, "a", "second");
            assert!(ended.contains("crashed") && ended.ends_with(ENDED), "{ended}");
        }
        assert_eq!(call(&tool, "a", "first"), "fine");
        let refused = call(&tool, "a", "second");
        assert!(refused.contains("this program has ended its interpreter 2 times"), "{refused}");
        assert_eq!(call(&tool, "b", "second"), "fine");
        assert!(call(&tool, "b", "first").contains("crashed"));
    }

    /// `false` ends at once, whatever the program.
    #[test]
    fn a_trajectory_that_ends_its_interpreter_twice_is_refused() {
        let tool = tool(&["false"]);
        for program in ["1", "2"] {
            assert!(call(&tool, "a", program).contains("crashed"));
        }
        let refused = call(&tool, "a", "3");
        assert!(refused.contains("this trajectory has ended its interpreter 2 times"), "{refused}");
        assert!(call(&tool, "b", "3").contains("crashed"));
    }
}
