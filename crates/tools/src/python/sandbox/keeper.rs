//! Stays outside the walls while the interpreter runs: ends it when the trainer has gone, however
//! it went, and looks after the scratch folder on the disk where there is one. So nothing of that
//! takes the trainer's time or stack, or outlives the trainer.

use super::scratch::ScratchRoot;
use super::{ENTRIES, LauncherSettings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often a running program's folder is measured, for which the program is stopped: who moves a
/// folder while it is measured is not seen in it. What a disk takes in the meantime is the most that
/// a program may have too much.
const MEASURED: Duration = Duration::from_millis(10);

/// Waits until the interpreter or the trainer ends, and leaves nothing behind. Standard input is
/// the trainer's socket, which the interpreter reads; here only its end is waited for.
pub(super) fn keep(
    interpreter: Pid,
    folder: Option<(ScratchRoot, OwnedFd)>,
    settings: &LauncherSettings,
) {
    watch(interpreter, folder.as_ref(), settings);
    // its programs end with it
    let _ = kill_process(interpreter, Signal::KILL);
    let _ = waitpid(Some(interpreter), WaitOptions::empty());
    // the trainer shall not wait for what follows
    drop(take_standard_input());
    // with all that it holds
    drop(folder);
}

fn take_standard_input() -> OwnedFd {
    // SAFETY: nobody uses standard input afterwards
    #[expect(unsafe_code, reason = "standard input is never closed otherwise")]
    unsafe {
        rustix::stdio::take_stdin()
    }
}

fn watch(interpreter: Pid, folder: Option<&(ScratchRoot, OwnedFd)>, settings: &LauncherSettings) {
    let Ok(ended) = pidfd_open(interpreter, PidfdFlags::empty()) else { return };
    let input = rustix::stdio::stdin();
    // the moment from which a running program's folder is to be measured again
    let mut measure: Option<Instant> = None;
    loop {
        let wait = measure.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let mut sources =
            vec![PollFd::new(&input, PollFlags::RDHUP), PollFd::new(&ended, PollFlags::IN)];
        if let Some((_, said)) = folder {
            sources.push(PollFd::from_borrowed_fd(said.as_fd(), PollFlags::IN));
        }
        match poll(&mut sources, wait.as_ref()) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let gone = PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR;
        if sources[0].revents().intersects(gone) || !sources[1].revents().is_empty() {
            return;
        }
        let Some((root, said)) = folder else { continue };
        if !sources[2].revents().is_empty() {
            let mut words = [0; 64];
            let Ok(heard) = read(said, &mut words) else { return };
            if heard == 0 {
                return;
            }
            for word in &words[..heard] {
                let answered = match word {
                    // a program runs
                    b'w' => {
                        measure = Some(Instant::now() + MEASURED);
                        Ok(0)
                    }
                    // it stands still
                    b'p' => {
                        let full = root.is_full(settings.files, ENTRIES);
                        // once is enough
                        measure = if full { None } else { Some(Instant::now() + MEASURED) };
                        write(said, if full { b"f" } else { b"c" })
                    }
                    // it has ended
                    b'e' => {
                        measure = None;
                        write(said, b"d")
                    }
                    b's' => {
                        root.sweep();
                        write(said, b"d")
                    }
                    // the interpreter says nothing else
                    _ => return,
                };
                if answered.is_err() {
                    return;
                }
            }
        }
        if measure.is_some_and(|at| at <= Instant::now()) {
            // it says when the program stands still
            measure = None;
            if write(said, b"p").is_err() {
                return;
            }
        }
    }
}
