//! The tokens of a tag, as far as rewriting has to know them, and changes of its text.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    Operator,
}

/// A token of an expression and where it stands in the tag.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Range<usize>,
}

/// The tokens of what stands between the delimiters of a tag.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let from = at;
        at += c.len_utf8();
        let kind = match c {
            _ if c.is_whitespace() => continue,
            '"' | '\'' => {
                at = end_of_text(bytes, from).unwrap_or(text.len());
                Kind::Text
            }
            _ if c.is_ascii_digit() => {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
                    at += 1;
                }
                Kind::Number
            }
            _ if c.is_alphanumeric() || c == '_' => {
                let rest = &text[at..];
                at += rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                Kind::Name
            }
            _ => {
                let pairs = ["//", "**", "==", "!=", "<=", ">="];
                if pairs.iter().any(|pair| text[from..].starts_with(pair)) {
                    at = from + 2;
                }
                Kind::Operator
            }
        };
        tokens.push(Token { kind, at: from..at });
    }
    tokens
}

/// The place behind a text that begins at `at`; nothing if it does not end.
pub(super) fn end_of_text(bytes: &[u8], at: usize) -> Option<usize> {
    let mut place = at + 1;
    while place < bytes.len() {
        match bytes[place] {
            b'\\' => place += 1,
            byte if byte == bytes[at] => return Some(place + 1),
            _ => {}
        }
        place += 1;
    }
    None
}

/// Whether a tag begins with the sign that strips, or keeps, white space.
pub(super) fn has_sign(inside: &str) -> bool {
    inside.starts_with(['-', '+'])
}

/// Whether a word is an operator or begins a statement, and so no operand.
pub(super) fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "in" | "is" | "if" | "elif" | "else")
}

/// Whether a token binds less than `~` does, so that an operand ends before it.
pub(super) fn is_boundary(tokens: &[Token], index: usize, inside: &str) -> bool {
    let text = |index: usize| &inside[tokens[index].at.clone()];
    let before = index.checked_sub(1).map(text);
    match tokens[index].kind {
        Kind::Name => {
            !matches!(before, Some("." | "|"))
                && match text(index) {
                    "not" => before != Some("is"),
                    "and" | "or" | "in" | "if" | "else" | "recursive" => true,
                    _ => false,
                }
        }
        Kind::Operator => match text(index) {
            "," | ":" | "=" | "==" | "!=" | "<" | ">" | "<=" | ">=" => true,
            // a sign in front of an operand belongs to it
            "+" | "-" => match index.checked_sub(1) {
                None => has_sign(inside),
                Some(before) => match tokens[before].kind {
                    Kind::Operator => matches!(text(before), ")" | "]" | "}"),
                    Kind::Name => !is_keyword(text(before)),
                    Kind::Number | Kind::Text => true,
                },
            },
            _ => false,
        },
        Kind::Number | Kind::Text => false,
    }
}

/// Changes of a tag: what comes in place of which bytes.
#[derive(Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    pub(super) fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.0.push((range, text.into()));
    }

    pub(super) fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    /// Inserts before what is inserted at the same place already.
    pub(super) fn insert_in_front(&mut self, at: usize, text: impl Into<String>) {
        let before = self.0.iter().position(|(range, _)| range.start == at && range.is_empty());
        self.0.insert(before.unwrap_or(self.0.len()), (at..at, text.into()));
    }

    pub(super) fn apply(mut self, text: &str) -> String {
        // stable: of those at one place the first that was asked for comes first
        self.0.sort_by_key(|(range, _)| range.start);
        let mut result = String::new();
        let mut from = 0;
        for (range, new) in &self.0 {
            result.push_str(&text[from..range.start]);
            result.push_str(new);
            from = range.end;
        }
        result + &text[from..]
    }
}
