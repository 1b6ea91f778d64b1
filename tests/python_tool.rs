//! The Python tool in its worker processes: limits, crashes, and that one call never touches the
//! next.

use paretopo_settings::Seconds;
use paretopo_tools::{PythonConfig, PythonLimits, PythonTool};
use paretopo_trajectory::CallStatus;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn tool(limits: PythonLimits) -> PythonTool {
    PythonTool::new(PythonConfig { limits, ..PythonConfig::default() }, crate::python_worker())
        .unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[test]
fn hostile_programs_are_contained_and_the_next_call_is_unaffected() {
    let tool = tool(PythonLimits {
        seconds: Seconds::literal(1.0),
        memory: 32 << 20,
        ..PythonLimits::default()
    });
    let programs = [
        ("while True: pass", CallStatus::Timeout),
        ("x = []\nwhile True: x.append('a' * 100000)", CallStatus::Limit),
        ("x = 'a' * 10**12", CallStatus::Limit),
        ("print(9**9**9)", CallStatus::Limit),
        ("def f(n): return f(n + 1)\nf(0)", CallStatus::Limit),
        ("while True: print('x' * 1000)", CallStatus::Limit),
        ("open('/etc/passwd').read()", CallStatus::Error),
        ("import os\nos.kill(1, 9)", CallStatus::Error),
        ("1 / 0", CallStatus::Error),
        ("(", CallStatus::Error),
    ];
    for (program, expected) in programs {
        let started = Instant::now();
        let outcome = tool.run(program, soon());
        assert!(started.elapsed() < Duration::from_secs(3), "{program}: {:?}", started.elapsed());
        let stopped = [CallStatus::Limit, CallStatus::Timeout];
        // which of two limits is met first may depend on the machine
        assert!(
            outcome.status == expected
                || stopped.contains(&outcome.status) && stopped.contains(&expected),
            "{program}: {outcome:?}"
        );
        assert!(outcome.text.chars().count() <= 256 + 40, "{program}");
        assert_eq!(tool.run("print(6 * 7)", soon()).text, "42", "after {program}");
    }
}

#[test]
fn deep_nesting_does_not_end_the_run() {
    let tool = tool(PythonLimits::default());
    for program in [
        "(".repeat(20_000),
        "[".repeat(50_000),
        format!("x = {}1{}", "(".repeat(3000), ")".repeat(3000)),
        "-".repeat(60_000) + "1",
    ] {
        assert_ne!(tool.run(&program, soon()).status, CallStatus::Ok);
        assert_eq!(tool.run("print(1)", soon()).text, "1");
    }
}

#[test]
fn calls_run_side_by_side() {
    let tool = tool(PythonLimits { seconds: Seconds::literal(0.5), ..PythonLimits::default() });
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn({
                    let tool = &tool;
                    move || tool.run(&format!("print({number} * 1000)"), soon()).text
                })
            })
            .collect();
        for (number, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), (number * 1000).to_string());
        }
    });
}

#[test]
fn names_do_not_survive_a_call() {
    let tool = tool(PythonLimits::default());
    assert_eq!(tool.run("secret = 5\nprint(secret)", soon()).text, "5");
    assert_eq!(tool.run("print(secret)", soon()).status, CallStatus::Error);
}

/// What a worker does when its parent was killed while a program or template takes all the time
/// there is.
#[cfg(target_os = "linux")]
#[test]
fn a_busy_worker_ends_with_its_parent() {
    let slow = "{{ (range(100000) | list * 10000000) | sum }}";
    let request = serde_json::json!({
        "source": { "templates": { "default": slow }, "special_tokens": {} },
        "conversation": { "messages": [] },
    });
    // as a message of number 1: eight bytes of it, four of the length, little endian
    let body = request.to_string();
    let mut message = vec![1, 0, 0, 0, 0, 0, 0, 0];
    message.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    message.extend(body.into_bytes());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), message).unwrap();
    let script = format!(
        "'{}' template-worker < '{}' & echo $!; sleep 1",
        env!("CARGO_BIN_EXE_paretopo"),
        file.path().display()
    );
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let stat = format!("/proc/{}/stat", line.trim());
    // "PID (NAME) STATE ...": a process that nobody has waited for yet is in state Z
    let runs = || {
        std::fs::read_to_string(&stat)
            .is_ok_and(|text| !text.rsplit(')').next().unwrap().starts_with(" Z"))
    };
    shell.wait().unwrap();
    assert!(runs(), "the worker was not busy");
    let started = Instant::now();
    while runs() {
        assert!(started.elapsed() < Duration::from_secs(30), "the worker outlived its parent");
        std::thread::sleep(Duration::from_millis(50));
    }
}
