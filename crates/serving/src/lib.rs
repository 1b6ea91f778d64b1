//! Inference servers as generators: vLLM and SGLang draw the tokens of rollouts, and compute with
//! the weights that a trainer gives them.
//!
//! [`Servers`] is a set of servers that hold the same model, and implements
//! [`Generators`](paretopo_generation::Generators): a row goes to the least loaded one, and its ids
//! come back as a stream of tokens with their log-probabilities. Ids go in and ids come out, so
//! that no text is ever tokenised again.
//!
//! **A turn is one request.** It asks for as many tokens as the row may still draw. The turn loop
//! reads what comes and pauses the row where it has seen enough; the stream is then closed, which
//! tells the server to stop. What follows a tool's output is another request, whose prefix the
//! server has in its cache.
//!
//! **What fails is tried again, elsewhere.** A row that has no stream any more goes on from the ids
//! that it holds, after a pause that doubles, and up to [`ServerConfig::retries`] times without a
//! token between. Its further tokens are then drawn from another seed. A server that fails again
//! and again is left alone for a while.
//!
//! **Weights are given and checked.** [`Servers::load`] hands over a version, and then lets each
//! server score a [`Fingerprint`]: a fixed prompt, with the trainer's own log-probabilities. One
//! that has failed since is checked again before it is used, and gets the weights anew if it has
//! others.
//!
//! Left out: NCCL as the transport of weights; experts, entropies and alternatives of tokens, which
//! these servers do not tell in a stream.

mod config;
mod error;
mod fingerprint;
mod http;
mod protocol;
mod remote;
mod rows;
mod server;
mod servers;
mod sglang;
mod vllm;

pub use config::ServerConfig;
pub use error::ServingError;
pub use fingerprint::Fingerprint;
pub use protocol::Protocol;
pub use servers::{Needs, Servers, Updated, Weights};
