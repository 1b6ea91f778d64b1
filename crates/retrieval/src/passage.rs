//! What is searched and found.

use serde::{Deserialize, Serialize};

/// A passage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Unique in its corpus.
    pub id: String,
    /// Its title; several passages may share one.
    pub title: String,
    /// Its text.
    pub text: String,
}

/// Title and text from Search-R1's `contents`: the first line is the title, in quotation marks.
pub(crate) fn split_contents(contents: &str) -> (String, String) {
    let (title, text) = contents.split_once('\n').unwrap_or(("", contents));
    let quoted = title.strip_prefix('"').and_then(|title| title.strip_suffix('"'));
    (quoted.unwrap_or(title).to_owned(), text.to_owned())
}
