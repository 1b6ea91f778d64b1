//! A page on runs and trajectories: what `paretopo view` shows.
//!
//! ```
//! use paretopo_view::View;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let folder = tempfile::tempdir()?;
//!     let run = folder.path().join("grpo-1");
//!     std::fs::create_dir(&run)?;
//!     std::fs::write(run.join("metrics.jsonl"), "{\"step\":0,\"em\":0.5,\"calls\":1.0}\n")?;
//!
//!     // the page and what it asks for, as one file
//!     let view = View::new(vec![folder.path().to_owned()], |_| None);
//!     let page = String::from_utf8(paretopo_view::export(&view)?)?;
//!     assert!(page.starts_with("<!doctype html>") && page.contains("grpo-1"));
//!     Ok(())
//! }
//! ```
//!
//! What the page shows comes as JSON from [`View::answer`], a function of the address alone; the
//! server ([`serve`]) and the file ([`export`]) are two ways to bring it to a browser. Nothing is
//! written but indices of large files, nothing is fetched from elsewhere, and only GET is answered.
//!
//! **Trajectories are hostile.** A model wrote them. The page puts them into the document as text,
//! never as markup; its policy (CSP) allows no script but its own.
//!
//! **Others must not read.** A site in the same browser can send requests here. It cannot read the
//! answers, since no other origin is allowed; and a name that it has pointed at this machine (DNS
//! rebinding) is refused by its `Host`.

mod catalog;
mod episode;
mod episodes;
mod experiment;
mod export;
mod page;
mod series;
mod server;
mod settings;
mod summary;
mod tokens;
mod view;

pub use export::export;
pub use server::{ServerError, serve};
pub use view::{Refusal, View};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
