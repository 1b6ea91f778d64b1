//! Attributes that may be a dictionary's methods: `a.items` that is not called.

use super::ATTRIBUTE;
use super::tokens::{Edits, Kind, Token, has_sign, is_keyword, tokens};
use crate::jinja::methods::DICTIONARY_METHODS;

/// Writes `a.items` as a call, unless `a` is a namespace.
pub(super) fn rewrite_attributes(
    inside: &str,
    is_statement: bool,
    namespaces: &[String],
) -> String {
    let tokens = tokens(inside);
    let text = |index: usize| tokens.get(index).map_or("", |token| &inside[token.at.clone()]);
    let first = usize::from(has_sign(inside));
    let mut edits = Edits::default();
    for index in 1..tokens.len() {
        let named = tokens[index].kind == Kind::Name && text(index - 1) == ".";
        let is_target = is_statement && text(first) == "set" && text(index + 1) == "=";
        if !named
            || !DICTIONARY_METHODS.contains(&text(index))
            || text(index + 1) == "("
            || is_target
        {
            continue;
        }
        let Some(start) = start_of_primary(&tokens, index - 1, inside) else { continue };
        if start + 2 == index && namespaces.iter().any(|name| name == text(start)) {
            continue;
        }
        // an attribute of an attribute that is rewritten comes into the same brackets
        edits.insert(tokens[start].at.start, format!("{ATTRIBUTE}("));
        let dot = tokens[index - 1].at.start;
        edits.replace(dot..tokens[index].at.end, format!(", \"{}\")", text(index)));
    }
    edits.apply(inside)
}

/// The first token of the expression that ends before the dot at `dot`.
fn start_of_primary(tokens: &[Token], dot: usize, inside: &str) -> Option<usize> {
    let text = |index: usize| &inside[tokens[index].at.clone()];
    let mut at = dot.checked_sub(1)?;
    loop {
        while matches!(text(at), ")" | "]" | "}") {
            let mut depth = 0_usize;
            loop {
                match text(at) {
                    ")" | "]" | "}" => depth += 1,
                    "(" | "[" | "{" => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                at = at.checked_sub(1)?;
            }
            let before = at.checked_sub(1);
            let goes_on = before.is_some_and(|before| {
                matches!(text(before), ")" | "]")
                    || (tokens[before].kind != Kind::Operator && !is_keyword(text(before)))
            });
            if !goes_on {
                return Some(at);
            }
            at = before?;
        }
        match at.checked_sub(1) {
            Some(before) if text(before) == "." => at = before.checked_sub(1)?,
            // the name of a filter: what it is applied to cannot be told without parsing
            Some(before) if text(before) == "|" => return None,
            _ => return Some(at),
        }
    }
}
