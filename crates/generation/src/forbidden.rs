//! A text that a row must not write, whatever tokens spell it.
//!
//! What a row has drawn is followed as a state `k`: the longest end of it that is a beginning of the
//! text has `k` bytes (Knuth, Morris and Pratt, 1977). From each state it is known which tokens would
//! complete the text; they are left out of the draw.

use paretopo_trajectory::TokenId;

/// A text, and what each token of a vocabulary spells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForbiddenText {
    text: Vec<u8>,
    /// `fallback[k]`: the longest proper end of the text's first `k` bytes that begins it, too.
    fallback: Vec<usize>,
    /// What each token spells.
    spelled: Vec<Box<[u8]>>,
    /// The tokens that complete the text from each state.
    completing: Vec<Vec<TokenId>>,
}

/// How much of a forbidden text stands at the end of what a row has drawn, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written(usize);

impl ForbiddenText {
    /// Looks through a vocabulary, given by what each token spells by itself.
    ///
    /// ```
    /// use paretopo_generation::{ForbiddenText, Written};
    ///
    /// let vocabulary = ["a", "<s", "s>", ">", "x<s>y", "<"];
    /// let forbidden = ForbiddenText::new("<s>", vocabulary.map(str::to_owned)).unwrap();
    /// // at the beginning only the token that holds all of it
    /// let start = Written::default();
    /// assert_eq!(forbidden.completing(start), [4]);
    /// // behind `<` also `s>`, behind `<s` also `>`
    /// assert_eq!(forbidden.completing(forbidden.behind(start, 5)), [2, 4]);
    /// assert_eq!(forbidden.completing(forbidden.behind(start, 1)), [3, 4]);
    /// ```
    ///
    /// # Errors
    /// When the text is empty, or each token would complete it somewhere, so that none is left.
    pub fn new(
        text: &str,
        vocabulary: impl IntoIterator<Item = String>,
    ) -> Result<Self, &'static str> {
        let text = text.as_bytes().to_vec();
        if text.is_empty() {
            return Err("no text is forbidden where it is empty");
        }
        let spelled = vocabulary.into_iter().map(|token| token.into_bytes().into()).collect();
        let fallback = fallbacks(&text);
        let mut found = Self { text, fallback, spelled, completing: Vec::new() };
        for state in 0..found.text.len() {
            let completes = |id: &usize| found.follow(state, &found.spelled[*id]).is_none();
            let ids = (0..found.spelled.len()).filter(completes).map(|id| id as TokenId);
            found.completing.push(ids.collect());
        }
        if found.completing.iter().any(|ids| ids.len() == found.spelled.len()) {
            return Err("no token is left that does not complete the forbidden text");
        }
        Ok(found)
    }

    /// The tokens that would complete the text.
    pub fn completing(&self, written: Written) -> &[TokenId] {
        &self.completing[written.0]
    }

    /// What stands there behind one more token. One that completes the text, or that the vocabulary
    /// does not know, begins anew.
    pub fn behind(&self, written: Written, id: TokenId) -> Written {
        let spelled = self.spelled.get(id as usize);
        Written(spelled.and_then(|bytes| self.follow(written.0, bytes)).unwrap_or(0))
    }

    /// The state behind some bytes; `None` where they complete the text.
    fn follow(&self, mut state: usize, bytes: &[u8]) -> Option<usize> {
        for byte in bytes {
            while state > 0 && self.text[state] != *byte {
                state = self.fallback[state];
            }
            if self.text[state] == *byte {
                state += 1;
            }
            if state == self.text.len() {
                return None;
            }
        }
        Some(state)
    }
}

/// What to forbid so that `text` is not written: all of it where a token spells it whole, else its
/// shortest beginning that begins none of `allowed`.
///
/// Who is refused but the last of several tokens has written the others by then, and stands in a
/// text that it never learnt to go on with: that would measure no answer of its own.
///
/// ```
/// use paretopo_generation::forbidden_beginning;
///
/// let pieces = ["<", "tool", "_call", ">", "answer"].map(str::to_owned);
/// // behind `<` an answer may follow, behind `<t` none
/// assert_eq!(forbidden_beginning("<tool_call>", &pieces, &["<answer>"]), "<t");
/// assert_eq!(forbidden_beginning("<tool_call>", &pieces, &["\\boxed{"]), "<");
/// let whole = ["<tool_call>", "<"].map(str::to_owned);
/// assert_eq!(forbidden_beginning("<tool_call>", &whole, &["\\boxed{"]), "<tool_call>");
/// ```
pub fn forbidden_beginning<'t>(text: &'t str, vocabulary: &[String], allowed: &[&str]) -> &'t str {
    if vocabulary.iter().any(|token| token.contains(text)) {
        return text;
    }
    let shared = |other: &&str| {
        let pairs = text.char_indices().zip(other.chars());
        pairs.take_while(|((_, own), other)| own == other).count()
    };
    let longest = allowed.iter().map(shared).max().unwrap_or(0);
    let end = text.char_indices().nth(longest + 1).map_or(text.len(), |(place, _)| place);
    &text[..end]
}

/// For each number of first bytes, 0 to all but one, the longest proper end that begins the text.
fn fallbacks(text: &[u8]) -> Vec<usize> {
    let mut fallback = vec![0; text.len().max(2)];
    let mut state = 0;
    for place in 1..text.len().saturating_sub(1) {
        while state > 0 && text[place] != text[state] {
            state = fallback[state];
        }
        if text[place] == text[state] {
            state += 1;
        }
        fallback[place + 1] = state;
    }
    fallback
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_leaves_nothing_to_draw_is_refused() {
        let two = || ["<", ">"].map(str::to_owned);
        assert!(ForbiddenText::new("", two()).is_err());
        assert!(ForbiddenText::new("<", ["<", "<<"].map(str::to_owned)).is_err());
        assert!(ForbiddenText::new("<>", two()).is_ok());
    }

    #[test]
    fn what_an_answer_begins_with_is_not_forbidden() {
        let pieces = ["<", "call"].map(str::to_owned);
        let of = |text, allowed: &[&str]| forbidden_beginning(text, &pieces, allowed).to_owned();
        assert_eq!(of("<call>", &[]), "<");
        // `<c` begins both, `<ca` the call alone
        assert_eq!(of("<call>", &["<answer>", "<code>"]), "<ca");
        // it begins an answer itself
        assert_eq!(of("<c", &["<code>"]), "<c");
        // whole characters
        assert_eq!(of("\u{300c}call", &[]), "\u{300c}");
    }

    proptest! {
        /// Against looking for the text in all that was written.
        #[test]
        fn a_token_completes_the_text_where_searching_finds_it(
            text in "[ab]{1,5}",
            tokens in proptest::collection::vec("[ab]{0,3}", 1..6),
            drawn in proptest::collection::vec(0usize..6, 0..12),
        ) {
            let mut vocabulary = tokens;
            // a token that spells nothing of it is always left
            vocabulary.push("-".into());
            let forbidden = ForbiddenText::new(&text, vocabulary.clone()).unwrap();
            let (mut state, mut whole) = (Written::default(), String::new());
            for place in drawn {
                let completing = forbidden.completing(state);
                for (id, token) in vocabulary.iter().enumerate() {
                    let found = format!("{whole}{token}").contains(&text);
                    prop_assert_eq!(completing.contains(&(id as TokenId)), found);
                }
                let id = place % vocabulary.len();
                if !completing.contains(&(id as TokenId)) {
                    whole.push_str(&vocabulary[id]);
                    state = forbidden.behind(state, id as TokenId);
                }
            }
        }
    }
}
