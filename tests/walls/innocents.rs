//! Programs that harm nobody, each with an outcome that no other has.

use super::trainer::call;
use paretopo_tools::{PythonTool, Tool};
use paretopo_trajectory::{CallStatus, ToolOutcome, TrajectoryId};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the innocents of one attack share.
#[derive(Default)]
pub(super) struct Innocents {
    count: AtomicU64,
    secrets: Mutex<Vec<String>>,
    changed: Mutex<Vec<String>>,
    /// In milliseconds.
    slowest: AtomicU64,
}

/// 32 hexadecimal digits that nobody can guess.
pub(super) fn unguessable() -> String {
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(1), random.hash_one(2))
}

impl Innocents {
    /// A program and its outcome.
    fn next(&self) -> (String, CallStatus, String) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        // twelve digits that nobody else has
        let own = 100_000_000_000 + u64::from(std::process::id()) * 1_000_000 + number;
        let lines = |count: u64| {
            (0..count).map(|line| (own + line).to_string()).collect::<Vec<_>>().join("\n")
        };
        let (program, text) = match number % 9 {
            0 => return self.secretive(own),
            1 => (
                format!(
                    "import os\nopen('file', 'w').write('{own}')\n\
                    print(os.listdir('.'), open('file').read())"
                ),
                format!("['file'] {own}"),
            ),
            2 => {
                let program = format!("print('before')\nraise ValueError({own})");
                return (program, CallStatus::Error, format!("before\nValueError: {own}"));
            }
            3 => (format!("x = {own}\nx * 7"), (own * 7).to_string()),
            4 => (format!("for line in range(30): print({own} + line)"), lines(30)),
            5 => (format!("x = {own}"), String::new()),
            6 => (
                format!(
                    "import json, math, random, re, collections\n\
                    print(json.dumps({{'a': {own}}}), len(str({own})), sorted('cab'), \
                    math.gcd(12, 18), re.sub('a+', 'b', 'caat'), \
                    collections.Counter('aab').most_common(1))"
                ),
                format!("{{\"a\": {own}}} 12 ['a', 'b', 'c'] 6 cbt [('a', 2)]"),
            ),
            7 => (
                format!("import time\ntime.sleep(0.15)\nprint({own})\ntime.sleep(0.15)"),
                own.to_string(),
            ),
            _ => (
                format!(
                    "import os, sys\nprint({own}, file=sys.stderr)\n\
                    print(sys.stdin.read() == '', os.listdir('.'), {own})"
                ),
                format!("True [] {own}"),
            ),
        };
        (program, CallStatus::Ok, text)
    }

    /// One that keeps a secret in all the places where a program keeps things.
    fn secretive(&self, own: u64) -> (String, CallStatus, String) {
        let secret = unguessable();
        let program = format!(
            "import os\nsecret = 'keep-' + '{secret}'\nkept = [secret * 50 for _ in range(20)]\n\
            os.environ['KEPT'] = secret\nopen('kept', 'w').write(secret)\n\
            buffer = bytearray(secret.encode()) * 1000\nprint(secret)\nprint({own})"
        );
        let text = format!("keep-{secret}\n{own}");
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(secret);
        (program, CallStatus::Ok, text)
    }

    /// Runs one and notes whether its outcome is what it should be. In sessions it is the second
    /// call of three; what the first leaves, the third finds.
    pub(super) fn run(&self, tool: &PythonTool, session: bool) {
        let (program, status, text) = self.next();
        let deadline = Instant::now() + Duration::from_secs(20);
        if !session {
            self.check((&program, status, &text), |program| tool.run(program, deadline));
            return;
        }
        let own = unguessable();
        let trajectory = TrajectoryId::from(own.as_str());
        let run = |program: &str| call(tool, &trajectory, program, deadline);
        tool.begin(&trajectory);
        self.check((&format!("kept_word = '{own}'"), CallStatus::Ok, ""), run);
        self.check((&program, status, &text), run);
        self.check(("kept_word", CallStatus::Ok, &format!("'{own}'")), run);
        tool.end(&trajectory);
    }

    fn check(
        &self,
        (program, status, text): (&str, CallStatus, &str),
        run: impl Fn(&str) -> ToolOutcome,
    ) {
        let started = Instant::now();
        let outcome = run(program);
        let took = started.elapsed().as_millis() as u64;
        self.slowest.fetch_max(took, Ordering::Relaxed);
        if (outcome.status, outcome.text.as_str()) != (status, text) {
            let shown: String = outcome.text.chars().take(120).collect();
            let note = format!("{status:?} {text:?} became {:?} {shown:?}", outcome.status);
            self.changed.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        }
    }

    /// Runs the first of them, in as many workers as there are calls at once: all of these have
    /// then held a secret.
    pub(super) fn run_secretive(&self, tool: &PythonTool, session: bool) {
        self.count.fetch_add(9 - self.count.load(Ordering::Relaxed) % 9, Ordering::Relaxed);
        self.run(tool, session);
    }

    /// How many ran, and seconds that the slowest took.
    pub(super) fn figures(&self) -> (u64, f32) {
        let slowest = self.slowest.load(Ordering::Relaxed) as f32 / 1000.0;
        (self.count.load(Ordering::Relaxed), slowest)
    }

    /// What an attack that came back with `outcome` has learned of an innocent's secret.
    pub(super) fn learned(&self, outcome: &ToolOutcome) -> Option<String> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = secrets.iter().filter(|secret| outcome.text.contains(*secret)).count();
        (known > 0).then(|| format!("{known} secrets of other programs known"))
    }

    /// How many outcomes changed, with the first.
    pub(super) fn changed(&self) -> Option<String> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let first = changed.first()?;
        Some(format!("{} innocent outcomes changed, {first}", changed.len()))
    }
}
