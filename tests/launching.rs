//! Runs of an experiment that a launcher starts: a script that stands in for a scheduler, and GNU
//! parallel where it is installed.

use crate::checkout;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const EXPERIMENT: &str = "seeds = [1, 2]\n\n[[methods]]\nname = \"GRPO\"\nconfig = \"grpo.toml\"\n";

fn command(folder: &Path, more: &[&str]) -> Command {
    std::fs::copy(checkout("experiments/math-python/grpo.toml"), folder.join("grpo.toml")).unwrap();
    std::fs::write(folder.join("experiment.toml"), EXPERIMENT).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.current_dir(folder).args(["-q", "compare", "experiment.toml"]).args(more);
    let settings = [
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=2",
        "train.validate_every=0",
        "evaluation.tasks=6",
    ];
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

fn runs(folder: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(folder.join("results.json")).unwrap();
    let mut runs = serde_json::from_str::<serde_json::Value>(&text).unwrap()["runs"].take();
    for run in runs.as_array_mut().unwrap() {
        let timed = |key: &String| key.contains("seconds") || key.contains("memory");
        run.as_object_mut().unwrap().retain(|key, _| !timed(key));
    }
    runs
}

/// Runs the experiment plainly and behind a launcher, and compares what they find.
#[track_caller]
fn check_launched(here: &Path, launcher: &str) {
    for (out, more) in [("plain", &[][..]), ("launched", &["--launcher", launcher])] {
        let more = [&["--out", out, "--set", "train.steps=2"][..], more].concat();
        let output = command(here, &more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(runs(&here.join("launched")), runs(&here.join("plain")));
}

#[test]
fn a_launcher_stands_in_front_of_every_run() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // a shared folder shows what a run has found only a while after it has ended
    let script = r#"
echo "$1|$2|$4|$RAYON_NUM_THREADS" >> launched.txt
shift 2
for last; do case "$before" in --run) run="$last";; esac; before="$last"; done
"$@" || exit
mv "$run/evaluation.json" "$run/late.json"
(sleep 2; mv "$run/late.json" "$run/evaluation.json") >/dev/null 2>&1 &
"#;
    std::fs::write(here.join("place.sh"), script).unwrap();
    check_launched(here, "sh place.sh 'two words' x");
    let launched = std::fs::read_to_string(here.join("launched.txt")).unwrap();
    assert_eq!(launched, "two words|x|--quiet|1\n".repeat(2));
}

#[test]
fn launchers_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (launcher, code, part) in [
        ("", 2, "is empty"),
        ("srun 'n1", 2, "a quotation mark is not closed"),
        ("no-such-launcher -n1", 1, "cannot start a run in `out/runs/"),
    ] {
        let output = command(here, &["--out", "out", "--launcher", launcher]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(part), "{launcher}: {said}");
    }
    // a scheduler that gives no place says so in the run's own log
    let more = ["--out", "out", "--launcher", "sh -c 'echo no such partition >&2; exit 7'"];
    let output = command(here, &more).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("no such partition"), "{said}");
}

/// Schedulers end a job when its launcher is asked to end, not when it is killed.
#[cfg(unix)]
#[test]
fn a_launcher_is_asked_to_end() {
    crate::heed_signals();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let script = r#"
trap 'echo asked >> ended.txt; kill $run; wait $run; exit 143' TERM
"$@" & run=$!
echo begun >> begun.txt
wait $run
"#;
    std::fs::write(here.join("place.sh"), script).unwrap();
    let more = ["--out", "out", "--launcher", "sh place.sh", "--set", "train.steps=100000"];
    let mut compare =
        command(here, &more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let lines = |name: &str| {
        std::fs::read_to_string(here.join(name)).map_or(0, |text| text.lines().count())
    };
    while lines("begun.txt") < 2 {
        assert!(Instant::now() < deadline, "both runs begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = compare.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(compare.wait().unwrap().code(), Some(130));
    assert_eq!(lines("ended.txt"), 2);
}

#[cfg_attr(not(with_parallel), ignore = "needs GNU parallel")]
#[test]
fn gnu_parallel_is_a_launcher() {
    let folder = tempfile::tempdir().unwrap();
    check_launched(folder.path(), "parallel --semaphore --fg -q -j 1 --id paretopo-test");
}
