//! Which runs lie below the folders that were given.
//!
//! A run is a folder with metrics, an evaluation or the mark of a process at work. What lies in a
//! run (checkpoints, trajectories) is no run. Links are not followed, so that there is no circle.

use std::path::{Path, PathBuf};

/// Folders below the given ones that are looked into, and how deep.
const MOST_FOLDERS: usize = 50_000;
const DEEPEST: usize = 8;

/// A run's folder and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its path below the folder that was given, which no other run has.
    pub(crate) id: String,
    pub(crate) path: PathBuf,
}

/// The runs below some folders, in the order of their names.
pub(crate) fn find(folders: &[PathBuf]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut left = MOST_FOLDERS;
    for (place, folder) in folders.iter().enumerate() {
        let head = match folders.len() {
            1 => String::new(),
            _ => format!("{}:", place + 1),
        };
        if is_run(folder) {
            let name = name_of(&folder.canonicalize().unwrap_or_else(|_| folder.clone()));
            runs.push(Run { id: format!("{head}{name}"), path: folder.clone() });
        } else {
            look_into(folder, &head, 0, &mut left, &mut runs);
        }
    }
    runs
}

fn look_into(folder: &Path, head: &str, depth: usize, left: &mut usize, runs: &mut Vec<Run>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let folders =
        entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut paths: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = name_of(&path);
        if *left == 0 || name.starts_with('.') || name == "target" {
            continue;
        }
        *left -= 1;
        let id = format!("{head}{name}");
        if is_run(&path) {
            runs.push(Run { id, path });
        } else if depth < DEEPEST {
            look_into(&path, &format!("{id}/"), depth + 1, left, runs);
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn is_run(folder: &Path) -> bool {
    ["metrics.jsonl", "evaluation.json", "running.json"]
        .iter()
        .any(|name| folder.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_by_their_files_and_not_inside_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let place = |path: &str| folder.path().join(path);
        for (path, file) in [
            ("b/one", "metrics.jsonl"),
            ("b/one/checkpoints/evaluation", "evaluation.json"),
            ("a", "evaluation.json"),
            ("c/d", "running.json"),
            ("e", "config.toml"),
            (".hidden", "metrics.jsonl"),
        ] {
            std::fs::create_dir_all(place(path)).unwrap();
            std::fs::write(place(path).join(file), "").unwrap();
        }
        let ids = |folders: &[PathBuf]| -> Vec<String> {
            find(folders).into_iter().map(|run| run.id).collect()
        };
        assert_eq!(ids(&[place("")]), ["a", "b/one", "c/d"]);
        // a run itself, and one of several folders
        assert_eq!(ids(&[place("a"), place("b")]), ["1:a", "2:one"]);
        assert_eq!(ids(&[place("nowhere")]), Vec::<String>::new());
    }
}
