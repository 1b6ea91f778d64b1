//! Several processes that compute as one: the seam between a training run and what carries its
//! messages.
//!
//! Ranks are numbered from 0. A [`Collective`] does no more than carry bytes from one rank to
//! another, in order; broadcasts and gathers ([`exchange`]) and sums ([`tree`]) are built on that
//! and are the same for all of them. Sums are added in a fixed binary tree, so that they have the
//! same bits for any number of ranks.
//!
//! **Absent:** a rank that joins or leaves. A rank that is lost ends the run, which goes on from its
//! latest checkpoint with as many ranks as there are then.

pub mod exchange;
mod threads;
pub mod tree;

pub use threads::Threads;

use std::any::Any;
use std::fmt::Debug;

/// Carries messages between the ranks of a run.
///
/// Messages from one rank to another arrive in the order in which they were sent.
pub trait Collective: Debug + Send + Sync {
    /// This process's number, below [`Self::ranks`].
    fn rank(&self) -> usize;

    /// How many there are; at least 1.
    fn ranks(&self) -> usize;

    /// Sends bytes to another rank; may wait until they are received.
    ///
    /// # Errors
    /// When the rank is lost.
    fn send(&self, to: usize, bytes: Vec<u8>) -> Result<(), CollectiveError>;

    /// Waits for the next bytes from another rank.
    ///
    /// # Errors
    /// When the rank is lost.
    fn receive(&self, from: usize) -> Result<Vec<u8>, CollectiveError>;

    /// What carries tensors past the host's memory, where there is something; all ranks have it, or
    /// none.
    fn tensors(&self) -> Option<&dyn TensorCarrier> {
        None
    }
}

/// Carries tensors from the memory of one rank's device into that of another's.
///
/// A tensor is burn's `Tensor<B, 1>` of f32 with at least one number, `B` without autodiff being the
/// backend that the carrier is made for. It is in a box, since who carries bytes knows no backends.
pub trait TensorCarrier {
    /// Sends tensors to another rank; waits until they may be changed.
    ///
    /// # Errors
    /// When the rank is lost, or they are no such tensors.
    fn send(&self, to: usize, tensors: Vec<Box<dyn Any + Send>>) -> Result<(), CollectiveError>;

    /// Waits for tensors of another rank, of these lengths.
    ///
    /// # Errors
    /// When the rank is lost.
    fn receive(
        &self,
        from: usize,
        lengths: &[usize],
    ) -> Result<Vec<Box<dyn Any + Send>>, CollectiveError>;
}

/// Why ranks do not work together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectiveError {
    /// A rank is there no more.
    #[error("rank {rank} is lost: {reason}")]
    Lost {
        /// Which.
        rank: usize,
        /// What is known.
        reason: String,
    },
    /// A message is not what was to come.
    #[error("the message of rank {rank} is not what was expected: {reason}")]
    Unexpected {
        /// Who sent it.
        rank: usize,
        /// What is wrong.
        reason: String,
    },
}

/// A run in one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OneProcess;

impl OneProcess {
    /// There is nobody else.
    fn nobody(rank: usize) -> CollectiveError {
        CollectiveError::Lost { rank, reason: "the run has one process".into() }
    }
}

impl Collective for OneProcess {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn send(&self, to: usize, _: Vec<u8>) -> Result<(), CollectiveError> {
        Err(Self::nobody(to))
    }

    fn receive(&self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        Err(Self::nobody(from))
    }
}
