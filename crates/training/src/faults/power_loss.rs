//! A model of power cuts: what was not synchronised is lost, torn, or there; in any combination.
//!
//! All changes of the disk are written down, with what they wrote. After each of them the disks are
//! built that a power cut might leave there, and the run goes on from each with the real code. Of a
//! file that means: the bytes since its last `sync` are missing, zeros, torn in the middle, or
//! there. Of a folder: each entry that was created, renamed or removed since its last `sync` is as
//! before or as after, a rename as a whole. It is harder than file systems with a journal are.

use super::{Fixture, Promised, scratch};
use paretopo_durable::{Answer, Operation, watched};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A file or a folder, whatever its name is.
#[derive(Clone, Debug)]
enum Node {
    File { synced: Vec<u8>, now: Vec<u8> },
    Folder { synced: BTreeMap<String, usize>, changes: Vec<Change>, now: BTreeMap<String, usize> },
}

/// A change of a folder's entries since its last `sync`.
#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Unlink(String),
    Move(String, String, usize),
}

fn apply(entries: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, node) => {
            entries.insert(name.clone(), *node);
        }
        Change::Unlink(name) => {
            entries.remove(name);
        }
        Change::Move(from, to, node) => {
            entries.remove(from);
            entries.insert(to.clone(), *node);
        }
    }
}

/// What the disk may hold: nodes by number, of which 0 is the folder of the test.
#[derive(Clone, Debug)]
struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
}

impl Disk {
    fn new(root: &Path) -> Self {
        Self { root: root.into(), nodes: vec![Self::folder()] }
    }

    fn folder() -> Node {
        Node::Folder { synced: BTreeMap::new(), changes: Vec::new(), now: BTreeMap::new() }
    }

    /// The node of a path; `None` outside of the test's folder.
    fn find(&self, path: &Path) -> Option<usize> {
        let mut node = 0;
        for part in path.strip_prefix(&self.root).ok()? {
            let Node::Folder { now, .. } = &self.nodes[node] else { panic!("{path:?}") };
            node = *now.get(part.to_str()?)?;
        }
        Some(node)
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(String) -> Change) {
        let parent = self.find(path.parent().unwrap()).expect("a folder that was created");
        let change = change(path.file_name().unwrap().to_str().unwrap().to_owned());
        let Node::Folder { changes, now, .. } = &mut self.nodes[parent] else { panic!("{path:?}") };
        apply(now, &change);
        changes.push(change);
    }

    fn create(&mut self, path: &Path, node: Node) {
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.change(path, |name| Change::Link(name, number));
    }

    fn operate(&mut self, operation: &Operation<'_>) {
        match *operation {
            Operation::CreateFolder(path) => self.create(path, Self::folder()),
            Operation::Create(path) | Operation::Append(path) => match self.find(path) {
                None => self.create(path, Node::File { synced: Vec::new(), now: Vec::new() }),
                Some(node) => {
                    let Node::File { now, .. } = &mut self.nodes[node] else { panic!("{path:?}") };
                    if matches!(operation, Operation::Create(_)) {
                        now.clear();
                    }
                }
            },
            Operation::Write(path, bytes) => {
                let node = self.find(path).expect("an open file");
                let Node::File { now, .. } = &mut self.nodes[node] else { panic!("{path:?}") };
                now.extend(bytes);
            }
            Operation::Sync(path) => {
                let node = self.find(path).expect("a file");
                let Node::File { synced, now } = &mut self.nodes[node] else { panic!("{path:?}") };
                synced.clone_from(now);
            }
            Operation::SyncFolder(path) => {
                let Some(node) = self.find(path) else { return };
                let Node::Folder { synced, changes, now } = &mut self.nodes[node] else {
                    panic!("{path:?}")
                };
                synced.clone_from(now);
                changes.clear();
            }
            Operation::Rename(from, to) => {
                assert_eq!(from.parent(), to.parent());
                let node = self.find(from).expect("what is renamed");
                let name = from.file_name().unwrap().to_str().unwrap().to_owned();
                self.change(to, |to| Change::Move(name, to, node));
            }
            Operation::RemoveFile(path) | Operation::RemoveFolder(path) => {
                if self.find(path).is_some() {
                    self.change(path, Change::Unlink);
                }
            }
        }
    }
}

/// What becomes of bytes that were not synchronised.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    Lost,
    Zeros,
    Torn,
    There,
}

/// How a power cut ends.
#[derive(Clone, Debug)]
enum Outcome {
    /// All entries are as before, or as after, and all bytes of a kind.
    Same { entries: bool, bytes: Bytes },
    /// Drawn for each entry and file.
    Mixed(u64),
}

/// What lies at each path: a folder, or a file with its bytes.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Disk {
    fn after(&self, outcome: &Outcome) -> Tree {
        let seed = if let Outcome::Mixed(seed) = outcome { *seed } else { 0 };
        let (mut tree, mut rng) = (Tree::new(), ChaCha8Rng::seed_from_u64(seed));
        self.collect(0, Path::new(""), outcome, &mut rng, &mut tree);
        tree
    }

    fn collect(
        &self,
        node: usize,
        path: &Path,
        outcome: &Outcome,
        rng: &mut ChaCha8Rng,
        tree: &mut Tree,
    ) {
        match &self.nodes[node] {
            Node::Folder { synced, changes, .. } => {
                tree.insert(path.into(), None);
                let mut entries = synced.clone();
                for change in changes {
                    let is_done = match outcome {
                        Outcome::Same { entries, .. } => *entries,
                        Outcome::Mixed(_) => rng.random_bool(0.5),
                    };
                    if is_done {
                        apply(&mut entries, change);
                    }
                }
                for (name, node) in entries {
                    self.collect(node, &path.join(name), outcome, rng, tree);
                }
            }
            Node::File { synced, now } => {
                let bytes = match outcome {
                    Outcome::Same { bytes, .. } => *bytes,
                    Outcome::Mixed(_) => [Bytes::Lost, Bytes::Zeros, Bytes::Torn, Bytes::There]
                        [rng.random_range(0..4)],
                };
                // what was synchronised and is still there stays; what was emptied may come back
                let same = now.iter().zip(synced).take_while(|(now, synced)| now == synced).count();
                let torn = match bytes {
                    Bytes::Lost => same,
                    Bytes::Zeros => same,
                    Bytes::Torn => same + (now.len() - same) / 2,
                    Bytes::There => now.len(),
                };
                let left = match bytes {
                    Bytes::Lost => synced.clone(),
                    _ => [&now[..torn], &vec![0; now.len() - torn]].concat(),
                };
                tree.insert(path.into(), Some(left));
            }
        }
    }
}

fn build(tree: &Tree, root: &Path) {
    for (path, content) in tree {
        let path = root.join(path);
        match content {
            None => std::fs::create_dir_all(path).unwrap(),
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
        }
    }
}

/// The same tree always has the same sum.
fn sum(tree: &Tree) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (path, content) in tree {
        // names of events hold the time
        let is_event = path.to_string_lossy().contains("tfevents");
        hasher.update(if is_event { b"event" } else { path.as_os_str().as_encoded_bytes() });
        hasher.update(&[0, u8::from(content.is_some())]);
        if let Some(bytes) = content.as_ref().filter(|_| !is_event) {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
    }
    hasher.finalize()
}

/// What was tried.
#[derive(Debug, Default)]
struct Tried {
    moments: usize,
    cuts: usize,
    disks: usize,
    /// What was lost first, and then nothing more was tried.
    loss: Option<String>,
}

/// Cuts the power at every moment of a run, on a disk that does not hear of the operations that are
/// `unheard`.
fn cut_the_power(unheard: fn(&Operation<'_>) -> bool) -> Tried {
    let (fixture, folder) = (Fixture::new(), scratch());
    let root = folder.path().join("disk");
    std::fs::create_dir(&root).unwrap();
    // the disk after each operation, and what had been promised by then
    let disk = Rc::new(RefCell::new(Disk::new(&root)));
    let moments: Rc<RefCell<Vec<(Disk, Promised)>>> = Rc::default();
    let promised = Rc::new(RefCell::new(Promised::default()));
    let watcher = {
        let (disk, moments, promised) = (disk.clone(), moments.clone(), promised.clone());
        Box::new(move |operation: &Operation<'_>| {
            if !unheard(operation) {
                disk.borrow_mut().operate(operation);
            }
            moments.borrow_mut().push((disk.borrow().clone(), *promised.borrow()));
            Answer::Do
        })
    };
    watched(watcher, || {
        let promise = |now| *promised.borrow_mut() = now;
        fixture.run(&root.join("run"), &promise, &mut |_, _| {}).unwrap();
    });
    // the model is the disk, as long as nothing is lost
    let everything = Outcome::Same { entries: true, bytes: Bytes::There };
    let copy = folder.path().join("copy");
    build(&disk.borrow().after(&everything), &copy);
    super::require_end(&copy.join("run"));
    std::fs::remove_dir_all(&copy).unwrap();

    let mut outcomes = Vec::new();
    for bytes in [Bytes::Lost, Bytes::Zeros, Bytes::Torn, Bytes::There] {
        outcomes.extend([true, false].map(|entries| Outcome::Same { entries, bytes }));
    }
    let moments = moments.take();
    let mut tried = Tried { moments: moments.len(), ..Tried::default() };
    let mut seen = HashSet::new();
    for (index, (disk, promised)) in moments.iter().enumerate() {
        let mixed = (0..4).map(|draw| Outcome::Mixed(1000 * index as u64 + draw));
        for outcome in outcomes.iter().cloned().chain(mixed) {
            tried.cuts += 1;
            let tree = disk.after(&outcome);
            if !seen.insert((sum(&tree), promised.step, promised.best)) {
                continue;
            }
            tried.disks += 1;
            build(&tree, &copy);
            let what = (index, outcome);
            let work = AssertUnwindSafe(|| fixture.require(&copy.join("run"), *promised, &what));
            if let Err(panic) = catch_unwind(work) {
                let said = panic.downcast_ref::<String>().cloned();
                tried.loss = Some(said.unwrap_or_else(|| format!("{what:?}")));
                return tried;
            }
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }
    tried
}

#[test]
fn a_power_cut_after_any_operation_loses_nothing_that_was_promised() {
    let tried = cut_the_power(|_| false);
    writeln!(std::io::stderr(), "{tried:?}").unwrap();
    assert_eq!(tried.loss, None);
    assert!(tried.moments > 100 && tried.disks > 200, "{tried:?}");
}

/// Which operations a disk does not hear.
type Unheard = fn(&Operation<'_>) -> bool;

#[test]
fn what_is_not_synchronised_is_lost_in_the_model() {
    let unheard: [(&str, Unheard); 5] = [
        ("files", |operation| matches!(operation, Operation::Sync(_))),
        ("folders", |operation| matches!(operation, Operation::SyncFolder(_))),
        // one kind of call each, which no other may make up for
        (
            "files of checkpoints",
            |operation| matches!(operation, Operation::Sync(path) if is_inside(path, "checkpoints")),
        ),
        (
            "the folder of checkpoints",
            |operation| matches!(operation, Operation::SyncFolder(path) if path.ends_with("checkpoints")),
        ),
        (
            "metrics",
            |operation| matches!(operation, Operation::Sync(path) if path.ends_with("metrics.jsonl")),
        ),
    ];
    for (what, unheard) in unheard {
        let tried = cut_the_power(unheard);
        assert!(tried.loss.is_some(), "{what}: {tried:?}");
    }
}

fn is_inside(path: &Path, folder: &str) -> bool {
    path.parent().is_some_and(|parent| parent.components().any(|part| part.as_os_str() == folder))
}
