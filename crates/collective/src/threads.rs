//! Ranks as threads of one process, joined by channels: for tests, and for several devices of one
//! machine.

use crate::{Collective, CollectiveError};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// One of the ranks. A rank that is dropped is lost to the others.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    /// To each rank; its own is never used.
    to: Vec<Sender<Vec<u8>>>,
    /// From each rank; behind a lock, since a receiver is of one thread.
    from: Vec<Mutex<Receiver<Vec<u8>>>>,
}

impl Threads {
    /// So many ranks, each to be given to a thread.
    pub fn new(ranks: usize) -> Vec<Self> {
        let empty = |_| (Vec::with_capacity(ranks), Vec::with_capacity(ranks));
        let mut ends: Vec<(Vec<_>, Vec<_>)> = (0..ranks).map(empty).collect();
        for from in 0..ranks {
            for to in 0..ranks {
                let (sender, receiver) = channel();
                ends[from].0.push(sender);
                ends[to].1.push(Mutex::new(receiver));
            }
        }
        let numbered = ends.into_iter().enumerate();
        numbered.map(|(rank, (to, from))| Self { rank, to, from }).collect()
    }

    fn lost(rank: usize) -> CollectiveError {
        CollectiveError::Lost { rank, reason: "its thread has ended".into() }
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.to.len()
    }

    fn send(&self, to: usize, bytes: Vec<u8>) -> Result<(), CollectiveError> {
        self.to[to].send(bytes).map_err(|_| Self::lost(to))
    }

    fn receive(&self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        let receiver = self.from[from].lock().unwrap_or_else(PoisonError::into_inner);
        receiver.recv().map_err(|_| Self::lost(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_and_by_their_sender() {
        let mut ranks = Threads::new(3);
        let (c, b, a) = (ranks.pop().unwrap(), ranks.pop().unwrap(), ranks.pop().unwrap());
        c.send(0, vec![30]).unwrap();
        b.send(0, vec![20]).unwrap();
        b.send(0, vec![21]).unwrap();
        assert_eq!(a.receive(1), Ok(vec![20]));
        assert_eq!(a.receive(2), Ok(vec![30]));
        assert_eq!(a.receive(1), Ok(vec![21]));
    }

    #[test]
    fn a_thread_that_ended_is_lost() {
        let mut ranks = Threads::new(2);
        let (other, own) = (ranks.pop().unwrap(), ranks.pop().unwrap());
        other.send(0, vec![1]).unwrap();
        drop(other);
        // what it sent before is there still
        assert_eq!(own.receive(1), Ok(vec![1]));
        assert_eq!(own.receive(1), Err(Threads::lost(1)));
        assert_eq!(own.send(1, vec![2]), Err(Threads::lost(1)));
    }
}
