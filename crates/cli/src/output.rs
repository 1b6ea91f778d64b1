//! What the program writes: results to standard output, everything else to standard error, and both
//! to the log of a run once there is one. Nothing here panics or ends the program, whatever became
//! of the two streams; the macros of the standard library do, so nobody uses them
//! (`tests/layering.rs`).
//!
//! - A reader that went away (`| head`) has had enough: nothing more is written, and that is no
//!   error.
//! - A stream that cannot be written otherwise (a full disk, a terminal that is gone) is given up,
//!   too. A run goes on, and its log has what could not be written. A command whose output is all
//!   there is of it (`plan > file`) ends with an error, after all it could do.
//! - What was closed before the program began is `/dev/null`, by the standard library.

use crate::problem::Problem;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Writes a line to standard output, which is for results.
macro_rules! outln {
    ($($part:tt)*) => { $crate::output::result(format_args!("{}\n", format_args!($($part)*))) };
}

/// Writes a line to standard error, which is for all that is no result.
macro_rules! errln {
    ($($part:tt)*) => { $crate::output::remark(format_args!("{}\n", format_args!($($part)*))) };
}

pub(crate) use {errln, outln};

/// How long a stream that takes nothing at the moment is waited for. Only one that others have made
/// non-blocking ever says so.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are kept for a log that is not open yet.
const KEPT: usize = 64 * 1024;

/// One of the two, by its place in lists.
#[derive(Clone, Copy)]
enum Stream {
    Out = 0,
    Error = 1,
}

/// What became of the streams, and the log.
struct Streams {
    out_is_open: bool,
    error_is_open: bool,
    /// Why standard output lost something, unless its reader went away.
    lost: Option<std::io::Error>,
    /// What was said before the log was there, and to which stream.
    early: Vec<(Option<Stream>, String)>,
    log: Option<File>,
    /// Whether standard output, or standard error, is the log's file, as in the runs of `compare`.
    is_log: [bool; 2],
}

static STREAMS: Mutex<Streams> = Mutex::new(Streams {
    out_is_open: true,
    error_is_open: true,
    lost: None,
    early: Vec::new(),
    log: None,
    is_log: [false; 2],
});

/// Writes a part of the result to standard output.
pub(crate) fn result(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    streams.append(Some(Stream::Out), &text);
    if streams.out_is_open
        && let Err(error) = write_to(&mut std::io::stdout().lock(), text.as_bytes())
    {
        streams.out_is_open = false;
        streams.lost = Some(error).filter(|error| error.kind() != ErrorKind::BrokenPipe);
    }
}

/// Whether standard output still takes what is written to it.
pub(crate) fn is_wanted() -> bool {
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner).out_is_open
}

/// Writes something that is no result to standard error.
pub(crate) fn remark(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    streams.append(Some(Stream::Error), &text);
    if streams.error_is_open && write_to(&mut std::io::stderr().lock(), text.as_bytes()).is_err() {
        streams.error_is_open = false;
    }
}

/// Writes a line to the log alone: what a terminal shows in another way, or `--quiet` keeps back.
pub(crate) fn log_line(text: &str) {
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner).append(None, &format!("{text}\n"));
}

/// From now on everything is appended to `log.txt` in a run's folder, too, beginning with what was
/// said so far. A log that cannot be written is done without.
pub(crate) fn open_log(folder: &Path) {
    let path = folder.join("log.txt");
    let Ok(mut log) = File::options().create(true).append(true).open(&path) else { return };
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let of_log = log.metadata().map(|file| (file.dev(), file.ino())).ok();
    streams.is_log = ["/dev/stdout", "/dev/stderr"].map(|stream| {
        let file = std::fs::metadata(stream).map(|file| (file.dev(), file.ino())).ok();
        file.is_some() && file == of_log
    });
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let head = format!("--- process {}, {} s since 1970\n", std::process::id(), since.as_secs());
    let _ = log.write_all(head.as_bytes());
    streams.log = Some(log);
    for (stream, text) in std::mem::take(&mut streams.early) {
        streams.append(stream, &text);
    }
}

/// Lets the log know of panics, too, with their place; standard error hears of them as before.
pub(crate) fn log_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        // not where the panic arose while something was written
        if let Ok(mut streams) = STREAMS.try_lock() {
            streams.append(Some(Stream::Error), &format!("{panic}\n"));
        }
    }));
}

/// The end of the program.
///
/// # Errors
/// When a result could be written nowhere, though somebody was to read it.
pub(crate) fn finish() -> Result<(), Problem> {
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    match streams.lost.take() {
        Some(error) if streams.log.is_none() => {
            Err(Problem::failure(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

impl Streams {
    /// To the log, unless a stream has brought it there, or to what it will begin with.
    fn append(&mut self, stream: Option<Stream>, text: &str) {
        let is_there = stream.is_some_and(|stream| self.is_log[stream as usize]);
        match &mut self.log {
            Some(_) if is_there => {}
            // a disk that is full ends the run where it matters, at its next checkpoint
            Some(log) => drop(log.write_all(text.as_bytes())),
            None => {
                let kept: usize = self.early.iter().map(|(_, text)| text.len()).sum();
                if kept + text.len() <= KEPT {
                    self.early.push((stream, text.to_owned()));
                }
            }
        }
    }
}

/// Writes all of it and flushes.
fn write_to(stream: &mut impl Write, mut text: &[u8]) -> std::io::Result<()> {
    let mut waited = Duration::ZERO;
    let mut retry = |error: std::io::Error| match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock if waited < PATIENCE => {
            let pause = Duration::from_millis(10);
            std::thread::sleep(pause);
            waited += pause;
            Ok(())
        }
        _ => Err(error),
    };
    while !text.is_empty() {
        match stream.write(text) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => text = &text[written..],
            Err(error) => retry(error)?,
        }
    }
    loop {
        match stream.flush() {
            Ok(()) => return Ok(()),
            Err(error) => retry(error)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, after so many refusals.
    struct Slow {
        refusals: usize,
        kind: ErrorKind,
        taken: Vec<u8>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.refusals > 0 {
                self.refusals -= 1;
                return Err(self.kind.into());
            }
            self.refusals = 1;
            let count = bytes.len().min(3);
            self.taken.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_that_is_busy_gets_every_byte_once() {
        for kind in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
            let mut slow = Slow { refusals: 2, kind, taken: Vec::new() };
            write_to(&mut slow, b"every byte once").unwrap();
            assert_eq!(slow.taken, b"every byte once");
        }
        let mut full = Slow { refusals: 1, kind: ErrorKind::StorageFull, taken: Vec::new() };
        assert_eq!(write_to(&mut full, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
