//! Sessions as a trainer has them: what they keep, what ends them, and what is left of them. Played
//! in a process of its own, like attacks, since processes and folders are counted.

use super::process::{descendants, stat};
use super::trainer::{Assignment, call, left_in, soon};
use paretopo_settings::Seconds;
use paretopo_tools::{PythonConfig, PythonInterpreter, PythonTool, Tool};
use paretopo_trajectory::{CallStatus, Fault, ToolOutcome, TrajectoryId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The last line of an outcome with which a session has ended.
const ENDED: &str = "SessionEnded: all variables, functions, imports and files are gone";

/// What a trainer does with sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Scene {
    KeepNames,
    EndWithTrajectories,
    EndAtLimits,
    HoldLimitsOverCalls,
    AreBounded,
    StandStill,
    LikeAModel,
}

impl Scene {
    pub(super) fn play(self, assignment: &Assignment) {
        match self {
            Self::KeepNames => keep_names(&Player::new(assignment, |_| ())),
            Self::EndWithTrajectories => end_with_trajectories(assignment),
            Self::EndAtLimits => end_at_limits(&Player::new(assignment, small)),
            Self::HoldLimitsOverCalls => hold_limits(&Player::new(assignment, small)),
            Self::AreBounded => {
                are_bounded(&Player::new(assignment, |config| config.most_sessions = 2));
            }
            Self::StandStill => stand_still(&Player::new(assignment, small)),
            Self::LikeAModel => like_a_model(&Player::new(assignment, |_| ())),
        }
    }
}

/// Limits that are soon met.
fn small(config: &mut PythonConfig) {
    config.limits.seconds = Seconds::literal(1.0);
    config.limits.memory = 32 << 20;
    config.limits.printed = 1000;
    config.limits.files = 1 << 20;
}

/// A tool, and calls of it.
struct Player {
    tool: PythonTool,
    monty: bool,
}

impl Player {
    fn new(assignment: &Assignment, change: impl FnOnce(&mut PythonConfig)) -> Self {
        let mut monty = false;
        let tool = assignment.tool_with(|config| {
            change(config);
            monty = config.interpreter == PythonInterpreter::Monty;
        });
        Self { tool: tool.unwrap(), monty }
    }

    fn begin(&self, name: &str) {
        self.tool.begin(&name.into());
    }

    fn end(&self, name: &str) {
        self.tool.end(&name.into());
    }

    fn call(&self, name: &str, program: &str) -> ToolOutcome {
        let deadline = Instant::now() + Duration::from_secs(20);
        call(&self.tool, &TrajectoryId::from(name), program, deadline)
    }

    #[track_caller]
    fn check(&self, name: &str, program: &str, text: &str) {
        let outcome = self.call(name, program);
        assert_eq!(
            (outcome.status, outcome.text.as_str()),
            (CallStatus::Ok, text),
            "{name}: {program}"
        );
    }

    #[track_caller]
    fn check_fails(&self, name: &str, program: &str, word: &str) {
        let outcome = self.call(name, program);
        assert!(
            outcome.status == CallStatus::Error && outcome.text.contains(word),
            "{name}: {program}: {outcome:?}"
        );
    }
}

/// Two trajectories whose calls alternate.
fn keep_names(player: &Player) {
    player.begin("a");
    player.begin("b");
    player.check("a", "import math\nx = 6\ndef f(n): return n * x", "");
    player.check("b", "x = 'b'", "");
    // 7 * 6 = 42; the greatest divisor of 12 and 18 is 6
    player.check("a", "f(7), math.gcd(12, 18)", "(42, 6)");
    player.check("b", "x", "'b'");
    player.check_fails("b", "f(1)", "NameError");
    player.check_fails("b", "math.gcd(1, 2)", "NameError");
    player.check("a", "x += 1\nprint('printed')\nx", "printed");
    // what fails changes nothing else
    player.check_fails("a", "y = 1\n1 / 0", "ZeroDivisionError: division by zero");
    player.check_fails("a", "(", "SyntaxError");
    player.check("a", "f(2), y", "(14, 1)");
    // an exception like others, as long as it is caught in time
    assert_eq!(player.call("a", "def g(n): return g(n + 1)\ng(0)").status, CallStatus::Limit);
    player.check("a", "x", "7");
    // a second beginning changes nothing, and a single program is of no trajectory
    player.begin("a");
    player.check("a", "x", "7");
    let single = player.tool.run("x", Instant::now() + Duration::from_secs(20));
    assert!(single.text.contains("NameError"), "{single:?}");
    if !player.monty {
        player.check("a", "import os\nopen('kept', 'w').write('word')", "4");
        player.check("a", "open('kept').read(), os.listdir('.')", "('word', ['kept'])");
        player.check("b", "import os\nos.listdir('.')", "[]");
        // what a program makes of its streams ends with its call, its exit is none of the session
        player.check("a", "import sys, io\nsys.stdout = io.StringIO()\nprint('lost')", "");
        player.check_fails("a", "sys.stdout.close()", "ValueError");
        player.check("a", "print('found')\nexit()", "found");
        player.check("a", "print('again')", "again");
    }
}

/// Everything of a session goes with its trajectory, and nothing else does.
fn end_with_trajectories(assignment: &Assignment) {
    let player = Player::new(assignment, small);
    let before = descendants().len();
    let beyond = |count: usize| descendants().len() == before + count;
    let each = if player.monty { 1 } else { 2 };
    let folders = || {
        let roots = left_in(&std::env::temp_dir()).into_iter();
        roots
            .flat_map(|root| ["programs", "swept"].map(|part| format!("{root}/{part}")))
            .filter(|part| std::env::temp_dir().join(part).is_dir())
            .map(|part| left_in(&std::env::temp_dir().join(part)).len())
            .sum::<usize>()
    };
    // begun lazily
    for name in ["a", "b", "c"] {
        player.begin(name);
    }
    assert!(beyond(0));
    player.check("a", "x = 1", "");
    player.check("b", "x = 2", "");
    assert!(beyond(2 * each), "{:?}", descendants());
    let on_the_disk = folders();
    assert!(on_the_disk == 0 || on_the_disk == 2);
    player.end("a");
    assert!(soon(|| beyond(each)), "{:?}", descendants());
    player.check("b", "x", "2");
    player.check_fails("a", "x", "has not begun or has ended");
    assert_eq!(player.call("nobody", "1").fault, Some(Fault::Tool));
    // without any call, twice, unknown
    for name in ["c", "c", "a", "nobody"] {
        player.end(name);
    }
    player.check("b", "x", "2");
    // after a call that was late, and with one that never came back in time
    player.begin("late");
    assert_eq!(player.call("late", "while True: pass").status, CallStatus::Timeout);
    assert!(soon(|| beyond(each)), "{:?}", descendants());
    player.end("late");
    player.end("b");
    assert!(soon(|| beyond(0)), "{:?}", descendants());
    assert!(soon(|| folders() == 0));
    // one that lives ends with the tool
    player.begin("last");
    player.check("last", "x = 1", "");
    drop(player);
    assert!(soon(|| descendants().is_empty()), "{:?}", descendants());
    assert!(soon(|| left_in(&std::env::temp_dir()).is_empty()));
}

/// Who meets a limit loses the session, is told, and begins a new one.
fn end_at_limits(player: &Player) {
    let mut programs = vec![
        ("while True: pass", CallStatus::Timeout, "TimeoutError: no answer within 1.0 s"),
        ("while True: print('x' * 100)", CallStatus::Limit, ""),
        ("x = []\nwhile True: x.append('a' * 100000)", CallStatus::Limit, "MemoryError"),
    ];
    if !player.monty {
        programs.push(("import os\nos._exit(3)", CallStatus::Error, "SystemExit: 3"));
        programs.push(("import os\nos.closerange(3, 100)", CallStatus::Error, ""));
        programs.push(("import builtins\nvars(builtins).clear()", CallStatus::Error, ""));
    }
    player.begin("beside");
    player.check("beside", "kept = 'beside'", "");
    for (program, status, text) in programs {
        player.begin("a");
        player.check("a", "kept = 1", "");
        let outcome = player.call("a", program);
        assert_eq!((outcome.status, outcome.fault), (status, None), "{program}: {outcome:?}");
        assert!(outcome.text.contains(text), "{program}: {outcome:?}");
        assert!(outcome.text.ends_with(ENDED), "{program}: {outcome:?}");
        player.check_fails("a", "kept", "NameError");
        player.check("a", "kept = 2\nkept", "2");
        player.end("a");
        player.check("beside", "kept", "'beside'");
    }
}

/// Time and output are limited call by call, memory and files over all of them.
fn hold_limits(player: &Player) {
    player.begin("a");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        player.check("a", "for i in range(100000): pass", "");
    }
    // 3 * 600 bytes are more than 1000
    for _ in 0..3 {
        player.check("a", "print('x' * 600)", &"x".repeat(600));
    }
    player.check("a", "x = []", "");
    // five times 8 MiB are more than 32 MiB
    let grown = |_: &usize| player.call("a", "x.append('a' * (8 << 20))").status == CallStatus::Ok;
    let calls = (0..5).take_while(grown).count();
    assert!((1..5).contains(&calls), "{calls} times 8 MiB");
    if !player.monty {
        player.begin("b");
        player.check("b", "n = 0", "");
        // six times 200 KiB are more than 1 MiB
        let program = "n += 1\nopen(f'{n}', 'wb').write(bytes(200 << 10))";
        let written = |_: &usize| player.call("b", program).status == CallStatus::Ok;
        let calls = (0..6).take_while(written).count();
        assert!((2..6).contains(&calls), "{calls} times 200 KiB");
    }
}

/// Two sessions may live; the call of a third waits for one of them to end.
fn are_bounded(player: &Player) {
    for name in ["a", "b", "c"] {
        player.begin(name);
    }
    player.check("a", "x = 1", "");
    player.check("b", "x = 2", "");
    let started = Instant::now();
    let deadline = started + Duration::from_millis(300);
    let outcome = call(&player.tool, &"c".into(), "x = 3", deadline);
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Timeout, Some(Fault::Tool)));
    assert!(outcome.text.contains("python.most_sessions"), "{}", outcome.text);
    assert!(started.elapsed() >= Duration::from_millis(300));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| player.call("c", "x = 3\nx"));
        std::thread::sleep(Duration::from_millis(100));
        player.end("a");
        assert_eq!(waits.join().unwrap().text, "3");
    });
    // those that have a session wait for nobody
    player.check("b", "x", "2");
}

/// Processor time that all descendants have taken, in ticks.
fn ticks() -> Vec<(u32, u64)> {
    let taken = |id| {
        let fields = stat(id)?;
        Some(fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
    };
    descendants().iter().filter_map(|one| Some((one.id, taken(one.id)?))).collect()
}

/// A program that says that it is done and goes on: it stands still until the next call, which pays
/// for it. Timers that it has left do not reach the next call.
fn stand_still(player: &Player) {
    player.begin("a");
    let program = "import os\nfor number in range(4, 31):\n    try: os.write(number, b'\\0')\n    \
        except OSError: pass\nwhile True: pass";
    player.check("a", program, "");
    let before = ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(ticks(), before);
    let outcome = player.call("a", "print(42)");
    assert_eq!(outcome.status, CallStatus::Timeout);
    assert!(outcome.text.ends_with(ENDED), "{outcome:?}");
    let program = "import signal, time\nsignal.signal(signal.SIGALRM, lambda *_: print('forged'))\n\
        _ = signal.setitimer(signal.ITIMER_REAL, 0.2)";
    player.check("a", program, "");
    player.check("a", "time.sleep(0.4)\nprint(42)", "42");
}

/// Beginnings, calls and ends of many trajectories in any order, from two threads: each call finds
/// what those of its own trajectory have left.
fn like_a_model(player: &Player) {
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            scope.spawn(move || {
                let mut random = ChaCha8Rng::seed_from_u64(thread);
                let mut model: HashMap<String, Vec<u64>> = HashMap::new();
                for step in 0..80 {
                    let name = format!("{thread}-{}", random.random_range(0..5));
                    match random.random_range(0..6) {
                        0 => {
                            player.begin(&name);
                            model.entry(name).or_default();
                        }
                        1 => {
                            player.end(&name);
                            model.remove(&name);
                        }
                        _ => play_step(player, &name, step, model.get_mut(&name)),
                    }
                }
            });
        }
    });
}

/// A call that reads the list of its trajectory and adds to it.
fn play_step(player: &Player, name: &str, step: u64, list: Option<&mut Vec<u64>>) {
    let Some(list) = list else {
        player.check_fails(name, "1", "has not begun");
        return;
    };
    let program = if list.is_empty() {
        format!("values = [{step}]\nvalues")
    } else {
        format!("values.append({step})\nvalues")
    };
    list.push(step);
    player.check(name, &program, &format!("{list:?}"));
}
