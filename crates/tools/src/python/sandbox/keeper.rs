//! Stays outside the walls while the interpreter runs: ends it when the trainer has gone, however
//! it went, and looks after the scratch folders on the disk where there are any
//! (`folder_watch.rs`). So nothing of that takes the trainer's time or stack, or outlives the
//! trainer.

use super::LauncherSettings;
use super::folder_watch::FolderWatch;
use super::scratch::ScratchRoot;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, set_child_subreaper, waitpid,
};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long what an interpreter has left behind may take to end once it is killed.
const LAST: Duration = Duration::from_secs(5);

/// Waits until the interpreter or the trainer ends, and leaves nothing behind. Standard input is
/// the trainer's socket, which the interpreter reads; here only its end is waited for.
pub(super) fn keep(
    interpreter: Pid,
    folder: Option<(ScratchRoot, OwnedFd)>,
    settings: &LauncherSettings,
) {
    // what the interpreter leaves behind is waited for, too; fails only on kernels without it
    let _ = set_child_subreaper(Some(rustix::process::getpid()));
    let mut folder = folder.map(|(root, said)| FolderWatch::new(root, said, settings));
    watch(interpreter, folder.as_mut());
    // its programs end with it
    let _ = kill_process(interpreter, Signal::KILL);
    let _ = waitpid(Some(interpreter), WaitOptions::empty());
    // the trainer shall not wait for what follows
    drop(take_standard_input());
    wait_for_the_last();
    // with all that it holds
    drop(folder);
}

/// Wardens end with the interpreter, and programs with their wardens. Until they have, a folder
/// that is removed could be written to.
fn wait_for_the_last() {
    let started = Instant::now();
    while started.elapsed() < LAST {
        match waitpid(None, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            // there are none
            Err(_) => return,
        }
    }
}

fn take_standard_input() -> OwnedFd {
    // SAFETY: nobody uses standard input afterwards
    #[expect(unsafe_code, reason = "standard input is never closed otherwise")]
    unsafe {
        rustix::stdio::take_stdin()
    }
}

fn watch(interpreter: Pid, mut folder: Option<&mut FolderWatch<'_>>) {
    let Ok(ended) = pidfd_open(interpreter, PidfdFlags::empty()) else { return };
    let input = rustix::stdio::stdin();
    loop {
        let until = folder.as_ref().and_then(|folder| folder.next_measure());
        let wait = until.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let mut sources =
            vec![PollFd::new(&input, PollFlags::RDHUP), PollFd::new(&ended, PollFlags::IN)];
        for said in folder.iter().flat_map(|folder| folder.sources()) {
            sources.push(PollFd::from_borrowed_fd(said, PollFlags::IN));
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
        let heard: Vec<bool> =
            sources[2..].iter().map(|source| !source.revents().is_empty()).collect();
        drop(sources);
        if let Some(folder) = folder.as_mut()
            && folder.attend(&heard).is_err()
        {
            return;
        }
    }
}
