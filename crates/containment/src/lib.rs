//! What may break on input that is not ours, and how it is kept from breaking us.
//!
//! Two walls of different height. [`contained`] catches the panic of a library, which is enough
//! where time and memory are bounded. A [`Worker`] is a process: it can be killed at a deadline,
//! its memory can be limited, its crash is an answer, and nothing that it says in a [`Conversation`]
//! is believed but the answer that waits. [`serve`] is the other end of one. [`end_with_parent`] is for processes that
//! nobody may be left to kill.

mod channel;
mod conversation;
mod panics;
mod worker;

pub use conversation::{Conversation, WorkerFailure};
pub use panics::{contained, silence_contained_panics};
pub use worker::{Farewell, IdleWorkers, Worker, end_with_parent, say, serve};
