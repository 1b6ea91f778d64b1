//! The text of the turn that is being sampled, decoded token by token.
//!
//! A stop string may begin inside one token and end inside another, so calls are looked for in this
//! text ([`crate::InTurn::completed_call`]); the ids stay as they were sampled.

use crate::{ChatError, Tokenizer};
use paretopo_trajectory::TokenId;

/// How many of the latest ids are decoded together, so that a character or a word that spans tokens
/// comes out whole.
const CONTEXT: usize = 8;

/// The growing text of one turn.
#[derive(Clone, Debug, Default)]
pub struct TurnText {
    ids: Vec<TokenId>,
    text: String,
    /// `ids[..settled]` are the ids whose text stands in `text` for good.
    settled: usize,
}

impl TurnText {
    /// Adds a sampled id.
    ///
    /// # Errors
    /// When the tokenizer cannot decode the ids.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) -> Result<(), ChatError> {
        self.ids.push(id);
        let start = self.settled.saturating_sub(CONTEXT);
        let known = tokenizer.decode(&self.ids[start..self.settled])?;
        let extended = tokenizer.decode(&self.ids[start..])?;
        // an incomplete character decodes to U+FFFD; wait for the rest of it
        if extended.ends_with('\u{FFFD}') && self.ids.len() - self.settled < 4 {
            return Ok(());
        }
        match extended.strip_prefix(&known) {
            Some(new) => self.text.push_str(new),
            // the decoder rewrote earlier text: decode the whole turn anew
            None => self.text = tokenizer.decode(&self.ids)?,
        }
        self.settled = self.ids.len();
        Ok(())
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte-level tokenizer with the merges `b` + `c` -> `bc`, so that tokens straddle what tests
    /// look for.
    fn tokenizer() -> Tokenizer {
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false},
            "post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false},
            "model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"d":3,"bc":4,"Ã":5,"¤":6},"merges":["b c"]}}"#;
        Tokenizer::from_bytes(json.as_bytes()).unwrap()
    }

    #[test]
    fn tokens_join_to_text_whatever_they_straddle() {
        let (tokenizer, mut turn) = (tokenizer(), TurnText::default());
        for (id, text) in [(0, "a"), (4, "abc"), (3, "abcd")] {
            turn.push(&tokenizer, id).unwrap();
            assert_eq!(turn.text(), text);
        }
    }

    #[test]
    fn a_character_split_over_tokens_comes_out_whole() {
        let (tokenizer, mut turn) = (tokenizer(), TurnText::default());
        // "ä" is the bytes C3 A4
        turn.push(&tokenizer, 5).unwrap();
        assert_eq!(turn.text(), "");
        turn.push(&tokenizer, 6).unwrap();
        assert_eq!(turn.text(), "ä");
    }
}
