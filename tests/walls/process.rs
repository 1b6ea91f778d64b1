//! Processes below a trainer, as `/proc` shows them.

use serde::{Deserialize, Serialize};

/// A process, by its number and when it started: numbers are used again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) id: u32,
    started: String,
}

/// The fields of `/proc/ID/stat` after the name: state, parent, ...
pub(super) fn stat(id: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(text.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

impl Process {
    /// It, unless it is gone or dead.
    fn of(id: u32) -> Option<Self> {
        let fields = stat(id)?;
        (fields[0] != "Z" && fields[0] != "X").then(|| Self { id, started: fields[19].clone() })
    }

    pub(super) fn lives(&self) -> bool {
        Self::of(self.id).as_ref() == Some(self)
    }
}

/// All processes below this one, which is where those end up whose parents die.
pub(super) fn descendants() -> Vec<Process> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, stat(id)?[1].parse().ok()?)))
        .collect();
    let mut known = vec![std::process::id()];
    let mut next = 0;
    while let Some(&parent) = known.get(next) {
        known.extend(parents.iter().filter(|(_, own)| *own == parent).map(|(id, _)| id));
        next += 1;
    }
    known[1..].iter().filter_map(|id| Process::of(*id)).collect()
}
