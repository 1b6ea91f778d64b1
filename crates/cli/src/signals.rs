//! Signals that ask the program to stop: Ctrl-C (SIGINT), SIGTERM and SIGHUP.
//!
//! The first sets a flag that recipes look at between steps, the second ends the process at once.
//! One that was ignored when the program started stays ignored: that is what `nohup` does with
//! SIGHUP, and a shell with SIGINT for what it runs in the background.

use crate::output::errln;
use libc::{c_int, sigset_t};
use std::sync::atomic::{AtomicBool, Ordering};

const ASKING: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Has `cancelled` set by the first signal that asks to stop.
pub(crate) fn watch(cancelled: &'static AtomicBool) {
    let handler = || {
        if cancelled.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    };
    // `ctrlc` takes all of them; while it does, those that are to stay ignored wait, and a waiting
    // signal is forgotten where it is ignored again
    let ignored = Ignored::held_back();
    let watched = ctrlc::set_handler(handler);
    ignored.ignore_again();
    if let Err(error) = watched {
        errln!("note: Ctrl-C will not stop gracefully: {error}");
    }
}

/// The signals that were ignored when the program started, blocked.
struct Ignored {
    signals: Vec<c_int>,
    before: sigset_t,
}

impl Ignored {
    #[expect(unsafe_code, reason = "signals have only C functions")]
    fn held_back() -> Self {
        // SAFETY: the structures are plain data, for which all zeros are valid, and live as long as
        // the calls that fill them; nothing else changes this thread's mask
        unsafe {
            let is_ignored = |signal: &c_int| {
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(*signal, std::ptr::null(), &raw mut action) == 0
                    && action.sa_sigaction == libc::SIG_IGN
            };
            let signals: Vec<c_int> = ASKING.into_iter().filter(is_ignored).collect();
            let mut held: sigset_t = std::mem::zeroed();
            let mut before: sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut held);
            for signal in &signals {
                libc::sigaddset(&raw mut held, *signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held, &raw mut before);
            Self { signals, before }
        }
    }

    #[expect(unsafe_code, reason = "signals have only C functions")]
    fn ignore_again(self) {
        // SAFETY: ignoring a signal runs no code of ours; the mask is the one from before
        unsafe {
            for signal in self.signals {
                libc::signal(signal, libc::SIG_IGN);
            }
            let before = &raw const self.before;
            libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut());
        }
    }
}
