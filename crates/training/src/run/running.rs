//! The mark of a process that is at work in a run's folder, `running.json`: written when the folder
//! is opened, removed when it is closed, also by an error or Ctrl-C. Found by the next process, it
//! says that the last one did not come to its end.
//!
//! Why it did not, nobody was there to write down. What can be found out later is: whether the
//! machine was started anew since (its boot id), and whether the kernel's killer of processes that
//! take too much memory was at work (its counters, of the machine and of the control group; Linux).
//! The reason of an allocation that failed is written behind the mark at that moment.

use crate::TrainingError;
use paretopo_durable::{File, read, remove_file, write_atomically};
use paretopo_records::last_metrics;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is written down at the start.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The process.
    pid: u32,
    /// Seconds since 1970 at its start.
    started_unix: u64,
    /// Which start of the machine it was, where the system tells.
    boot: Option<String>,
    /// Processes that the kernel's killer had ended by then.
    killed: Killed,
}

/// Processes that the kernel's killer has ended since the machine was started, where it tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Killed {
    /// On the machine.
    machine: Option<u64>,
    /// In this process' control group, and where that group says so.
    group: Option<(PathBuf, u64)>,
}

/// A process at work, as long as this lives.
#[derive(Debug)]
pub(crate) struct Running {
    path: PathBuf,
    /// What is written behind the mark by whoever runs out of memory.
    _mark: File,
}

impl Running {
    /// Writes the mark into a folder that this process alone works in. Returns what is to be said
    /// of the process before, if it did not come to its end.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn begin(run: &Path) -> Result<(Self, Option<String>), TrainingError> {
        let path = run.join("running.json");
        let told = match read(&path)? {
            Some(left) => Some(told(&left, run)?),
            None => None,
        };
        let mark = Mark {
            pid: std::process::id(),
            started_unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            boot: boot_id(),
            killed: killed(),
        };
        let mut text = serde_json::to_vec(&mark).expect("plain data serialises");
        text.push(b'\n');
        write_atomically(&path, &text)?;
        let mark = File::append(&path)?;
        crate::stage::write_reasons_to(mark.as_file());
        Ok((Self { path, _mark: mark }, told))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        crate::stage::write_reasons_nowhere();
        // one that stays is told of by the next process, which is no harm
        let _ = remove_file(&self.path);
    }
}

/// What is to be said of a process that left this mark.
fn told(left: &[u8], run: &Path) -> Result<String, TrainingError> {
    let mut lines = left.splitn(2, |byte| *byte == b'\n');
    let mark: Option<Mark> = lines.next().and_then(|line| serde_json::from_slice(line).ok());
    let reason = String::from_utf8_lossy(lines.next().unwrap_or_default()).trim().to_owned();
    let last = last_metrics(run)?.unwrap_or_default();
    let place = match last.get("step") {
        Some(step) => format!("after step {step}"),
        None => "before its first step".to_owned(),
    };
    let process = mark.as_ref().map(|mark| format!(" (process {})", mark.pid)).unwrap_or_default();
    let held = last.get("memory_mib");
    let held = held.map(|mib| format!("; it held {mib:.0} MiB then")).unwrap_or_default();
    let why = match mark {
        _ if !reason.is_empty() => reason,
        // of a file that was not written to the end, as a power cut leaves it
        None => "the machine may have stopped".to_owned(),
        Some(mark) if mark.boot != boot_id() => "the machine was started anew since".to_owned(),
        Some(mark) => match ended_by_kernel(&mark.killed, &killed()) {
            Some(killer) => format!(
                "{killer}, probably this one (`dmesg` says which)\nhint: {}",
                crate::Stage::ANY_LOWER
            ),
            None => "it was killed, or crashed".to_owned(),
        },
    };
    Ok(format!("the last process of this run{process} did not end by itself, {place}{held}: {why}"))
}

/// What the kernel's killer did meanwhile, in words.
fn ended_by_kernel(before: &Killed, now: &Killed) -> Option<String> {
    let more = |before: u64, now: u64| now.checked_sub(before).filter(|count| *count > 0);
    let group = match (&before.group, &now.group) {
        (Some((place, before)), Some((same, now))) if place == same => more(*before, *now),
        _ => None,
    };
    let machine = || more(before.machine?, now.machine?);
    let (count, place) = match group {
        Some(count) => (count, "in its control group"),
        None => (machine()?, "on this machine"),
    };
    let processes = if count == 1 { "process" } else { "processes" };
    Some(format!(
        "the kernel ran out of memory and has ended {count} {processes} {place} since it began"
    ))
}

fn boot_id() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|text| text.trim().to_owned())
}

/// The counters now, of `/proc/vmstat` and of the control group.
fn killed() -> Killed {
    let count = |path: &Path| counter(&fs::read_to_string(path).ok()?, "oom_kill");
    let group = || {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let place = groups.lines().find_map(events_of)?;
        let count = count(&place)?;
        Some((place, count))
    };
    Killed { machine: count(Path::new("/proc/vmstat")), group: group() }
}

/// Where the memory of a group is counted, by its line in `/proc/self/cgroup`: the one of version
/// 2, or of version 1 that of memory.
fn events_of(line: &str) -> Option<PathBuf> {
    let (_, line) = line.split_once(':')?;
    let place = match line.split_once(':')? {
        ("memory", group) => format!("/sys/fs/cgroup/memory{group}/memory.oom_control"),
        ("", group) => format!("/sys/fs/cgroup{group}/memory.events"),
        _ => return None,
    };
    Some(place.into())
}

/// A number by its name, in lines of both.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_whole_name() {
        // of a kernel 6.18
        let events = "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(counter(events, "oom_kill"), Some(2));
        assert_eq!(counter("oom_kill_x 2\n", "oom_kill"), None);
        assert_eq!(counter("oom_kill x\n", "oom_kill"), None);
    }

    #[test]
    fn the_kernel_is_named_where_its_counters_rose() {
        let counted = |machine: u64, group: u64| Killed {
            machine: Some(machine),
            group: Some(("/sys/fs/cgroup/a".into(), group)),
        };
        let (before, none) = (counted(4, 1), Killed::default());
        assert_eq!(ended_by_kernel(&before, &before), None);
        assert_eq!(ended_by_kernel(&before, &none), None);
        assert_eq!(ended_by_kernel(&none, &before), None);
        let group = ended_by_kernel(&before, &counted(6, 2)).unwrap();
        assert!(group.contains("ended 1 process in its control group"), "{group}");
        let machine = ended_by_kernel(&before, &counted(6, 1)).unwrap();
        assert!(machine.contains("ended 2 processes on this machine"), "{machine}");
        // what another group has counted says nothing, nor do counters that went back
        let other = Killed { group: Some(("/sys/fs/cgroup/b".into(), 9)), ..before.clone() };
        assert_eq!(ended_by_kernel(&before, &other), None);
        assert_eq!(ended_by_kernel(&before, &counted(4, 0)), None);
    }

    #[test]
    fn groups_of_both_versions_say_where_they_count() {
        let place = |line: &str| events_of(line).map(|path| path.display().to_string());
        let second = place("0::/user.slice/a").unwrap();
        assert_eq!(second, "/sys/fs/cgroup/user.slice/a/memory.events");
        assert_eq!(place("4:memory:/a").unwrap(), "/sys/fs/cgroup/memory/a/memory.oom_control");
        assert_eq!(place("8:pids:/a"), None);
        assert_eq!(place(""), None);
    }

    #[test]
    fn a_mark_that_stays_is_told_of_by_the_next_process() {
        let run = std::env::temp_dir().join(format!("paretopo-running-{}", std::process::id()));
        fs::create_dir_all(&run).unwrap();
        let path = run.join("running.json");
        let (running, told) = Running::begin(&run).unwrap();
        assert_eq!((told, path.exists()), (None, true));
        drop(running);
        assert!(!path.exists());
        // as `kill -9` leaves it, at once and after a step
        let begin = || Running::begin(&run).unwrap().1.unwrap_or_default();
        let kill = || std::mem::forget(Running::begin(&run).unwrap());
        let said = format!(
            "the last process of this run (process {}) did not end by itself, before its first \
             step: it was killed, or crashed",
            std::process::id()
        );
        kill();
        assert_eq!(begin(), said);
        kill();
        let line = "{\"step\":3,\"memory_mib\":812.4}\n{\"step\":4,\"mem";
        fs::write(run.join("metrics.jsonl"), line).unwrap();
        assert!(begin().contains("after step 3; it held 812 MiB then: it was killed"));
        // another start of the machine, a reason that was written down, counters as they are
        let mark = |boot: &str, reason: &str| {
            let now = counter(&fs::read_to_string("/proc/vmstat").unwrap_or_default(), "oom_kill");
            let text = serde_json::json!({
                "pid": 12,
                "started_unix": 0,
                "boot": boot,
                "killed": { "machine": now, "group": null },
            });
            fs::write(&path, format!("{text}\n{reason}")).unwrap();
            begin()
        };
        assert!(mark("another", "").ends_with("the machine was started anew since"));
        assert!(mark("another", "out of memory: x").ends_with(": out of memory: x"));
        if let Some(boot) = boot_id() {
            assert!(mark(&boot, "").ends_with("it was killed, or crashed"));
        }
        // what a power cut leaves of it
        for cut in ["", "{\"pid\": 1", "\0\0\0\0"] {
            fs::write(&path, cut).unwrap();
            assert!(begin().ends_with("the machine may have stopped"), "{cut}");
        }
        fs::remove_dir_all(&run).unwrap();
    }
}
