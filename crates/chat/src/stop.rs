//! The text of the turn that is being sampled, decoded token by token, and the stop strings in it.
//!
//! A stop string may begin inside one token and end inside another. It is looked for in the decoded text; the ids stay as
//! they were sampled, including one whose text runs on beyond the stop string.

use crate::{ChatError, Tokenizer};
use paretopo_trajectory::TokenId;

/// How many of the latest ids are decoded together, so that a character or a word that spans tokens comes out whole.
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
    /// Adds a sampled id and returns the byte position after the first stop string that the text now contains.
    ///
    /// # Errors
    /// When the tokenizer cannot decode the ids.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId, stop_strings: &[&str]) -> Result<Option<usize>, ChatError> {
        let before = self.text.len();
        self.ids.push(id);
        let start = self.settled.saturating_sub(CONTEXT);
        let known = tokenizer.decode(&self.ids[start..self.settled])?;
        let extended = tokenizer.decode(&self.ids[start..])?;
        // an incomplete character decodes to U+FFFD; wait for the rest of it
        if extended.ends_with('\u{FFFD}') && self.ids.len() - self.settled < 4 {
            return Ok(None);
        }
        match extended.strip_prefix(&known) {
            Some(new) => self.text.push_str(new),
            // the decoder rewrote earlier text: decode the whole turn anew
            None => self.text = tokenizer.decode(&self.ids)?,
        }
        self.settled = self.ids.len();
        Ok(self.find_stop(before, stop_strings))
    }

    fn find_stop(&self, before: usize, stop_strings: &[&str]) -> Option<usize> {
        stop_strings
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| {
                let mut from = before.saturating_sub(stop.len()).min(self.text.len());
                while !self.text.is_char_boundary(from) {
                    from -= 1;
                }
                self.text[from..].find(stop).map(|at| from + at + stop.len())
            })
            .min()
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The ids so far.
    pub fn ids(&self) -> &[TokenId] {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte-level tokenizer with the merges `b` + `c` -> `bc`, so that tokens straddle what tests look for.
    fn tokenizer() -> Tokenizer {
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false},
            "post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false},
            "model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"d":3,"bc":4,"Ã":5,"¤":6},"merges":["b c"]}}"#;
        Tokenizer::from_bytes(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_stop_string_may_straddle_tokens() {
        let (tokenizer, mut turn) = (tokenizer(), TurnText::default());
        // a, bc, d: the stop "cd" begins inside `bc` and ends with `d`; the text ends at byte 4
        assert_eq!(turn.push(&tokenizer, 0, &["cd"]).unwrap(), None);
        assert_eq!(turn.push(&tokenizer, 4, &["cd"]).unwrap(), None);
        assert_eq!(turn.push(&tokenizer, 3, &["cd"]).unwrap(), Some(4));
        assert_eq!(turn.ids(), &[0, 4, 3]);
    }

    #[test]
    fn text_after_the_stop_stays_in_the_ids_only() {
        let (tokenizer, mut turn) = (tokenizer(), TurnText::default());
        turn.push(&tokenizer, 0, &["ab"]).unwrap();
        // the token `bc` completes "ab" and goes on with `c`
        assert_eq!(turn.push(&tokenizer, 4, &["ab"]).unwrap(), Some(2));
        assert_eq!((turn.text(), turn.ids()), ("abc", [0, 4].as_slice()));
    }

    #[test]
    fn a_character_split_over_tokens_comes_out_whole() {
        let (tokenizer, mut turn) = (tokenizer(), TurnText::default());
        // "ä" is the bytes C3 A4
        turn.push(&tokenizer, 5, &[]).unwrap();
        assert_eq!(turn.text(), "");
        assert_eq!(turn.push(&tokenizer, 6, &["ä"]).unwrap(), Some(2));
        assert_eq!(turn.text(), "ä");
    }
}
