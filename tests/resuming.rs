//! A run that is killed again and again ends with the same weights as one that is not.

use crate::{Tracked, checkout, metrics, python_worker, weights, with_kernels};
use paretopo_environments::{NamedObjective, Objective, Resources, Scoring};
use paretopo_models::AutoFamily;
use paretopo_training::{RunConfig, RunFolder, Surroundings, train_in};
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SETTINGS: [&str; 9] = [
    "train.steps=5",
    "train.prompts_per_step=3",
    "train.rollouts_per_prompt=4",
    "train.checkpoint_every=1",
    "train.validate_every=2",
    "train.save_trajectories_every=1",
    "evaluation.tasks=6",
    "rollout.batch_size=8",
    "train.refill_rounds=1",
];

fn command(run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command
        .args(["--quiet", "train"])
        .arg(checkout("experiments/math-python/paretopo.toml"))
        .arg("--run")
        .arg(run);
    for setting in SETTINGS {
        command.args(["--set", setting]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// `PARETOPO_KILLS` of them, 10 if it is not set.
#[test]
fn killing_a_run_at_random_moments_loses_nothing() {
    let wanted: usize =
        std::env::var("PARETOPO_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let started = Instant::now();
    assert!(command(&whole).status().unwrap().success());
    let duration = started.elapsed();
    let killed = folder.path().join("killed");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let mut kills = 0;
    for attempt in 0.. {
        assert!(attempt < 6 * wanted, "the run never ends");
        let mut child = command(&killed).spawn().unwrap();
        // at most 60% of a whole run, so that each attempt has a chance to be hit anywhere
        let moment = if kills < wanted {
            duration.mul_f64(rng.random_range(0.02..0.6))
        } else {
            Duration::from_secs(600)
        };
        let deadline = Instant::now() + moment;
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() >= deadline {
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        match ended {
            Some(status) => {
                assert!(status.success(), "{:?}", child.wait_with_output());
                if kills >= wanted {
                    break;
                }
                // it came to its end before it was hit: once more, from nothing
                assert_eq!(weights(&whole), weights(&killed), "after {kills} kills");
                std::fs::remove_dir_all(&killed).unwrap();
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
    assert!(kills > 0, "nothing was killed");
    assert_eq!(weights(&whole), weights(&killed), "after {kills} kills");
    assert_eq!(metrics(&whole), metrics(&killed));
    // so is the best policy by validation, which is one of those that were validated: steps 0, 2, 4
    let best = |run: &Path| std::fs::read(run.join("best/model.safetensors")).unwrap();
    assert_eq!(best(&whole), best(&killed));
    let validation: serde_json::Value =
        serde_json::from_slice(&std::fs::read(whole.join("best/validation.json")).unwrap())
            .unwrap();
    assert!(
        validation["step"].as_u64().unwrap().is_multiple_of(2)
            && ["r_task", "r_tool"].iter().all(|name| validation["mean_rewards"][name].is_f64()),
        "{validation}"
    );
    assert_eq!(
        std::fs::read(whole.join("policy/config.json")).unwrap(),
        std::fs::read(killed.join("policy/config.json")).unwrap()
    );
}

/// What happens to a file's bytes.
type Damage = fn(&mut Vec<u8>);

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert!(command(&whole).status().unwrap().success());
    let expected = weights(&whole);
    let cut: Damage = |bytes| bytes.truncate(bytes.len() / 2);
    // one bit in the last number: the file still reads
    let flipped: Damage = |bytes| *bytes.last_mut().unwrap() ^= 1;
    let damages = [
        ("model.safetensors", cut),
        ("model.safetensors", flipped),
        ("optimizer.safetensors", flipped),
        ("state.json", cut),
        ("checksums.json", cut),
    ];
    for (name, damage) in damages {
        let path = whole.join("checkpoints/step-000005").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        // something to tell the resumed run's result from the first one's
        std::fs::remove_dir_all(whole.join("policy")).unwrap();
        let mut again = command(&whole);
        let output = again.args(["--set", "seed=1"]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(weights(&whole), expected, "{name}");
    }
}

#[test]
fn bad_numbers_stop_a_run_or_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, handling: &str| {
        let mut command = command(&folder.path().join(name));
        command.args(["--set", "train.steps=2", "--set", "train.validate_every=0"]);
        // the second pass sees other weights than those that sampled, and no ratio at all is
        // allowed
        command.args(["--set", "train.epochs=2", "--set", "train.largest_log_ratio=0.00001"]);
        command.args(["--set", &format!("train.bad_numbers={handling}")]).output().unwrap()
    };
    let stopped = run("stop", "stop");
    assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
    let message = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(
        message.contains("a log importance ratio of")
            && message.contains("failed-step-000000.jsonl"),
        "{message}"
    );
    assert!(folder.path().join("stop/trajectories/failed-step-000000.jsonl").exists());
    let skipped = run("skip", "skip");
    assert!(skipped.status.success(), "{skipped:?}");
    let counts: Vec<f64> = metrics(&folder.path().join("skip"))
        .iter()
        .map(|step| step["skipped_updates"].as_f64().unwrap())
        .collect();
    assert!(counts.iter().sum::<f64>() >= 1.0, "{counts:?}");
}

#[test]
fn threads_do_not_change_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = |workers: &str, threads: &str| {
        let run = folder.path().join(format!("{workers}-{threads}"));
        let mut command = command(&run);
        command.env("RAYON_NUM_THREADS", threads).args([
            "--set",
            &format!("workers={workers}"),
            "--set",
            "train.steps=2",
        ]);
        assert!(command.status().unwrap().success());
        (weights(&run), metrics(&run))
    };
    for workers in ["1", "2"] {
        let alone = run(workers, "1");
        assert_eq!(run(workers, "3"), alone, "{workers} workers");
    }
}

/// An objective of somebody's own that forgets to guard a division: 0 calls are 0 of 0.
struct Ratio;

impl Objective for Ratio {
    fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
        let calls = scoring.trajectory.call_count() as f64;
        // no number where there is no call
        Some(calls * calls.recip())
    }
}

#[test]
fn a_reward_that_is_no_number_stops_a_run_or_its_group_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let settings: Vec<String> = SETTINGS
            .iter()
            .chain(&["train.steps=2"])
            .chain(more)
            .map(ToString::to_string)
            .collect();
        let config = RunConfig::parse("", "test", &settings).unwrap();
        let resources = Resources { python_worker: python_worker(), cache: std::env::temp_dir() };
        let mut environment = config.build_environment(&resources, &mut ()).unwrap();
        environment.objectives[1] =
            NamedObjective { name: "r_ratio".into(), objective: Arc::new(Ratio), judge: None };
        let surroundings = Surroundings {
            resources,
            cancelled: &crate::scripted::NEVER,
            backend: "test".into(),
            commit: "test",
            policy_folder: checkout("models/tiny-math"),
            threads: 1,
            sampling_place: paretopo_engine::SamplingPlace::Host,
            collective: std::sync::Arc::new(paretopo_collective::OneProcess),
        };
        let opened =
            RunFolder::open(&folder.path().join(name), &config, "train", &surroundings).unwrap();
        let place = with_kernels();
        train_in::<AutoFamily, Tracked>(
            &config,
            environment,
            opened,
            &place,
            &surroundings,
            &mut (),
        )
        .map_err(|error| error.to_string())
    };
    let message = run("stop", &["train.validate_every=0"]).unwrap_err();
    assert!(
        message.contains("step 0: `r_ratio` gave NaN, which is not in [0, 1], for rollout ")
            && message.contains("bad-reward-step-000000-group-0.jsonl"),
        "{message}"
    );
    assert!(folder.path().join("stop/trajectories/bad-reward-step-000000-group-0.jsonl").exists());
    let message = run("validated", &[]).unwrap_err();
    assert!(message.contains("bad-reward-step-000000-validation.jsonl"), "{message}");
    // what is learnt can be chosen, what is measured cannot
    let message = run("skip", &["train.bad_numbers=skip"]).unwrap_err();
    let start = "the evaluation of the trained policy: `r_ratio` gave NaN, which is not in [0, 1]";
    assert!(message.starts_with(start) && message.contains("evaluation.jsonl"), "{message}");
    assert!(folder.path().join("skip/policy/model.safetensors").exists());
    assert!(!folder.path().join("skip/evaluation.json").exists());
    let counts: Vec<f64> = metrics(&folder.path().join("skip"))
        .iter()
        .map(|step| step["skipped_groups"].as_f64().unwrap())
        .collect();
    assert!(counts.len() == 2 && counts[0] >= 1.0, "{counts:?}");
    assert!(!folder.path().join("skip/best").exists(), "no validation was good");
    // without a tool there is no call, and every group is left out
    let all = ["train.bad_numbers=skip", "environment.tool_enabled=false", "train.steps=5"];
    let message = run("all", &[&all[..], &["train.validate_every=0"]].concat()).unwrap_err();
    for part in ["step 2, the last of 3", "nothing is learnt of its group: `r_ratio` gave NaN"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn two_runs_do_not_write_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut first = command(&run).spawn().unwrap();
    while !run.join("config.toml").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    // it must not come to its end while the second waits for it
    let stopped = Command::new("kill").args(["-STOP", &first.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    let second = command(&run).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("another process is training in"),
        "{second:?}"
    );
    // a killed process holds nothing
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(command(&run).status().unwrap().success());
}

/// A file size limit stands in for a full disk: both fail in the middle of a write.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_ends_a_run_with_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert!(command(&whole).status().unwrap().success());
    let run = folder.path().join("run");
    let plain = command(&run);
    // blocks of 512 bytes: the weights do not fit; the signal that would end the process is
    // ignored, so that writes fail
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""])
        .arg(plain.get_program())
        .args(plain.get_args());
    let output = limited.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("safetensors") && message.contains("File too large"), "{message}");
    assert!(command(&run).status().unwrap().success());
    assert_eq!(weights(&whole), weights(&run));
    assert_eq!(metrics(&whole), metrics(&run));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(folder.path().join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write anywhere");
        return;
    }
    let output = command(&folder.path().join("run")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("run"), "{output:?}");
}
