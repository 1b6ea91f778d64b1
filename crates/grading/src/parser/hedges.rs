//! Words around a value that say no more than that it is close, or just so: "about 72".

use super::Parser;
use crate::complex::numeric;
use crate::tokens::{Token, function_named};
use crate::tree::Node;

impl Parser<'_> {
    /// Passes over "about" and the like in front of a value; whether there was such a word.
    pub(super) fn hedge(&mut self) -> bool {
        let start = self.at;
        while let Some(Token::Letters(word) | Token::Text(word)) = self.peek()
            && is_hedge(word)
        {
            self.next();
            self.eat('.');
        }
        self.at > start
    }

    /// Passes over "the", "at" and the like in front of a value.
    pub(super) fn article(&mut self) {
        let words = ["the", "an", "a", "at", "in", "on", "by", "answer", "ans", "result"];
        let mut ahead = self.tokens[self.at..].iter().filter(|token| !token.is_space());
        let there = match ahead.next() {
            // "at 7:30", but not "at most"
            Some(Token::Letters(word)) if word == "at" => {
                matches!(ahead.next(), Some(Token::Number(_) | Token::Time(..)))
            }
            Some(Token::Letters(word) | Token::Text(word)) => {
                words.contains(&word.trim().trim_end_matches(':').to_lowercase().as_str())
            }
            // `a` may be a variable
            Some(Token::Letter('a')) => {
                let is_apart = self.tokens.get(self.at + 1).is_some_and(Token::is_space);
                let next = ahead.next();
                is_apart
                    && match next {
                        Some(Token::Letters(word)) => {
                            word.len() > 2 && function_named(word).is_none()
                        }
                        Some(Token::Number(_)) => true,
                        _ => false,
                    }
            }
            _ => false,
        };
        if there {
            self.next();
            self.eat(':');
        }
    }
}

/// Relative difference up to which one value may be called about another.
const ABOUT: f64 = 0.05;

pub(super) fn are_close(members: &[Node], next: &Node) -> bool {
    let last = members.last().and_then(|last| numeric(last, 0));
    match (last, numeric(next, 0)) {
        (Some(x), Some(y)) => (x - y).abs() <= ABOUT * x.abs().max(y.abs()),
        _ => false,
    }
}

/// Whether a word says that the value behind it is no more than close, or just so.
pub(super) fn is_hedge(word: &str) -> bool {
    let word = word.trim().trim_end_matches(['.', ':']).to_lowercase();
    let word = word.strip_prefix("or ").unwrap_or(&word);
    ["about", "approximately", "approx", "roughly", "around", "exactly", "precisely", "circa"]
        .contains(&word)
}
