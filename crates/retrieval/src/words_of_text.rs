//! Text cut at everything that is no letter or digit, as tantivy's `SimpleTokenizer` cuts it, but not
//! at the signs of scripts without spaces, which stand inside words.

use crate::analyzer::is_sign;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// See above.
#[derive(Clone, Default)]
pub(crate) struct WordTokenizer {
    token: Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { text, read: 0, token: &mut self.token }
    }
}

/// The words of a text.
pub(crate) struct WordStream<'a> {
    text: &'a str,
    /// Bytes of the text behind which nothing was looked at.
    read: usize,
    token: &'a mut Token,
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_sign(c)
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let rest = &self.text[self.read..];
        let Some(start) = rest.find(is_of_word) else { return false };
        let length = rest[start..].find(|c| !is_of_word(c)).unwrap_or(rest.len() - start);
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = self.read + start;
        self.token.offset_to = self.token.offset_from + length;
        self.token.text.clear();
        self.token.text.push_str(&rest[start..start + length]);
        self.read = self.token.offset_to;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}
