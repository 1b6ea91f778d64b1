//! Runs that nobody watches: standard output and standard error that are closed, full or without a
//! reader, terminals that go away, and signals that were ignored from the start. And commands whose
//! output is all there is of them, for which a full disk is an error.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SMALL: [&str; 7] = [
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=2",
    "train.validate_every=0",
    "train.save_trajectories_every=0",
    "train.checkpoint_every=1000",
    "evaluation.tasks=2",
    "workers=1",
];

/// A training run of so many steps, through a shell that sets the scene first.
fn train(run: &Path, steps: usize, scene: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{scene} exec \"$0\" \"$@\""));
    command.arg(env!("CARGO_BIN_EXE_paretopo")).args(["train", "--run"]).arg(run);
    for setting in SMALL {
        command.args(["--set", setting]);
    }
    command.args(["--set", &format!("train.steps={steps}")]).stdin(Stdio::null());
    command
}

fn log(run: &Path) -> String {
    std::fs::read_to_string(run.join("log.txt")).unwrap()
}

/// A run has ended well, and its log has what could not be shown.
#[track_caller]
fn assert_whole(run: &Path, code: Option<i32>) {
    let (log, last) = (log(run), last_step(run));
    assert_eq!(code, Some(0), "{log}");
    assert!(run.join("evaluation.json").exists() && run.join("policy").exists(), "{log}");
    for part in ["--- process ", "backend ", &last, "EM  ", "peak memory"] {
        assert!(log.contains(part), "`{part}` is not in {log}");
    }
    assert_eq!(log.matches(&last).count(), 1, "{log}");
}

/// How the last step of a run is told.
fn last_step(run: &Path) -> String {
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    let config: toml::Table = toml::from_str(&config).unwrap();
    format!("step {0}/{0} ", config["train"]["steps"])
}

#[test]
fn no_state_of_the_two_streams_ends_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let run = folder.path().join("closed");
    assert_whole(&run, train(&run, 3, "exec >&- 2>&-;").status().unwrap().code());
    let run = folder.path().join("full");
    let status = train(&run, 3, "").stdout(full()).stderr(full()).status().unwrap();
    assert_whole(&run, status.code());
    let run = folder.path().join("unread");
    let mut child =
        train(&run, 3, "").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_whole(&run, child.wait().unwrap().code());
    // a log that is the two streams themselves has everything once
    let run = folder.path().join("same");
    std::fs::create_dir(&run).unwrap();
    let log = File::options().create(true).append(true).open(run.join("log.txt")).unwrap();
    let status = train(&run, 3, "").stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
    assert_whole(&run, status.code());
    for once in ["backend ", "\nplanned ", "\npeak memory"] {
        assert_eq!(self::log(&run).matches(once).count(), 1, "{once}: {}", self::log(&run));
    }
    // one that is quiet tells its log
    let run = folder.path().join("quiet");
    let output = train(&run, 3, "").arg("--quiet").output().unwrap();
    assert_whole(&run, output.status.code());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_terminal_that_goes_away_ends_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (mut near, mut far) = (0, 0);
    #[expect(unsafe_code, reason = "terminals have only C functions")]
    // SAFETY: both descriptors are fresh, and each gets one owner
    let (near, far) = unsafe {
        use std::os::fd::FromRawFd;
        let opened = libc::openpty(
            &raw mut near,
            &raw mut far,
            std::ptr::null_mut(),
            std::ptr::null(),
            std::ptr::null(),
        );
        assert_eq!(opened, 0);
        // copies, which a child does not inherit
        let copy = |fd| File::from_raw_fd(fd).try_clone().unwrap();
        (copy(near), copy(far))
    };
    let mut command = train(&run, 20, "");
    let mut child = command.stdout(far.try_clone().unwrap()).stderr(far).spawn().unwrap();
    drop(command);
    // somebody looks at the bar until the first step is done, and leaves
    let left = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let left = &left;
        scope.spawn(move || {
            let (mut near, mut shown) = (near, Vec::new());
            let mut buffer = [0; 4096];
            while !left.load(Ordering::Relaxed) {
                let read = near.read(&mut buffer).unwrap_or(0);
                shown.extend(&buffer[..read]);
            }
            assert!(String::from_utf8_lossy(&shown).contains("backend "));
        });
        first_step(&run, &mut child);
        left.store(true, Ordering::Relaxed);
    });
    assert_whole(&run, child.wait().unwrap().code());
}

#[test]
fn a_comparison_goes_on_without_its_streams() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::copy(crate::checkout("experiments/math-python/grpo.toml"), here.join("grpo.toml"))
        .unwrap();
    let text = "seeds = [1, 2]\n[[methods]]\nname = \"GRPO\"\nconfig = \"grpo.toml\"\n";
    std::fs::write(here.join("experiment.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.current_dir(here).args(["compare", "experiment.toml", "--out", "out", "--jobs", "1"]);
    for setting in SMALL.iter().chain(&["train.steps=2"]) {
        command.args(["--set", setting]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let code = child.wait().unwrap().code();
    let log = log(&here.join("out"));
    assert_eq!(code, Some(0), "{log}");
    for part in ["2 runs, 2 to do", "[2/2] GRPO (seed 2): EM ", "| GRPO ", "done in "] {
        assert!(log.contains(part), "`{part}` is not in {log}");
    }
    // its runs have logs of their own, with everything once
    let own = self::log(&here.join("out/runs/grpo-1"));
    assert!(own.contains("step 2/2") && own.matches("\npeak memory").count() == 1, "{own}");
}

fn paretopo(arguments: &[&str], stdout: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    command.output().unwrap()
}

/// A pipe to which somebody listened once.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_result_that_nobody_reads_is_no_error_and_one_that_is_lost_is() {
    let folder = tempfile::tempdir().unwrap();
    let points = folder.path().join("points.jsonl");
    std::fs::write(&points, "{\"point\":[1,2]}\n".repeat(20_000)).unwrap();
    let evaluate = ["evaluate", "--set", "evaluation.tasks=2"];
    for arguments in [
        &["plan"][..],
        &["train", "--dry-run"],
        &["compare", "--dry-run"],
        &["completions", "bash"],
        &["devices"],
        &["front", points.to_str().unwrap()],
        &evaluate,
    ] {
        let output = paretopo(arguments, unread());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
        assert!(!error.contains("error") && !error.contains("panicked"), "{arguments:?}: {error}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = paretopo(arguments, full);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        let said = "error: cannot write to standard output: No space left on device";
        assert!(error.contains(said), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
    // what is wrong with a command is not hidden by where it cannot be said
    let code = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
        command.args(arguments).stdin(Stdio::null()).stdout(unread()).stderr(unread());
        command.status().unwrap().code()
    };
    assert_eq!(code(&["train", "nothing.toml"]), Some(2));
    assert_eq!(code(&["no-such-command"]), Some(2));
    assert_eq!(code(&["plan"]), Some(0));
}

/// Waits until a run has made a step.
#[track_caller]
fn first_step(run: &Path, child: &mut Child) {
    let started = Instant::now();
    let metrics = run.join("metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn send(signal: &str, child: &Child) {
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

#[test]
fn signals_that_were_ignored_from_the_start_stay_ignored() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["HUP", "INT", "TERM"] {
        // as under `nohup`, which ignores SIGHUP and starts the command
        let run = folder.path().join(format!("ignored-{signal}"));
        let mut command = train(&run, 30, &format!("trap '' {signal};"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        first_step(&run, &mut child);
        send(&format!("-{signal}"), &child);
        send(&format!("-{signal}"), &child);
        let status = child.wait().unwrap();
        assert!(status.success() && run.join("evaluation.json").exists(), "{signal}: {status}");
        // the same without: it stops after its step, and says how to go on
        let run = folder.path().join(signal);
        let mut command = train(&run, 1000, "");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        first_step(&run, &mut child);
        send(&format!("-{signal}"), &child);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert!(log(&run).contains("error: interrupted; run the same command again to resume"));
    }
}

#[test]
fn the_other_signals_still_stop_a_run_under_nohup() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut command = train(&run, 1000, "trap '' HUP;");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    first_step(&run, &mut child);
    send("-HUP", &child);
    send("-TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
