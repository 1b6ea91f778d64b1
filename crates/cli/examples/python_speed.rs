//! Speed of the Python tool, as JSON lines: calls a second of one program, and how late innocent
//! calls come back beside hostile ones, for each interpreter, with and without sessions.
//!
//! ```text
//! python_speed PARETOPO [CALLS]     the binary; calls that each of two threads makes (200)
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    panic!("the sandbox needs Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use paretopo_settings::Seconds;
    use paretopo_tools::{
        CallContext, CpythonConfig, PythonConfig, PythonInterpreter, PythonTool, Tool, Walls,
    };
    use paretopo_trajectory::{CallStatus, ToolCall, TrajectoryId};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    /// Calls of one trajectory.
    const TURNS: usize = 4;
    /// Programs that take what they can get, until they are stopped.
    const HOSTILE: [&str; 4] = [
        "while True: pass",
        "x = []\nwhile True: x.append('x' * 100000)",
        "while True: print('x' * 1000)",
        "def f(n): return f(n + 1)\nf(0)",
    ];

    /// A way of running programs.
    struct Way {
        name: &'static str,
        interpreter: PythonInterpreter,
        walls: Walls,
    }

    const WAYS: [Way; 3] = [
        Way { name: "monty", interpreter: PythonInterpreter::Monty, walls: Walls::Strongest },
        Way {
            name: "cpython, namespaces",
            interpreter: PythonInterpreter::Cpython,
            walls: Walls::Namespaces,
        },
        Way {
            name: "cpython, landlock",
            interpreter: PythonInterpreter::Cpython,
            walls: Walls::Landlock,
        },
    ];

    pub(super) fn main() {
        let mut arguments = std::env::args().skip(1);
        let paretopo = arguments.next().expect("see the head of this file");
        let calls: usize = arguments.next().map_or(200, |text| text.parse().unwrap());
        for way in &WAYS {
            for session in [false, true] {
                match way.tool(&paretopo, session) {
                    Ok(tool) => measure(way.name, session, &tool, calls),
                    Err(reason) => eprintln!("{}: {reason}", way.name),
                }
            }
        }
    }

    impl Way {
        fn tool(&self, paretopo: &str, session: bool) -> Result<PythonTool, String> {
            let mut config = PythonConfig {
                interpreter: self.interpreter,
                cpython: CpythonConfig { walls: self.walls, ..CpythonConfig::default() },
                session,
                ..PythonConfig::default()
            };
            config.limits.seconds = Seconds::literal(0.5);
            PythonTool::new(config, [paretopo, "python-worker"].map(PathBuf::from).into())
        }
    }

    fn measure(name: &str, session: bool, tool: &PythonTool, calls: usize) {
        // so that both workers have started
        innocents(tool, TURNS);
        let started = Instant::now();
        let alone = innocents(tool, calls);
        let rate = alone.len() as f64 / started.elapsed().as_secs_f64();
        let over = AtomicBool::new(false);
        let beside = std::thread::scope(|scope| {
            for thread in 0..2 {
                let over = &over;
                scope.spawn(move || hostile(tool, thread, over));
            }
            let beside = innocents(tool, calls);
            over.store(true, Ordering::Relaxed);
            beside
        });
        let result = serde_json::json!({
            "way": name,
            "session": session,
            "calls/s": rate,
            "alone, p50 ms": percentile(&alone, 50),
            "alone, p99 ms": percentile(&alone, 99),
            "beside hostile, p50 ms": percentile(&beside, 50),
            "beside hostile, p99 ms": percentile(&beside, 99),
        });
        println!("{result}");
    }

    /// The milliseconds of each call of two threads, sorted.
    fn innocents(tool: &PythonTool, calls: usize) -> Vec<f64> {
        let mut taken: Vec<f64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|thread| scope.spawn(move || trajectories(tool, thread, calls)))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        taken.sort_by(f64::total_cmp);
        taken
    }

    fn trajectories(tool: &PythonTool, thread: usize, calls: usize) -> Vec<f64> {
        let mut taken = Vec::new();
        for episode in 0..calls.div_ceil(TURNS) {
            let trajectory = TrajectoryId::new("innocent", episode as u64, thread);
            tool.begin(&trajectory);
            for _ in 0..TURNS {
                let (status, milliseconds) = call(tool, &trajectory, "x = 6\nprint(x * 7)");
                assert_eq!(status, CallStatus::Ok);
                taken.push(milliseconds);
            }
            tool.end(&trajectory);
        }
        taken
    }

    fn hostile(tool: &PythonTool, thread: usize, over: &AtomicBool) {
        for episode in 0.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let trajectory = TrajectoryId::new("hostile", episode, thread);
            tool.begin(&trajectory);
            call(tool, &trajectory, HOSTILE[episode as usize % HOSTILE.len()]);
            tool.end(&trajectory);
        }
    }

    fn call(tool: &PythonTool, trajectory: &TrajectoryId, program: &str) -> (CallStatus, f64) {
        let arguments = serde_json::json!({ "code": program });
        let call = ToolCall { name: "python".into(), arguments };
        let started = Instant::now();
        let deadline = started + Duration::from_secs(20);
        let context = CallContext::new(trajectory.clone(), deadline);
        let status = tool.call(&call, &context).status;
        (status, started.elapsed().as_secs_f64() * 1000.0)
    }

    fn percentile(sorted: &[f64], percent: usize) -> f64 {
        sorted[(sorted.len() - 1) * percent / 100]
    }
}
