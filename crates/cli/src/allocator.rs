//! The allocator of the binary: it counts memory for workers, which are held to a limit, and says
//! who was out of memory where an allocation fails.
//!
//! A process that does the work itself is not counted. When the system has no memory for it, it
//! says what it was doing and what to lower, writes the same behind the mark of its run folder, and
//! ends with an exit code of its own. All this allocates nothing. It is for a limit on the address
//! space (`ulimit -v`) and for systems that promise no more than they have; where the kernel
//! promises more, it kills instead, which the next process of the run tells.

use crate::problem::OUT_OF_MEMORY;
use monty_alloc::LimitedAllocator;
use paretopo_training::{Stage, write_reason};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
pub(crate) struct Allocator;

/// Whether this process does the work itself. Until it says so it counts, as workers do: a count
/// must begin with the process.
static TELLS: AtomicBool = AtomicBool::new(false);

/// From now on this process is no worker.
pub(crate) fn tell_failures() {
    TELLS.store(true, Ordering::Relaxed);
}

fn tells() -> bool {
    TELLS.load(Ordering::Relaxed)
}

/// What the system gave, if it gave something.
fn given(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() {
        out_of_memory(bytes);
    }
    pointer
}

// SAFETY: every method hands its arguments on unchanged, to the system's allocator or to one that
// does the same, and returns what that returned. Both take back what the other has given, since
// both take it from the system's.
#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout, unchanged
        unsafe {
            match tells() {
                true => given(System.alloc(layout), layout.size()),
                false => LimitedAllocator.alloc(layout),
            }
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's pointer and layout, unchanged
        unsafe {
            match tells() {
                true => System.dealloc(pointer, layout),
                false => LimitedAllocator.dealloc(pointer, layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout, unchanged
        unsafe {
            match tells() {
                true => given(System.alloc_zeroed(layout), layout.size()),
                false => LimitedAllocator.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's pointer, layout and size, unchanged
        unsafe {
            match tells() {
                true => given(System.realloc(pointer, layout, size), size),
                false => LimitedAllocator.realloc(pointer, layout, size),
            }
        }
    }
}

/// Text that needs no allocation; what does not fit is left out.
struct Text {
    bytes: [u8; 1024],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let free = &mut self.bytes[self.length..];
        let taken = text.len().min(free.len());
        free[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        Ok(())
    }
}

/// What is said when so many bytes could not be had.
fn reason(bytes: usize, stage: Stage) -> Text {
    let mut text = Text { bytes: [0; 1024], length: 0 };
    // writing into it does not fail
    let _ = writeln!(
        text,
        "out of memory while {}: the system gives no {bytes} bytes more\nhint: {}",
        stage.what(),
        stage.lower()
    );
    text
}

/// Says who was out of memory, and ends the process at once: nothing else can be relied on now.
#[cold]
fn out_of_memory(bytes: usize) -> ! {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if TOLD.swap(true, Ordering::Relaxed) {
        // another thread is telling; a process that cannot even tell ends nevertheless
        std::thread::sleep(std::time::Duration::from_secs(1));
    } else {
        let text = reason(bytes, Stage::now());
        let text = &text.bytes[..text.length];
        write_reason(text);
        // without a lock that another thread may hold, and without a buffer
        let mut error = std::mem::ManuallyDrop::new(standard_error());
        // nobody may be listening
        let _ = error.write_all(b"\nerror: ").and_then(|()| error.write_all(text));
    }
    end()
}

#[cfg(unix)]
fn standard_error() -> std::fs::File {
    use std::os::fd::FromRawFd;
    // SAFETY: descriptor 2 is standard error, or closed, which makes the write fail; it is never
    // closed here, as the caller keeps it from being dropped
    #[expect(unsafe_code, reason = "std's own standard error takes a lock")]
    unsafe {
        std::fs::File::from_raw_fd(2)
    }
}

#[cfg(not(unix))]
fn standard_error() -> std::io::Stderr {
    std::io::stderr()
}

/// Without destructors and `atexit`, which may allocate.
fn end() -> ! {
    #[cfg(unix)]
    // SAFETY: it does not return, and touches nothing of this process
    #[expect(unsafe_code, reason = "std has no exit that runs nothing before it")]
    unsafe {
        libc::_exit(OUT_OF_MEMORY.into())
    }
    #[cfg(not(unix))]
    std::process::exit(OUT_OF_MEMORY.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_and_a_hint() {
        let text = reason(4096, Stage::Rollout);
        let text = std::str::from_utf8(&text.bytes[..text.length]).unwrap();
        let said = "out of memory while playing episodes: the system gives no 4096 bytes more\n\
                    hint: lower `rollout.batch_size`";
        assert!(text.starts_with(said) && text.ends_with("`precision=bf16`\n"), "{text}");
    }

    #[test]
    fn every_reason_fits() {
        for stage in [Stage::Other, Stage::Loading, Stage::Rollout, Stage::Gradient] {
            assert!(reason(usize::MAX, stage).length < 1024, "{stage:?}");
        }
        let mut text = Text { bytes: [0; 1024], length: 1020 };
        write!(text, "abcdef").unwrap();
        assert_eq!((text.length, &text.bytes[1020..]), (1024, &b"abcd"[..]));
    }
}
