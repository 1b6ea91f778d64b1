//! The memory of a backend while something is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes of a device's memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Held by tensors.
    pub(crate) in_use: u64,
    /// Held by the backend's pools, tensors included.
    pub(crate) reserved: u64,
}

/// The usage now, as any thread may ask; `None` where the backend cannot tell.
pub(crate) type Memory = Box<dyn Fn() -> Option<Usage> + Send + Sync>;

/// How often the backend is asked.
const EVERY: Duration = Duration::from_millis(2);

/// Does `work`, and finds the most memory that was seen meanwhile.
pub(crate) fn peak_while(memory: &Memory, work: impl FnOnce()) -> Option<Usage> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak: Option<Usage> = None;
            while !done.load(Ordering::Relaxed) {
                let usage = memory()?;
                let before = peak.unwrap_or_default();
                peak = Some(Usage {
                    in_use: usage.in_use.max(before.in_use),
                    reserved: usage.reserved.max(before.reserved),
                });
                std::thread::sleep(EVERY);
            }
            peak
        });
        // also where `work` panics: the scope waits for the watcher
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let guard = Done(&done);
        work();
        drop(guard);
        watcher.join().unwrap()
    })
}

/// The most memory that this process has held, in bytes; 0 where the system does not tell.
pub(crate) fn host_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: 0 kB");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
