//! Runs that nobody watches: whatever is wrong with a file of the run folder is refused with the
//! way out, or mended and told, and nothing is written over; a process that did not end by itself
//! is told of by the next.

use crate::checkout;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const SETTINGS: [&str; 8] = [
    "train.steps=2",
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=2",
    "train.checkpoint_every=1",
    "train.validate_every=0",
    "train.refill_rounds=0",
    "evaluation.tasks=1",
    "workers=1",
];

pub(crate) fn command(recipe: &str, run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.arg(recipe).arg("--run").arg(run).env("RAYON_NUM_THREADS", "1");
    for setting in SETTINGS {
        command.args(["--set", setting]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn whole_run(run: &Path) {
    let output = command("train", run).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// A copy of a folder; what is no file or folder is left out.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// What lies in a folder: each file's path and content, but for what a process says of itself.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if path.is_file()
            && !["tfevents", "log.txt"].iter().any(|own| path.to_string_lossy().contains(own))
        {
            found.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Empty,
    Cut,
    BadByte,
    /// A folder lies in its place.
    Folder,
    /// A pipe lies in its place, which nobody writes to.
    Pipe,
    Gone,
    /// Nobody but root may read it.
    Forbidden,
}

impl Damage {
    fn to(self, path: &Path) {
        use std::os::unix::fs::PermissionsExt;
        let bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        let gone = || std::fs::remove_file(path).unwrap();
        match self {
            Self::Empty => std::fs::write(path, "").unwrap(),
            Self::Cut => std::fs::write(path, &bytes[..middle]).unwrap(),
            Self::BadByte => {
                let mut bytes = bytes;
                bytes[middle] = 0xff;
                std::fs::write(path, bytes).unwrap();
            }
            Self::Gone => gone(),
            Self::Folder => {
                gone();
                std::fs::create_dir(path).unwrap();
            }
            Self::Pipe => {
                gone();
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            }
            Self::Forbidden => {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
            }
        }
    }
}

/// What is to come of it.
enum Expected {
    /// Exit code 2 with these words, and no file is changed.
    Refused(&'static [&'static str]),
    /// The run ends as it would have, with these words.
    Mended(&'static [&'static str]),
}

#[test]
fn a_damaged_file_of_a_run_is_refused_or_mended_and_never_written_over() {
    use Damage::{BadByte, Cut, Empty, Folder, Forbidden, Gone, Pipe};
    use Expected::{Mended, Refused};
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    whole_run(&whole);
    let weights = std::fs::read(whole.join("policy/model.safetensors")).unwrap();
    let metrics = || std::fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics().lines().count(), 2);
    const HINT: &str = "hint: choose another folder with `--run`";
    let latest = "checkpoints/step-000002";
    // two checkpoints are kept, so that one is left
    const KEPT: &[&str] =
        &["passing over a damaged checkpoint, which is now", "damaged-step-000002"];
    let cases: Vec<(&str, Damage, Expected)> = vec![
        ("config.toml", Empty, Refused(&["config.toml", "is empty", HINT])),
        ("config.toml", Cut, Refused(&[HINT])),
        ("config.toml", BadByte, Refused(&["config.toml", "not UTF-8", HINT])),
        ("config.toml", Folder, Refused(&["config.toml", "irectory"])),
        ("config.toml", Pipe, Refused(&["config.toml", "no regular file"])),
        ("config.toml", Gone, Refused(&["no `config.toml` that says of which", HINT])),
        ("run.json", Empty, Mended(&["run.json", "written anew", "damaged-run.json"])),
        ("run.json", BadByte, Mended(&["run.json", "written anew", "damaged-run.json"])),
        ("run.json", Gone, Mended(&["run.json", "is missing; it is written anew"])),
        ("run.json", Pipe, Refused(&["run.json", "no regular file"])),
        ("metrics.jsonl", BadByte, Mended(&["metrics.jsonl", "1 line cannot be read"])),
        ("metrics.jsonl", Empty, Mended(&["metrics.jsonl", "lacks 2 steps of the 2"])),
        ("metrics.jsonl", Gone, Mended(&["metrics.jsonl", "lacks 2 steps of the 2"])),
        ("metrics.jsonl", Folder, Refused(&["metrics.jsonl", "irectory"])),
        ("metrics.jsonl", Pipe, Refused(&["metrics.jsonl", "no regular file"])),
        ("lock", Pipe, Refused(&["lock", "no regular file"])),
        ("lock", Folder, Refused(&["lock", "irectory"])),
        ("checkpoints/step-000002/checksums.json", Empty, Mended(KEPT)),
        ("checkpoints/step-000002/checksums.json", Pipe, Mended(KEPT)),
        ("checkpoints/step-000002/checksums.json", Gone, Mended(KEPT)),
        ("checkpoints/step-000002/state.json", BadByte, Mended(KEPT)),
        ("checkpoints/step-000002/state.json", Folder, Mended(KEPT)),
        ("checkpoints/step-000002/optimizer.safetensors", Gone, Mended(KEPT)),
        ("checkpoints/step-000002/optimizer.safetensors", Pipe, Mended(KEPT)),
        ("checkpoints/step-000002/model.safetensors", Cut, Mended(KEPT)),
        ("checkpoints/step-000002/model.safetensors", Forbidden, Refused(&["ermission denied"])),
        ("config.toml", Forbidden, Refused(&["config.toml", "ermission denied"])),
        ("policy/model.safetensors", Cut, Mended(&[])),
        ("evaluation.json", Cut, Mended(&[])),
    ];
    let run = scratch.path().join("run");
    for (name, damage, expected) in cases {
        copy(&whole, &run);
        let path = run.join(name);
        damage.to(&path);
        if matches!(damage, Forbidden) && std::fs::read(&path).is_ok() {
            eprintln!("skipped: this user may read anything (`{name}`)");
            std::fs::remove_dir_all(&run).unwrap();
            continue;
        }
        let before = content(&run);
        let output = command("train", &run).output().unwrap();
        let (message, what) = (said(&output), format!("{name}, {damage:?}"));
        let words = match expected {
            Refused(words) => {
                assert_eq!(output.status.code(), Some(2), "{what}: {message}");
                assert_eq!(content(&run), before, "{what}: something was changed");
                words
            }
            Mended(words) => {
                assert_eq!(output.status.code(), Some(0), "{what}: {message}");
                let again = std::fs::read(run.join("policy/model.safetensors")).unwrap();
                assert!(again == weights, "{what}: other weights");
                if name.starts_with(latest) {
                    let aside = run.join("checkpoints/damaged-step-000002");
                    let file = aside.join(path.file_name().unwrap());
                    assert_eq!(file.exists(), !matches!(damage, Gone), "{what}");
                    assert_eq!(
                        std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(),
                        2
                    );
                }
                words
            }
        };
        for part in words {
            assert!(message.contains(part), "{what}: `{part}` is not in: {message}");
        }
        std::fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn checkpoints_that_are_all_damaged_or_cannot_be_listed_do_not_begin_the_run_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let run = scratch.path().join("run");
    whole_run(&run);
    let refused = |words: &[&str]| {
        let before = content(&run);
        let output = command("train", &run).output().unwrap();
        let message = said(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        for part in words {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(content(&run), before, "something was changed");
    };
    for step in ["step-000001", "step-000002"] {
        // sums that vouch for nothing
        std::fs::write(run.join("checkpoints").join(step).join("checksums.json"), "{}").unwrap();
    }
    refused(&["no checkpoint is whole", "step-000002/checksums.json", "hint: put back a copy"]);
    std::fs::rename(run.join("checkpoints"), run.join("elsewhere")).unwrap();
    std::fs::write(run.join("checkpoints"), "a file").unwrap();
    refused(&["checkpoints"]);
}

/// A change of a file's text, and of its checksum where it has one.
fn change(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let sums_path = folder.join("checksums.json");
    let Ok(sums) = std::fs::read_to_string(&sums_path) else { return };
    let mut sums: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&sums).unwrap();
    let sum = blake3::hash(&std::fs::read(&path).unwrap()).to_hex().to_string();
    sums.insert(name.into(), sum.into());
    std::fs::write(&sums_path, serde_json::to_vec(&sums).unwrap()).unwrap();
}

#[test]
fn a_checkpoint_of_another_policy_or_run_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, policy) = (scratch.path().join("run"), scratch.path().join("policy"));
    let from_nothing = format!("policy={{ type = \"new\", path = \"{}\" }}", policy.display());
    let begin =
        |recipe: &str| command(recipe, &run).args(["--set", &from_nothing]).output().unwrap();
    let refused = |output: &Output, words: &[&str]| {
        let message = said(output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        for part in words {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
    };
    copy(&checkout("models/tiny-math"), &policy);
    let output = begin("train");
    assert!(output.status.success(), "{}", said(&output));
    let untouched = content(&run);

    // another shape under the same path; both are whole
    change(&policy, "config.json", "\"intermediate_size\": 384", "\"intermediate_size\": 192");
    let shape = "`intermediate_size` is 384, but the policy's is 192";
    refused(&begin("train"), &["step-000002/config.json", shape, "hint: the checkpoint is whole"]);
    assert_eq!(content(&run), untouched);
    change(&policy, "config.json", "\"intermediate_size\": 192", "\"intermediate_size\": 384");
    // another tokenizer of as many tokens
    let tokenizer = std::fs::read(policy.join("tokenizer.json")).unwrap();
    std::fs::write(policy.join("tokenizer.json"), [&tokenizer[..], b"\n"].concat()).unwrap();
    refused(&begin("train"), &["step-000002/tokenizer.json", "is not the tokenizer of"]);
    std::fs::write(policy.join("tokenizer.json"), tokenizer).unwrap();

    // the other recipe has the same configuration
    refused(&begin("sft"), &["a run of the recipe `train`, not of `sft`", "hint: choose another"]);
    assert_eq!(content(&run), untouched);

    // a checkpoint that was copied from a run of another seed, and one of another step
    let checkpoint = run.join("checkpoints/step-000002");
    change(&checkpoint, "run.json", "\"seed\": 1", "\"seed\": 2");
    refused(&begin("train"), &["is of another run: `seed` is 2 there, and 1 in this run"]);
    change(&checkpoint, "run.json", "\"seed\": 2", "\"seed\": 1");
    change(&checkpoint, "state.json", "\"step\":2", "\"step\":1");
    refused(&begin("train"), &["state.json", "`step` is 1", "hint: "]);
    change(&checkpoint, "state.json", "\"step\":1", "\"step\":2");
    let output = begin("train");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn somebodys_own_configuration_is_not_written_over() {
    let scratch = tempfile::tempdir().unwrap();
    let own = "# mine\nseed = 7\n";
    std::fs::write(scratch.path().join("config.toml"), own).unwrap();
    let output = command("train", scratch.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("there is no `run.json` beside it"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(scratch.path().join("config.toml")).unwrap(), own);
}

/// Waits until a run has made a step.
fn wait_for_step(run: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while std::fs::read_to_string(run.join("metrics.jsonl")).map_or(true, |text| text.is_empty()) {
        assert!(Instant::now() < deadline, "no step within two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until another process than that of this mark is at work.
fn wait_for_mark(run: &Path, left: &[u8]) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while std::fs::read(run.join("running.json")).map_or(true, |mark| mark == left) {
        assert!(Instant::now() < deadline, "no other process within two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_process_that_was_killed_is_told_of_and_one_that_ended_is_not() {
    crate::heed_signals();
    let scratch = tempfile::tempdir().unwrap();
    let run = scratch.path().join("run");
    let begin = |more: &[&str]| command("train", &run).args(more).spawn().unwrap();
    let long = ["--set", "train.steps=100000"];
    let mut child = begin(&long);
    let process = child.id();
    wait_for_step(&run);
    child.kill().unwrap();
    child.wait().unwrap();
    let left = std::fs::read(run.join("running.json")).unwrap();
    let child = begin(&long);
    // it has been told of when the mark of the next process is there
    wait_for_mark(&run, &left);
    let stop = |id: u32, signal: &str| {
        let sent = Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
        assert!(sent.success());
    };
    stop(child.id(), "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let told = format!("the last process of this run (process {process}) did not end by itself, ");
    let message = said(&output);
    assert!(message.contains(&told) && message.contains("it was killed, or crashed"), "{message}");
    assert!(message.contains(" MiB then"), "{message}");
    // an interrupt is an end
    assert!(!run.join("running.json").exists());
    let child = begin(&long);
    wait_for_mark(&run, &left);
    stop(child.id(), "-TERM");
    let message = said(&child.wait_with_output().unwrap());
    assert!(!message.contains("did not end by itself"), "{message}");
}
