//! Sets that are told in words: all real numbers, the empty set.

use crate::tree::Node;

const REALS: [&str; 12] = [
    "all real values of x",
    "all real x",
    "all values of x",
    "any real x",
    "all real numbers",
    "all real values",
    "every real number",
    "any real number",
    "all reals",
    "all real",
    "real numbers",
    "reals",
];
const POSITIVE_REALS: [&str; 3] =
    ["all positive real numbers", "all positive reals", "positive real numbers"];
const POSITIVE_INTEGERS: [&str; 2] = ["all positive integers", "positive integers"];
const INTEGERS: [&str; 2] = ["all integers", "integers"];
const NOTHING: [&str; 7] = [
    "empty set",
    "no solution",
    "no solutions",
    "no real solution",
    "no real solutions",
    "no such numbers",
    "no such number",
];

fn without_article(text: &str) -> &str {
    let text = text.strip_prefix("the ").unwrap_or(text);
    text.strip_prefix("set of ").unwrap_or(text)
}

/// Sets that are told in words.
pub(super) fn set_in_words(text: &str) -> Option<Node> {
    let text = without_article(text);
    if REALS.contains(&text) {
        return Some(Node::Symbol("mathbb R".into()));
    }
    if POSITIVE_REALS.contains(&text) {
        return Some(positive_reals());
    }
    if POSITIVE_INTEGERS.contains(&text) {
        return Some(Node::Symbol("mathbb Z^+".into()));
    }
    if INTEGERS.contains(&text) {
        return Some(Node::Symbol("mathbb Z".into()));
    }
    NOTHING.contains(&text).then(|| Node::Set(Vec::new()))
}

/// Whether a text begins with a set that is told in words, so that it is no prose.
pub(crate) fn begins_set(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return false;
    }
    let start: String = text.chars().take(40).collect();
    let lowered = start.to_lowercase();
    let text = without_article(&lowered);
    let mut names = REALS
        .iter()
        .chain(&POSITIVE_REALS)
        .chain(&POSITIVE_INTEGERS)
        .chain(&INTEGERS)
        .chain(&NOTHING);
    names.any(|name| text.starts_with(name))
}

/// `(0, \infty)`.
pub(super) fn positive_reals() -> Node {
    Node::Bracket { open: '(', close: ')', items: vec![Node::whole(0), Node::Infinity] }
}
