//! Ranks as MPI processes, started by `mpirun`: for a program that is built with the feature `mpi`.

use crate::{checkout, weights};
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SETTINGS: [&str; 9] = [
    "train.steps=12",
    "train.prompts_per_step=5",
    "train.rollouts_per_prompt=4",
    "train.micro_batch_tokens=128",
    "train.checkpoint_every=1",
    "train.validate_every=4",
    "evaluation.tasks=6",
    "rollout.max_sampled_tokens=40",
    "workers=1",
];

fn mpirun() -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe"]);
    command
}

/// The words of a run.
fn train(command: &mut Command, run: &Path, more: &[&str]) {
    command.args([env!("CARGO_BIN_EXE_paretopo"), "train"]);
    command.arg(checkout("experiments/math/paretopo.toml")).arg("--run").arg(run);
    for setting in SETTINGS.iter().chain(more) {
        command.args(["--set", setting]);
    }
}

fn ranks(count: usize, run: &Path) -> Command {
    let mut command = mpirun();
    command.args(["-n", &count.to_string()]);
    train(&mut command, run, &[]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[cfg_attr(not(feature = "mpi"), ignore = "needs a build with the feature `mpi`")]
#[test]
fn processes_train_the_weights_of_one_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let place = |count: usize| folder.path().join(count.to_string());
    for count in [1, 2, 4] {
        let output = ranks(count, &place(count)).output().unwrap();
        assert!(output.status.success(), "{count}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let told = format!("{count} ranks, of ");
        assert_eq!(said.contains(&told), count > 1, "{said}");
        assert_eq!(said.matches("step 10/12").count(), 1, "one of them speaks: {said}");
        assert_eq!(weights(&place(count)), weights(&place(1)), "{count}");
    }
}

#[cfg_attr(not(feature = "mpi"), ignore = "needs a build with the feature `mpi`")]
#[test]
fn processes_that_differ_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut command = mpirun();
    command.args(["-n", "1"]);
    train(&mut command, &run, &[]);
    command.args([":", "-n", "1"]);
    train(&mut command, &run, &["train.epochs=2"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let wanted = "error: rank 1: its configuration has `epochs = 2` where that of rank 0 has";
    assert!(said.contains(wanted), "{said}");
    assert!(!run.exists());
    // what would be done by each
    let each = mpirun().args(["-n", "2", env!("CARGO_BIN_EXE_paretopo"), "evaluate"]).output();
    let said = String::from_utf8_lossy(&each.unwrap().stderr).into_owned();
    assert!(said.contains("error: 2 processes were started together"), "{said}");
}

/// The ranks below `mpirun`.
fn processes(mpirun: &Child) -> Vec<u32> {
    let found = Command::new("pgrep").args(["-P", &mpirun.id().to_string()]).output().unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// `PARETOPO_KILLS` of them, 5 if it is not set.
#[cfg_attr(not(feature = "mpi"), ignore = "needs a build with the feature `mpi`")]
#[test]
fn killing_ranks_at_random_moments_loses_nothing() {
    let wanted: usize =
        std::env::var("PARETOPO_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let started = Instant::now();
    assert!(ranks(1, &whole).status().unwrap().success());
    let duration = started.elapsed();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let (mut kills, mut finished) = (0, 0);
    while kills < wanted {
        assert!(finished < 10 * wanted, "it ends before it is killed");
        let run = folder.path().join(format!("run-{finished}"));
        let mut job = ranks(rng.random_range(2..=3), &run).spawn().unwrap();
        let moment = duration.mul_f64(rng.random_range(0.05..1.2));
        std::thread::sleep(moment);
        let ranks_now = processes(&job);
        let killed =
            (!ranks_now.is_empty()).then(|| ranks_now[rng.random_range(0..ranks_now.len())]);
        let is_killed = killed.is_some_and(|id| {
            Command::new("kill").args(["-KILL", &id.to_string()]).status().unwrap().success()
        });
        // nobody waits for the one that is gone
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = job.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the job goes on without its rank");
            std::thread::sleep(Duration::from_millis(5));
        };
        if status.success() {
            finished += 1;
            assert_eq!(weights(&run), weights(&whole));
        } else if is_killed {
            kills += 1;
        } else {
            panic!("it failed by itself: {:?}", job.wait_with_output());
        }
    }
    // what is left of the last one, by as many as there happen to be
    let run = folder.path().join(format!("run-{finished}"));
    assert!(ranks(4, &run).status().unwrap().success());
    assert_eq!(weights(&run), weights(&whole));
}
