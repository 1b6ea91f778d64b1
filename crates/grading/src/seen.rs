//! Which characters a text holds: one that lacks a character of a word needs no search for the
//! word. Most answers are short and plain, so that most searches need not be made.

/// Texts longer than this are taken to hold every character: a look at each would cost more than
/// the searches.
const LONGEST: usize = 256;

/// A bit for each ASCII character, and one for all others.
#[derive(Clone, Copy)]
pub(crate) struct Seen(u128);

/// The bit of a byte; all that is not ASCII shares that of the last control character.
const fn bit(byte: u8) -> u128 {
    1 << if byte < 127 { byte } else { 127 }
}

impl Seen {
    /// The characters of a text.
    pub(crate) const fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        if bytes.len() > LONGEST {
            return Self(u128::MAX);
        }
        let mut seen = 0;
        let mut at = 0;
        while at < bytes.len() {
            seen |= bit(bytes[at]);
            at += 1;
        }
        Self(seen)
    }

    /// Whether a text may hold a word.
    pub(crate) const fn may_hold(self, word: &str) -> bool {
        let word = Self::of(word).0;
        self.0 & word == word
    }

    /// Whether a text may hold one of some characters.
    pub(crate) const fn may_hold_any(self, characters: &str) -> bool {
        self.0 & Self::of(characters).0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_holds_it_may_hold() {
        let seen = Seen::of("\\frac{1}{2} ä");
        for word in ["frac", "\\frac", "{2}", "ä", ""] {
            assert!(seen.may_hold(word), "{word}");
        }
        for word in ["boxed", "$", "\n"] {
            assert!(!seen.may_hold(word), "{word}");
        }
        // characters that are not ASCII are not told apart
        assert!(seen.may_hold("ö") && !Seen::of("frac").may_hold("ö"));
        assert!(seen.may_hold_any("$}") && !seen.may_hold_any("$()"));
        assert!(Seen::of(&" ".repeat(LONGEST + 1)).may_hold("\\boxed"));
    }
}
