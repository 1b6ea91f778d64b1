//! A run of several ranks: the same weights to the bit as one gives, whoever fails.

use crate::serving::server::Manners;
use crate::{Tracked, checkout, metrics, python_worker, weights, with_kernels};
use paretopo_collective::{Collective, CollectiveError, OneProcess, TensorCarrier, Threads};
use paretopo_environments::Resources;
use paretopo_models::AutoFamily;
use paretopo_training::{RunConfig, Surroundings, TrainingError, train};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// Five prompts, so that no number of ranks has equal shares.
const SETTINGS: [&str; 11] = [
    "train.steps=4",
    "train.prompts_per_step=5",
    "train.rollouts_per_prompt=4",
    "train.micro_batch_tokens=128",
    "train.checkpoint_every=1",
    "train.validate_every=2",
    "train.save_trajectories_every=1",
    "train.optimizer.learning_rate=1e-3",
    "evaluation.tasks=5",
    "rollout.max_sampled_tokens=40",
    "workers=1",
];

fn config(more: &[&str]) -> RunConfig {
    let settings: Vec<String> = SETTINGS.iter().chain(more).map(ToString::to_string).collect();
    let file = std::fs::read_to_string(checkout("experiments/math/paretopo.toml")).unwrap();
    RunConfig::parse(&file, "test", &settings).unwrap()
}

/// What one rank comes to.
fn at_rank(
    collective: Arc<dyn Collective>,
    config: &RunConfig,
    policy_folder: PathBuf,
    run: &Path,
) -> Result<(), TrainingError> {
    let surroundings = Surroundings {
        resources: Resources { python_worker: python_worker(), cache: std::env::temp_dir() },
        cancelled: &crate::scripted::NEVER,
        backend: "test".into(),
        commit: "test",
        policy_folder,
        threads: 1,
        sampling_place: paretopo_engine::SamplingPlace::Host,
        collective,
    };
    train::<AutoFamily, Tracked>(config, run, &with_kernels(), &surroundings, &mut ())
}

fn policy() -> PathBuf {
    checkout("models/graded-math")
}

/// What each of so many ranks comes to, all with the same configuration.
fn at_all(
    ranks: Vec<Arc<dyn Collective>>,
    config: &RunConfig,
    run: &Path,
) -> Vec<Result<(), String>> {
    std::thread::scope(|scope| {
        let start = |own| {
            scope.spawn(move || {
                at_rank(own, config, policy(), run).map_err(|error| error.to_string())
            })
        };
        let started: Vec<_> = ranks.into_iter().map(start).collect();
        started.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

fn threads(ranks: usize) -> Vec<Arc<dyn Collective>> {
    if ranks == 1 {
        return vec![Arc::new(OneProcess)];
    }
    Threads::new(ranks).into_iter().map(|own| Arc::new(own) as Arc<dyn Collective>).collect()
}

#[track_caller]
fn check_equal(settings: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(settings);
    let place = |ranks: usize| folder.path().join(ranks.to_string());
    for ranks in 1..=4 {
        let found = at_all(threads(ranks), &config, &place(ranks));
        assert_eq!(found, vec![Ok(()); ranks]);
        // what was played, what was learnt from it, and what came of it
        assert_eq!(metrics(&place(ranks)), metrics(&place(1)), "{ranks} ranks");
        assert_eq!(weights(&place(ranks)), weights(&place(1)), "{ranks} ranks");
    }
    assert_eq!(metrics(&place(1)).len(), 4);
}

#[test]
fn ranks_give_the_weights_of_one_process_to_the_bit() {
    check_equal(&[]);
}

#[test]
fn with_a_reference_minibatches_and_the_trainers_own_log_probabilities_as_well() {
    check_equal(&[
        "train.kl.coefficient=0.1",
        "train.minibatches=2",
        "train.epochs=2",
        "train.optimizer.learning_rate=1e-4",
        "train.old_logprobs=recompute",
        "train.importance_cap=2.0",
        "train.refill_rounds=1",
    ]);
}

#[test]
fn adapters_as_well() {
    check_equal(&["lora={ rank = 4, dropout = 0.1 }"]);
}

#[test]
fn moments_that_ranks_share_give_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, run) = (folder.path().join("whole"), folder.path().join("run"));
    assert_eq!(at_all(threads(1), &config(&[]), &whole), [Ok(())]);
    let shared = config(&["train.shard_optimizer=true"]);
    assert_eq!(at_all(threads(3), &shared, &run), vec![Ok(()); 3]);
    assert_eq!(weights(&run), weights(&whole));
    // the checkpoint has all moments: any number of ranks goes on from it
    let moments = |run: &Path, step: usize| {
        let name = format!("checkpoints/step-{step:06}/optimizer.safetensors");
        std::fs::read(run.join(name)).unwrap()
    };
    assert_eq!(moments(&run, 4), moments(&whole, 4));
    std::fs::remove_dir_all(run.join("checkpoints/step-000004")).unwrap();
    std::fs::remove_dir_all(run.join("policy")).unwrap();
    assert_eq!(at_all(threads(2), &shared, &run), vec![Ok(()); 2]);
    assert_eq!((weights(&run), moments(&run, 4)), (weights(&whole), moments(&whole, 4)));
}

/// A rank that is gone after so many messages.
#[derive(Debug)]
struct Mortal {
    inner: Threads,
    left: AtomicUsize,
}

impl Mortal {
    fn spend(&self) -> Result<(), CollectiveError> {
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let gone = |_| CollectiveError::Lost { rank: self.rank(), reason: "it died".into() };
        taken.map(drop).map_err(gone)
    }
}

impl Collective for Mortal {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn ranks(&self) -> usize {
        self.inner.ranks()
    }

    fn send(&self, to: usize, bytes: Vec<u8>) -> Result<(), CollectiveError> {
        self.spend()?;
        self.inner.send(to, bytes)
    }

    fn receive(&self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        self.spend()?;
        self.inner.receive(from)
    }
}

#[test]
fn a_rank_that_dies_at_any_message_ends_all_and_any_number_of_them_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&[]);
    let whole = folder.path().join("whole");
    assert_eq!(at_all(threads(1), &config, &whole), [Ok(())]);
    let run = folder.path().join("run");
    // the messages of a step are about forty; each death is further on in what is left
    let mut deaths = 0;
    for (mortal, left) in [(1, 0), (0, 3), (2, 9), (1, 40), (0, 55), (2, 70)] {
        let ranks = Threads::new(3).into_iter().enumerate().map(|(rank, inner)| {
            let left = AtomicUsize::new(if rank == mortal { left } else { usize::MAX });
            Arc::new(Mortal { inner, left }) as Arc<dyn Collective>
        });
        let found = at_all(ranks.collect(), &config, &run);
        if found.iter().all(Result::is_ok) {
            break;
        }
        deaths += 1;
        // nobody waits, and rank 0 says who is lost
        let said = found[0].as_ref().unwrap_err();
        assert!(said.contains("lost") && said.contains("hint: start the run again"), "{said}");
    }
    assert!(deaths >= 4, "{deaths}");
    for ranks in [2, 1] {
        assert_eq!(at_all(threads(ranks), &config, &run), vec![Ok(()); ranks]);
        assert_eq!(weights(&run), weights(&whole));
    }
}

/// Ranks in one process that hand tensors to each other as they are.
#[derive(Debug)]
struct Direct {
    inner: Threads,
    /// From each rank to each other.
    boxes: Arc<Vec<Vec<Channel>>>,
    carried: Arc<AtomicUsize>,
}

type Tensors = Vec<Box<dyn Any + Send>>;
type Channel = (Sender<Tensors>, Mutex<Receiver<Tensors>>);

impl Direct {
    fn linked(ranks: usize, carried: &Arc<AtomicUsize>) -> Vec<Arc<dyn Collective>> {
        let open = || {
            let (sender, receiver) = channel();
            (sender, Mutex::new(receiver))
        };
        let of_rank = || (0..ranks).map(|_| open()).collect();
        let boxes = Arc::new((0..ranks).map(|_| of_rank()).collect());
        let own = |inner| {
            let (boxes, carried) = (Arc::clone(&boxes), carried.clone());
            Arc::new(Self { inner, boxes, carried }) as Arc<dyn Collective>
        };
        Threads::new(ranks).into_iter().map(own).collect()
    }
}

impl Collective for Direct {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn ranks(&self) -> usize {
        self.inner.ranks()
    }

    fn send(&self, to: usize, bytes: Vec<u8>) -> Result<(), CollectiveError> {
        self.inner.send(to, bytes)
    }

    fn receive(&self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        self.inner.receive(from)
    }

    fn tensors(&self) -> Option<&dyn TensorCarrier> {
        Some(self)
    }
}

impl TensorCarrier for Direct {
    fn send(&self, to: usize, tensors: Tensors) -> Result<(), CollectiveError> {
        self.carried.fetch_add(tensors.len(), Ordering::Relaxed);
        self.boxes[self.rank()][to].0.send(tensors).unwrap();
        Ok(())
    }

    fn receive(&self, from: usize, lengths: &[usize]) -> Result<Tensors, CollectiveError> {
        let found = self.boxes[from][self.rank()].1.lock().unwrap().recv().unwrap();
        assert_eq!(found.len(), lengths.len());
        Ok(found)
    }
}

#[test]
fn tensors_that_are_carried_past_the_host_give_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let config = config(&["train.shard_optimizer=true"]);
    assert_eq!(at_all(threads(1), &config, &whole), [Ok(())]);
    let carried = Arc::new(AtomicUsize::new(0));
    for ranks in [2, 3] {
        let run = folder.path().join(ranks.to_string());
        assert_eq!(at_all(Direct::linked(ranks, &carried), &config, &run), vec![Ok(()); ranks]);
        assert_eq!(weights(&run), weights(&whole), "{ranks} ranks");
        // gradients to rank 0 and back, in each of 4 steps, of 20 tensors and more
        assert!(carried.swap(0, Ordering::Relaxed) > 160);
    }
}

/// Two ranks, the second one with what is its own.
fn two(
    own: &RunConfig,
    others: &RunConfig,
    others_policy: PathBuf,
    run: &Path,
) -> [Result<(), String>; 2] {
    let mut ranks = threads(2);
    let (second, first) = (ranks.pop().unwrap(), ranks.pop().unwrap());
    std::thread::scope(|scope| {
        let second = scope.spawn(move || at_rank(second, others, others_policy, run));
        let first = at_rank(first, own, policy(), run);
        [first, second.join().unwrap()].map(|found| found.map_err(|error| error.to_string()))
    })
}

#[test]
fn ranks_that_differ_are_refused_by_name_and_setting() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let found = two(&config(&[]), &config(&["train.epochs=2"]), policy(), &run);
    for said in found.map(Result::unwrap_err) {
        let wanted =
            "rank 1: its configuration has `epochs = 2` where that of rank 0 has `epochs = 1`";
        assert!(said.contains(wanted), "{said}");
    }
    assert!(!run.exists(), "nothing is written");
    // what one of them cannot read is said by the first as well
    let missing = folder.path().join("nothing");
    let found = two(&config(&[]), &config(&[]), missing, &run);
    let [first, second] = found.map(Result::unwrap_err);
    assert!(first.starts_with("rank 1: ") && first.contains("nothing"), "{first}");
    assert!(second.contains("nothing"), "{second}");
    // another policy of the same shape
    let other = folder.path().join("other");
    copy_with_another_weight(&policy(), &other);
    let adapter = config(&["lora={ rank = 2 }"]);
    let [first, _] = two(&adapter, &adapter, other, &folder.path().join("adapter"));
    let first = first.unwrap_err();
    assert!(first.contains("rank 1: its weights are not those of rank 0"), "{first}");
}

/// A copy of a checkpoint with one weight changed.
fn copy_with_another_weight(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let mut content = std::fs::read(&path).unwrap();
        if path.ends_with("model.safetensors") {
            // the last number's sign
            let last = content.len() - 1;
            content[last] ^= 0x80;
        }
        std::fs::write(to.join(path.file_name().unwrap()), content).unwrap();
    }
}

#[test]
fn what_is_of_one_process_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let ahead = config(&["train.max_staleness=1"]);
    for found in two(&ahead, &ahead, policy(), &folder.path().join("run")) {
        let said = found.unwrap_err();
        assert!(
            said.contains("`train.max_staleness` of several processes needs servers"),
            "{said}"
        );
    }
}

#[test]
fn where_servers_draw_rank_0_plays_and_all_share_the_gradient() {
    let folder = tempfile::tempdir().unwrap();
    for staleness in [0, 1] {
        let server = crate::serving::serve(Manners::default());
        let generator = format!("generator={{ type = 'vllm', urls = ['{}'] }}", server.url());
        let config = config(&[&format!("train.max_staleness={staleness}"), &generator]);
        let place = |ranks: usize| folder.path().join(format!("{staleness}-{ranks}"));
        for ranks in 1..=3 {
            server.forget_weights();
            let given = server.asked("/collective_rpc");
            assert_eq!(at_all(threads(ranks), &config, &place(ranks)), vec![Ok(()); ranks]);
            assert_eq!(weights(&place(ranks)), weights(&place(1)), "{ranks} ranks");
            // by rank 0 alone: of the start, and behind each step from which rollouts follow
            assert_eq!(server.asked("/collective_rpc") - given, 5 - staleness);
        }
    }
}
