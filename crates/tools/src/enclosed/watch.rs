//! What the processes behind walls have together, seen from outside: one more than they may, and all
//! are ended. A limit of the system is for each process alone, and that of their number does not hold
//! for root.

use super::EnclosureConfig;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use std::path::Path;
use std::time::Duration;

/// How often they are looked at.
const LOOKED: Duration = Duration::from_millis(200);

/// # Errors
/// When this kernel does not tell the children of a process.
pub(super) fn require() -> Result<(), String> {
    let own = std::process::id();
    match Path::new(&format!("/proc/{own}/task/{own}/children")).exists() {
        true => Ok(()),
        false => Err("this machine does not tell the children of a process \
                      (`/proc/PID/task/PID/children`), by which their memory is limited (hint: \
                      without `walls` it runs as you do)"
            .into()),
    }
}

/// Waits for the end of the first of them, with which all end; its exit code.
///
/// # Errors
/// Why they were ended.
pub(super) fn until_its_end(first: Pid, walls: &EnclosureConfig) -> Result<u8, String> {
    let ended = pidfd_open(first, PidfdFlags::empty()).map_err(|error| error.to_string())?;
    let patience = Timespec::try_from(LOOKED).map_err(|error| error.to_string())?;
    let excess = loop {
        let mut sources = [PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut sources, Some(&patience)) {
            Ok(1..) => break None,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => break Some(format!("they cannot be waited for: {error}")),
        }
        if let Some(excess) = excess(first, walls) {
            break Some(excess);
        }
    };
    if excess.is_some() {
        let _ = kill_process(first, Signal::KILL);
    }
    let status = waitpid(Some(first), WaitOptions::empty()).map_err(|error| error.to_string())?;
    match (excess, status) {
        (Some(excess), _) => Err(excess),
        (None, Some((_, status))) => Ok(status
            .exit_status()
            .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1)),
        (None, None) => Ok(1),
    }
}

/// What a process and all that come from it have too much of. What is counted quickly counts memory
/// twice that two of them share, as after a fork; so it is counted anew where it is too much.
fn excess(first: Pid, walls: &EnclosureConfig) -> Option<String> {
    let quick = Taken::by(first, own_memory);
    if quick.tasks > walls.processes {
        return Some(format!("it started more than `walls.processes`, {}", walls.processes));
    }
    let most = walls.memory as u64;
    let has_too_much = quick.memory > most && Taken::by(first, memory_by_shares).memory > most;
    has_too_much
        .then(|| format!("it took more memory than `walls.memory`, {} MiB", walls.memory >> 20))
}

/// What some processes have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    /// Processes and threads.
    tasks: usize,
    /// Bytes of memory that is none of a file's.
    memory: u64,
}

impl Taken {
    /// By a process and all that come from it. One that ends meanwhile has nothing.
    fn by(first: Pid, memory: fn(&Path) -> u64) -> Self {
        let mut all = Self::default();
        let mut waiting = vec![first.as_raw_nonzero().get().to_string()];
        while let Some(process) = waiting.pop() {
            let place = Path::new("/proc").join(process);
            all.memory += memory(&place);
            let Ok(tasks) = std::fs::read_dir(place.join("task")) else { continue };
            for task in tasks.flatten() {
                all.tasks += 1;
                let children = std::fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                waiting.extend(children.split_whitespace().map(str::to_owned));
            }
        }
        all
    }
}

/// Bytes that a process holds and that no file of a disk has.
fn own_memory(place: &Path) -> u64 {
    bytes_of(&place.join("status"), ["RssAnon:", "RssShmem:"]).unwrap_or_default()
}

/// The same, where what several processes share is counted in equal shares; it takes longer to tell.
fn memory_by_shares(place: &Path) -> u64 {
    let told = bytes_of(&place.join("smaps_rollup"), ["Pss_Anon:", "Pss_Shmem:"]);
    told.unwrap_or_else(|| own_memory(place))
}

/// The sum of two numbers of a table, which are in KiB; `None` where it has neither.
fn bytes_of(table: &Path, names: [&str; 2]) -> Option<u64> {
    let text = std::fs::read_to_string(table).ok()?;
    let kilobytes = |line: &str| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let found: Vec<u64> = text.lines().filter_map(kilobytes).collect();
    (!found.is_empty()).then(|| found.iter().sum::<u64>() << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    /// A Python that is told a program, and killed with its children.
    struct Family(Child);

    impl Family {
        fn new(program: &str) -> Self {
            use std::os::unix::process::CommandExt;
            let mut command = Command::new("python3");
            command.args(["-c", program]).process_group(0);
            Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        }

        /// Waits until it has so much by the quick count.
        fn wait_for(&self, memory: u64) -> Pid {
            let pid = Pid::from_child(&self.0);
            let started = Instant::now();
            while Taken::by(pid, own_memory).memory < memory {
                assert!(started.elapsed() < Duration::from_secs(20), "it takes too little");
                std::thread::sleep(Duration::from_millis(20));
            }
            pid
        }
    }

    impl Drop for Family {
        fn drop(&mut self) {
            paretopo_containment::kill_process_group(self.0.id());
            let _ = self.0.wait();
        }
    }

    fn walls(memory: usize) -> EnclosureConfig {
        EnclosureConfig { memory, processes: 10, ..EnclosureConfig::default() }
    }

    #[test]
    fn what_a_process_and_its_children_have_is_counted_together() {
        // twice 50 MiB of their own
        let family = Family::new(
            "import os, time\nos.fork()\nheld = bytearray(b'x') * (50 << 20)\ntime.sleep(60)",
        );
        let pid = family.wait_for(100 << 20);
        assert_eq!(excess(pid, &walls(150 << 20)), None);
        assert!(excess(pid, &walls(60 << 20)).unwrap().contains("`walls.memory`, 60 MiB"));
        let few = EnclosureConfig { processes: 1, ..walls(1 << 30) };
        assert!(excess(pid, &few).unwrap().contains("`walls.processes`, 1"));
        drop(family);
        assert_eq!(Taken::by(pid, own_memory).memory, 0);
    }

    #[test]
    fn memory_that_forks_share_counts_once() {
        // 50 MiB that four processes see
        let family = Family::new(
            "import os, time\nheld = bytearray(b'x') * (50 << 20)\nos.fork(); os.fork()\n\
             time.sleep(60)",
        );
        let pid = family.wait_for(200 << 20);
        assert_eq!(excess(pid, &walls(100 << 20)), None);
        assert!(excess(pid, &walls(40 << 20)).is_some());
    }
}
