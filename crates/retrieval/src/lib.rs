//! Passages to search in: corpus files, the BM25 index over them, and both ends of the protocol by
//! which retrievers are reached.
//!
//! ```
//! use paretopo_retrieval::{Passage, PassageIndex, Retriever};
//! use std::time::{Duration, Instant};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let passage = |id: &str, title: &str, text: &str| Passage {
//!         id: id.into(),
//!         title: title.into(),
//!         text: text.into(),
//!     };
//!     let index = PassageIndex::in_memory(&[
//!         passage("1", "Mercury", "The planet closest to the sun."),
//!         passage("2", "Neptune", "The planet farthest from the sun."),
//!         passage("3", "Freddie Mercury", "The singer of a band."),
//!     ])?;
//!
//!     let deadline = Instant::now() + Duration::from_secs(10);
//!     let hits = index.retrieve("Which planet is farthest?", 2, deadline)?;
//!     assert_eq!(hits[0].passage.title, "Neptune");
//!     assert!(hits[0].score > hits[1].score);
//!     Ok(())
//! }
//! ```
//!
//! A [`Retriever`] finds the passages for a query, by a deadline. Two exist: [`PassageIndex`],
//! which is embedded, and [`RemoteRetriever`], which asks a server; `server` is such a server over
//! an index. Nothing here knows agents or tools.
//!
//! Features, all of them in the default: `index` (without it a [`PassageIndex`] is refused),
//! `server`, and `https` (without it servers are asked by `http` alone).

#[cfg(feature = "index")]
mod analyzer;
mod breaker;
#[cfg(feature = "index")]
mod corpus;
mod error;
#[cfg(feature = "index")]
mod index;
#[cfg(not(feature = "index"))]
#[path = "index_left_out.rs"]
mod index;
mod passage;
mod protocol;
mod remote;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "https")]
mod trust;
#[cfg(not(feature = "https"))]
#[path = "trust_left_out.rs"]
mod trust;
#[cfg(feature = "index")]
mod words_of_text;

pub use breaker::{Breaker, BreakerConfig, BreakerOpen};
#[cfg(feature = "index")]
pub use corpus::CorpusReader;
pub use error::{RetrievalError, RetrieveError};
pub use index::PassageIndex;
pub use passage::Passage;
pub use protocol::{RetrieveRequest, RetrieveResponse};
pub use remote::{RemoteConfig, RemoteRetriever, check_reachable, http_agent, is_encrypted};
pub use trust::{Encrypted, Trust, why_untrusted};

use std::time::Instant;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// A passage that was found, with its score; higher is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The passage.
    pub passage: Passage,
    /// Its score; for an index BM25.
    pub score: f32,
}

/// Something that finds passages.
pub trait Retriever: Send + Sync {
    /// The best passages for `query`, best first, at most `topk`.
    ///
    /// # Errors
    /// When nothing can be said by the deadline, or the retriever is out of order.
    fn retrieve(
        &self,
        query: &str,
        topk: usize,
        deadline: Instant,
    ) -> Result<Vec<Hit>, RetrieveError>;
}
