//! What may break on input that is not ours, and how it is kept from breaking us: a panic of a
//! library becomes an error, and a process that hangs, crashes or lies is killed.
//!
//! ```
//! use paretopo_containment::{Farewell, Worker, WorkerFailure, contained};
//! use std::time::Duration;
//!
//! fn main() -> std::io::Result<()> {
//!     let numbers = vec![1, 2, 3];
//!     let panic = contained(|| numbers[3]);
//!     assert_eq!(panic, Err("index out of bounds: the len is 3 but the index is 3".to_owned()));
//!
//!     // a worker answers in JSON over its standard input; this one sends back what it is sent
//!     let echo = ["sh", "-c", "cat >&0"].map(Into::into);
//!     let mut echo = Worker::start(&echo, 1024, Farewell::Kill)?;
//!     assert_eq!(echo.ask::<u32>(&7, Duration::from_secs(10)), Ok(7));
//!
//!     // one that says nothing is late, and its process group is killed when it is dropped
//!     let silent = ["sh", "-c", "sleep 60"].map(Into::into);
//!     let mut silent = Worker::start(&silent, 1024, Farewell::Kill)?;
//!     let answer = silent.ask::<u32>(&7, Duration::from_millis(50));
//!     assert_eq!(answer, Err(WorkerFailure::Late));
//!     Ok(())
//! }
//! ```
//!
//! Two walls of different height. [`contained`] catches the panic of a library, which is enough
//! where time and memory are bounded. A [`Worker`] is a process: it can be killed at a deadline,
//! its memory can be limited, its crash is an answer. Nothing that it says in a [`Conversation`]
//! is believed but the answer that waits. [`serve`] is the other end of one. [`end_with_parent`] is
//! for processes that nobody may be left to kill. A [`LineProcess`] is a program of somebody else
//! that answers lines.

mod channel;
mod conversation;
mod lines;
mod panics;
mod worker;

pub use conversation::{Conversation, WorkerFailure};
pub use lines::{Launch, LineProcess};
pub use panics::{contained, silence_contained_panics};
pub use worker::{Farewell, IdleWorkers, Worker, end_with_parent, kill_process_group, say, serve};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
