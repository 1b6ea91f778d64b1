//! Threads that each do a part of a batch, instead of threads inside each operation.
//!
//! A policy small enough for a CPU has operations too small to split: most of their time would be
//! waiting for each other. A worker runs its part from end to end on its own, so `n` workers on `n`
//! cores do nearly `n` times the work. What they share is read only.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};

/// Above so many parameters operations are large enough to be split, and activations and a gradient
/// for each worker would cost too much memory.
const LARGE_MODEL: u64 = 500_000_000;
/// Bytes of weights that stay in a processor's caches from one step of decoding to the next.
const CACHED: u64 = 48 << 20;
/// Rows that are computed while one byte of each weight is read.
const ROWS_FOR_A_BYTE: usize = 6;
/// More workers than that wait for memory.
const MOST: usize = 8;

/// Weights that are packed for decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Bytes of all.
    pub bytes: u64,
    /// Bytes of one.
    pub each: usize,
}

impl Weights {
    /// Whether a step of decoding so many rows is over before the weights are read: they do not stay
    /// in the caches, and the rows are few for each byte. Measured with SmolLM2-135M on two cores:
    /// f32 between 16 and 64 rows, bf16 between 1 and 16.
    fn keep_waiting(self, rows: usize) -> bool {
        self.bytes > CACHED && rows <= ROWS_FOR_A_BYTE * self.each
    }
}

/// The workers; without any, work is done by the calling thread, whose operations may use all
/// threads.
#[derive(Debug, Default)]
pub struct Workers {
    pools: Vec<ThreadPool>,
}

impl Workers {
    /// `wanted` workers, or as many as suit a model of so many parameters: one for each thread, up
    /// to 8; just one above 500 million parameters.
    pub fn suitable(wanted: usize, threads: usize, parameters: u64) -> usize {
        match wanted {
            0 if parameters > LARGE_MODEL => 1,
            0 => threads.clamp(1, MOST),
            wanted => wanted,
        }
    }

    /// So many workers, which share `threads` threads.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(count: usize, threads: usize) -> Result<Self, String> {
        if count <= 1 {
            return Ok(Self::default());
        }
        Self::pools(count, threads)
    }

    fn pools(count: usize, threads: usize) -> Result<Self, String> {
        let pool = |_| ThreadPoolBuilder::new().num_threads((threads / count).max(1)).build();
        let pools = (0..count)
            .map(pool)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("no thread for a worker: {error}"))?;
        Ok(Self { pools })
    }

    /// Those that decode so many `rows` at a time, with weights that are packed. Each worker decodes a
    /// part of the rows, unless a step waits for memory: then all threads share the rows and each
    /// product, and read the weights once between them.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn of_rollouts(
        wanted: usize,
        threads: usize,
        rows: usize,
        weights: Weights,
    ) -> Result<Self, String> {
        match wanted {
            0 if weights.keep_waiting(rows) => Self::pools(1, threads),
            wanted => Self::new(Self::suitable(wanted, threads, 0), threads),
        }
    }

    /// How many parts are done at the same time; at least 1.
    pub fn count(&self) -> usize {
        self.pools.len().max(1)
    }

    /// Does all jobs; each worker takes the next one when it has done one. There is a state for
    /// each worker that is to take part, at most [`Self::count`]. `heard` gets what jobs tell, on
    /// the calling thread, as it comes.
    ///
    /// # Panics
    /// When a job does.
    pub fn run<S: Send, J: Send, E: Send>(
        &self,
        states: Vec<S>,
        jobs: Vec<J>,
        work: impl Fn(&mut S, J, &mut dyn FnMut(E)) + Sync,
        heard: &mut dyn FnMut(E),
    ) {
        let shares_threads = self.pools.len() > 1;
        if self.pools.is_empty() || (shares_threads && states.len() <= 1) {
            let mut state = states.into_iter().next();
            if let Some(state) = &mut state {
                jobs.into_iter().for_each(|job| work(state, job, heard));
            }
            return;
        }
        let queue = Mutex::new(VecDeque::from(jobs));
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for (pool, mut state) in self.pools.iter().zip(states) {
                let (queue, work, sender) = (&queue, &work, sender.clone());
                scope.spawn(move || {
                    pool.install(|| {
                        let next =
                            || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        while let Some(job) = next() {
                            // nobody listens any more only if the caller is panicking
                            work(&mut state, job, &mut |event| drop(sender.send(event)));
                        }
                    });
                });
            }
            drop(sender);
            receiver.iter().for_each(heard);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_and_heard_of() {
        for wanted in [1, 3] {
            let workers = Workers::new(wanted, 4).unwrap();
            assert_eq!(workers.count(), wanted);
            let mut heard = Vec::new();
            workers.run(
                vec![0; wanted],
                (0..100).collect(),
                |done, job, tell| {
                    *done += 1;
                    tell((job, rayon::current_num_threads()))
                },
                &mut |event| heard.push(event),
            );
            heard.sort_unstable();
            assert!(heard.iter().map(|(job, _)| *job).eq(0..100));
            // three workers on four threads: one thread each
            assert!(wanted == 1 || heard.iter().all(|(_, threads)| *threads == 1));
        }
    }

    #[test]
    fn the_number_of_workers_follows_threads_and_model() {
        let count = Workers::suitable;
        assert_eq!(count(0, 2, 1_000_000), 2);
        assert_eq!(count(0, 64, 1_000_000), 8);
        assert_eq!(count(0, 2, 600_000_000), 1);
        assert_eq!(count(3, 2, 600_000_000), 3);
    }

    #[test]
    fn rows_are_shared_where_a_step_waits_for_memory() {
        let count = |wanted, rows, bytes, each| {
            Workers::of_rollouts(wanted, 2, rows, Weights { bytes, each }).unwrap().count()
        };
        let (large, small) = (538 << 20, 4 << 20);
        // 6 rows for each byte of a weight: up to 24 in f32, up to 12 in bf16
        assert_eq!([24, 25].map(|rows| count(0, rows, large, 4)), [1, 2]);
        assert_eq!([12, 13].map(|rows| count(0, rows, large / 2, 2)), [1, 2]);
        assert_eq!(count(0, 1, small, 4), 2);
        assert_eq!(count(2, 1, large, 4), 2);
        // the one worker has all threads
        let together = Workers::of_rollouts(0, 2, 1, Weights { bytes: large, each: 4 }).unwrap();
        let mut heard = Vec::new();
        together.run(
            vec![()],
            vec![()],
            |(), (), tell| tell(rayon::current_num_threads()),
            &mut |threads| heard.push(threads),
        );
        assert_eq!(heard, [2]);
    }

    #[test]
    #[should_panic(expected = "scoped thread panicked")]
    fn a_panic_in_a_worker_reaches_the_caller() {
        Workers::new(2, 2).unwrap().run(
            vec![(), ()],
            vec![1, 2],
            |(), job, _: &mut dyn FnMut(())| assert_ne!(job, 2),
            &mut |()| {},
        );
    }
}
