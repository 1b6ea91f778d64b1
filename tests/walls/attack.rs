//! A hostile program in a file, with a head that says what it tries and what came of it.

use crate::checkout;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A hostile program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Attack {
    pub(super) name: String,
    /// What it tries.
    pub(super) tries: String,
    /// What came of it before, as seen.
    pub(super) before: String,
    /// The only walls that promise to hold it; all, if empty.
    pub(super) only: String,
    /// Time that it may take.
    pub(super) milliseconds: u64,
    /// How often it runs, by each of two threads; a long one once.
    pub(super) rounds: usize,
    /// Open files that the trainer may have.
    pub(super) descriptors: u64,
    /// Its calls; more than one in a session.
    pub(super) calls: Vec<String>,
}

/// What stands between two calls of a session.
const NEXT: &str = "\n# --- next call\n";

impl Attack {
    /// Reads the head of comments, `# KEY: VALUE`, with lines that go on indented.
    pub(super) fn read(path: &Path) -> Self {
        let program = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut values: Vec<(String, String)> = Vec::new();
        for line in program.lines().map_while(|line| line.strip_prefix('#')) {
            match (line.strip_prefix("   "), line.split_once(": ")) {
                (Some(more), _) => {
                    let (_, value) = values.last_mut().expect("a key stands first");
                    value.push(' ');
                    value.push_str(more.trim());
                }
                (None, Some((key, value))) => {
                    values.push((key.trim().to_owned(), value.trim().to_owned()));
                }
                (None, None) => panic!("{name}: `#{line}`"),
            }
        }
        let known = ["tries", "before", "only", "seconds", "descriptors"];
        assert!(values.iter().all(|(key, _)| known.contains(&key.as_str())), "{name}: {values:?}");
        let value = |key| values.iter().find(|(own, _)| own == key).map(|(_, value)| value);
        let needed = |key| value(key).unwrap_or_else(|| panic!("{name}: no `{key}`")).clone();
        let seconds = value("seconds");
        Self {
            tries: needed("tries"),
            before: needed("before"),
            only: value("only").cloned().unwrap_or_default(),
            milliseconds: seconds
                .map_or(1000, |text| (text.parse::<f64>().unwrap() * 1000.0).round() as u64),
            rounds: if seconds.is_none() { 2 } else { 1 },
            descriptors: value("descriptors").map_or(20_000, |text| text.parse().unwrap()),
            name,
            calls: program.split(NEXT).map(str::to_owned).collect(),
        }
    }
}

/// All attacks, or those asked for, in the order of their names; what all begin with. In sessions
/// those of several calls, too; without being asked only these, as the others take minutes.
pub(super) fn attacks(session: bool) -> (Vec<Attack>, String) {
    let folder = checkout("tests/fixtures/attacks");
    let own = checkout("tests/fixtures/session_attacks");
    let asked = std::env::var("PARETOPO_ATTACKS");
    let mut folders = vec![&own];
    if !session {
        folders = vec![&folder];
    } else if asked.is_ok() {
        folders.push(&folder);
    }
    let asked = asked.unwrap_or_default();
    let listed = folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let attacks = paths
        .iter()
        .filter(|path| path.file_name().unwrap() != "prelude.py")
        .map(|path| Attack::read(path))
        .filter(|attack| asked.split(',').any(|part| attack.name.contains(part)));
    (attacks.collect(), std::fs::read_to_string(folder.join("prelude.py")).unwrap())
}
