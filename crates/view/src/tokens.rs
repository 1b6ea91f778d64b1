//! The text of each token of a trajectory, by the tokenizer that lies in the run's folder.

use paretopo_chat::Tokenizer;
use paretopo_trajectory::TokenId;
use std::path::{Path, PathBuf};

/// Ids before a token with which it is decoded: a decoder may drop a space at the very beginning.
const CONTEXT: usize = 4;
/// Ids that may make up one character.
const MOST_OF_A_CHARACTER: usize = 8;

/// The tokenizer of a run: that of its policy, or of a checkpoint.
pub(crate) fn tokenizer_file(run: &Path) -> Option<PathBuf> {
    let checkpoints = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    let latest = checkpoints.map(|entry| entry.path()).max();
    let folders = [Some(run.join("policy")), Some(run.join("best")), latest, Some(run.to_owned())];
    let files = folders.into_iter().flatten().map(|folder| folder.join("tokenizer.json"));
    files.into_iter().find(|file| file.is_file())
}

/// The text of each id. Of ids that make up a character together the last one has it.
pub(crate) fn texts(tokenizer: &Tokenizer, ids: &[TokenId]) -> Option<Vec<String>> {
    let mut texts = vec![String::new(); ids.len()];
    let mut from = 0usize;
    for place in 0..ids.len() {
        let before = &ids[from.saturating_sub(CONTEXT)..from];
        let head = tokenizer.decode(before).ok()?;
        let whole = tokenizer.decode(&ids[from.saturating_sub(CONTEXT)..=place]).ok()?;
        let text = match whole.strip_prefix(&head) {
            Some(text) => text.to_owned(),
            None => tokenizer.decode(&ids[from..=place]).ok()?,
        };
        let is_open = text.ends_with('\u{fffd}') && place + 1 - from < MOST_OF_A_CHARACTER;
        if is_open && place + 1 < ids.len() {
            continue;
        }
        texts[place] = text;
        from = place + 1;
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_tokens_are_the_text() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/graded-math");
        assert_eq!(tokenizer_file(&root), Some(root.join("tokenizer.json")));
        let tokenizer = Tokenizer::from_file(&root.join("tokenizer.json")).unwrap();
        let ids = tokenizer.encode("12*3 \\boxed{36}").unwrap();
        let texts = texts(&tokenizer, &ids).unwrap();
        assert_eq!(texts.len(), ids.len());
        assert_eq!(texts.concat(), tokenizer.decode(&ids).unwrap());
        assert!(texts.iter().all(|text| !text.is_empty()), "{texts:?}");
    }
}
