//! The ranks of a run as MPI processes: `Mpi`, by rsmpi, over whatever the MPI library finds
//! between them (shared memory, TCP, InfiniBand).
//!
//! One thread initialises the library and makes all calls, so that a library without support for
//! threads will do. A message is its length and pieces of at most 1 GiB, since MPI counts bytes in
//! 32 bits. Who waits looks ever less often, and so leaves the core to whoever computes on it.
//!
//! **Absent:** collective calls of the library. Their sums have an order of their own, and the bits
//! of a sum are to be the same for any number of ranks.

#[cfg(feature = "mpi")]
mod process;

#[cfg(feature = "mpi")]
pub use process::Mpi;
