//! Stands for the embedded retriever in a build without the feature `index`: there is no way to
//! make one, so that what asks for it is told, and what would use it need not know.

use crate::{Hit, Passage, RetrievalError, RetrieveError, Retriever};
use std::convert::Infallible;
use std::path::Path;
use std::time::Instant;

/// An index of passages, of which this build has none.
pub struct PassageIndex(Infallible);

impl PassageIndex {
    /// The index of a corpus file.
    ///
    /// # Errors
    /// Always, since it is left out of this build.
    pub fn open_or_build(
        _corpus: &Path,
        _cache: &Path,
        _progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, RetrievalError> {
        Err(RetrievalError::LeftOut)
    }

    /// An index in memory.
    ///
    /// # Errors
    /// Always, since it is left out of this build.
    pub fn in_memory(_passages: &[Passage]) -> Result<Self, RetrievalError> {
        Err(RetrievalError::LeftOut)
    }

    /// Number of passages.
    pub fn len(&self) -> u64 {
        match self.0 {}
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        match self.0 {}
    }

    /// Ids that several passages share.
    ///
    /// # Errors
    /// Never, since there is no index.
    pub fn repeated_ids(&self) -> Result<Option<(u64, String)>, RetrieveError> {
        match self.0 {}
    }

    /// What a person should know of the ids of a corpus.
    ///
    /// # Errors
    /// Never, since there is no index.
    pub fn note_of_ids(&self, _corpus: &Path) -> Result<Option<String>, RetrieveError> {
        match self.0 {}
    }

    /// The best passages.
    ///
    /// # Errors
    /// Never, since there is no index.
    pub fn search(&self, _query: &str, _topk: usize) -> Result<Vec<Hit>, RetrieveError> {
        match self.0 {}
    }
}

impl Retriever for PassageIndex {
    fn retrieve(
        &self,
        _query: &str,
        _topk: usize,
        _deadline: Instant,
    ) -> Result<Vec<Hit>, RetrieveError> {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_left_out_is_refused_with_a_hint() {
        let refused = [
            PassageIndex::in_memory(&[]).err().unwrap(),
            PassageIndex::open_or_build(Path::new("corpus"), Path::new("cache"), &mut |_, _| {})
                .err()
                .unwrap(),
        ];
        for error in refused {
            assert!(error.to_string().contains("--features search"), "{error}");
        }
    }
}
