//! Statements whose expression passes a function: `{% for %}` and `{% set a.b = .. %}`.

use super::tokens::{Edits, has_sign, tokens};
use super::{ASSIGNED, ITERABLE};

/// What `{% for %}` goes through and what `{% set %}` assigns to an attribute.
pub(super) fn rewrite_statement(inside: &str) -> String {
    let tokens = tokens(inside);
    let text = |index: usize| tokens.get(index).map_or("", |token| &inside[token.at.clone()]);
    let first = usize::from(has_sign(inside));
    let is_sign = |index: usize| index + 1 == tokens.len() && matches!(text(index), "-" | "+");
    let mut depth = 0_usize;
    let mut from = None;
    let mut to = tokens.len();
    for index in first + 1..tokens.len() {
        match text(index) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "in" if depth == 0 && text(first) == "for" && from.is_none() => from = Some(index + 1),
            "=" if depth == 0 && text(first) == "set" && from.is_none() => from = Some(index + 1),
            "if" | "recursive" if depth == 0 && text(first) == "for" && from.is_some() => {
                to = index;
                break;
            }
            _ if is_sign(index) => to = index,
            _ => {}
        }
    }
    let Some(from) = from.filter(|from| *from < to) else { return inside.to_owned() };
    let mut edits = Edits::default();
    if text(first) == "for" {
        edits.insert(tokens[from].at.start, format!("{ITERABLE}(("));
    } else if from == first + 5 && text(first + 2) == "." {
        let (name, attribute) = (text(first + 1), text(first + 3));
        edits.insert(tokens[from].at.start, format!("{ASSIGNED}({name}, \"{attribute}\", ("));
    } else {
        return inside.to_owned();
    }
    edits.insert(tokens[to - 1].at.end, "))");
    edits.apply(inside)
}
