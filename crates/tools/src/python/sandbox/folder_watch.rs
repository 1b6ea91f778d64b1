//! What programs have in scratch folders on the disk: measured while they run, removed afterwards.
//! The interpreter, and each session's warden, has a socket to say by single letters what its
//! program does:
//!
//! | letter | from | to the keeper | from the keeper |
//! |---|---|---|---|
//! | `w` | both | a program runs | |
//! | `p` | both | it stands still | let it stand still |
//! | `c` | | | it may go on |
//! | `f` | | | it has too much in files |
//! | `e` | interpreter | it has ended | |
//! | `m` | warden | its call is over and it stands still | |
//! | `s` | interpreter | what it has left is to be removed | |
//! | `n` | interpreter | a session begins, with its warden's socket; over that it gets a folder | |
//! | `d` | | | done, after `e`, `m` and `s` |
//!
//! A warden whose socket has closed has ended, and so has its session.

use super::scratch::{ScratchRoot, is_full, sweep};
use super::{ENTRIES, LauncherSettings, files};
use rustix::io::{Errno, Result, write};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a running program's folder is measured, for which the program is stopped: who moves a
/// folder while it is measured is not seen in it. What a disk takes in the meantime is the most
/// that a program may have too much.
const MEASURED: Duration = Duration::from_millis(10);

/// Whose programs have a folder.
struct Watched {
    said: OwnedFd,
    folder: PathBuf,
    /// The moment from which a running program's folder is to be measured again.
    measure: Option<Instant>,
}

/// All scratch folders of an interpreter; the first is its own, the others are its sessions'.
pub(super) struct FolderWatch<'a> {
    watched: Vec<Watched>,
    settings: &'a LauncherSettings,
    /// Stands before the root, so that it has ended when that is removed.
    sweeper: Sweeper,
    root: ScratchRoot,
}

/// Removes what sessions have left, on a thread of its own: the programs of others are measured
/// meanwhile.
struct Sweeper {
    swept: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    fn new(folder: PathBuf) -> Self {
        let (swept, left) = channel();
        let thread = std::thread::spawn(move || left.iter().for_each(|()| sweep(&folder)));
        Self { swept: Some(swept), thread: Some(thread) }
    }

    fn wake(&self) {
        // it goes on until this ends
        let _ = self.swept.as_ref().map(|swept| swept.send(()));
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.swept.take());
        // a panic there has left what the folder's end removes
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl<'a> FolderWatch<'a> {
    /// Of an interpreter that speaks over `said`.
    pub(super) fn new(root: ScratchRoot, said: OwnedFd, settings: &'a LauncherSettings) -> Self {
        let watched = vec![Watched { said, folder: root.programs(), measure: None }];
        let sweeper = Sweeper::new(root.swept());
        Self { watched, settings, sweeper, root }
    }

    /// When a program is to be measured next.
    pub(super) fn next_measure(&self) -> Option<Instant> {
        self.watched.iter().filter_map(|one| one.measure).min()
    }

    /// What may have something to say.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.watched.iter().map(|one| one.said.as_fd())
    }

    /// Hears those of the sources that have something to say, and asks for the measures that are
    /// due.
    ///
    /// # Errors
    /// When the interpreter is gone.
    pub(super) fn attend(&mut self, heard: &[bool]) -> Result<()> {
        // from behind, as those that are gone are removed and new ones are added
        for at in (0..heard.len()).rev().filter(|at| heard[*at]) {
            match self.hear(at) {
                Err(error) if at == 0 => return Err(error),
                Err(_) => {
                    self.root.put_away(&self.watched.remove(at).folder);
                    self.sweeper.wake();
                }
                Ok(()) => {}
            }
        }
        for one in &mut self.watched {
            if one.measure.is_some_and(|at| at <= Instant::now()) {
                // it says when the program stands still; who is gone is heard of next
                one.measure = None;
                let _ = write(&one.said, b"p");
            }
        }
        Ok(())
    }

    /// What one of them says.
    fn hear(&mut self, at: usize) -> Result<()> {
        let mut words = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let said = &self.watched[at].said;
        let room = &mut [IoSliceMut::new(&mut words)];
        let heard = recvmsg(said, room, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
        let mut wardens: Vec<OwnedFd> = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                wardens.extend(descriptors);
            }
        }
        if heard == 0 {
            return Err(Errno::PIPE);
        }
        for word in &words[..heard] {
            match word {
                // without its socket, when there are no descriptors left, the warden sees the end
                b'n' if at == 0 => wardens.pop().map_or((), |warden| self.begin(warden)),
                b's' if at == 0 => {
                    sweep(&self.root.swept());
                    write(&self.watched[at].said, b"d").map(drop)?;
                }
                word => self.watched[at].hear(*word, self.settings.files)?,
            }
        }
        Ok(())
    }

    /// Makes a session's folder and tells its warden; one that gets no answer ends.
    fn begin(&mut self, said: OwnedFd) {
        let Ok(folder) = self.root.session() else { return };
        if tell(&said, &folder, &self.settings.readable).is_ok() {
            self.watched.push(Watched { said, folder, measure: None });
        } else {
            self.root.put_away(&folder);
        }
    }
}

impl Watched {
    fn hear(&mut self, word: u8, bytes: usize) -> Result<()> {
        let answer: &[u8] = match word {
            b'w' => {
                self.measure = Some(Instant::now() + MEASURED);
                return Ok(());
            }
            b'p' => {
                let full = is_full(&self.folder, bytes, ENTRIES);
                // once is enough
                self.measure = if full { None } else { Some(Instant::now() + MEASURED) };
                if full { b"f" } else { b"c" }
            }
            b'e' => {
                self.measure = None;
                b"d"
            }
            b'm' => {
                self.measure = None;
                if is_full(&self.folder, bytes, ENTRIES) { b"fd" } else { b"d" }
            }
            // nobody says anything else
            _ => return Err(Errno::PROTO),
        };
        write(&self.said, answer).map(drop)
    }
}

/// Tells a warden the name of its session's folder, and hands it Landlock's rules, where there are
/// any, by which nothing but this folder is writable.
fn tell(said: &OwnedFd, folder: &Path, readable: &[PathBuf]) -> Result<()> {
    let name = folder.file_name().ok_or(Errno::INVAL)?.as_bytes();
    // the interpreter has told already if this machine has no Landlock
    let rules = files::prepared(readable, folder).ok();
    let rules: Vec<BorrowedFd<'_>> = rules.iter().map(|rules| rules.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !rules.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&rules)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(said, &[IoSlice::new(name)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}
