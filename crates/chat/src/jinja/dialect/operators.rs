//! The operators `~` and `+`, which become calls, and signs, which bind differently.

use super::tokens::{Edits, Kind, has_sign, is_boundary, tokens};
use super::{ADD, CONCATENATE};

/// A sign binds less than what stands behind its operand: `-a[0]` is `-(a[0])`.
pub(super) fn rewrite_negations(inside: &str) -> String {
    let tokens = tokens(inside);
    let text = |index: usize| tokens.get(index).map_or("", |token| &inside[token.at.clone()]);
    let mut edits = Edits::default();
    for index in 0..tokens.len() {
        let is_sign = text(index) == "-" && !is_boundary(&tokens, index, inside);
        let operand = index + 1;
        let is_name = |at: usize| tokens.get(at).is_some_and(|token| token.kind == Kind::Name);
        if !is_sign || !(is_name(operand) || text(operand) == "(") {
            continue;
        }
        let mut end = operand;
        let mut depth = 0_usize;
        while end < tokens.len() {
            match text(end) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            let goes_on = matches!(text(end + 1), "." | "(" | "[") || text(end) == ".";
            end += 1;
            if depth == 0 && !goes_on {
                break;
            }
        }
        if end > operand + 1 {
            edits.insert(tokens[operand].at.start, "(");
            edits.insert(tokens[end - 1].at.end, ")");
        }
    }
    edits.apply(inside)
}

/// What a bracket holds, as far as it has been read.
struct Level {
    /// The first token of the sum that is being read, and whether it is a call yet.
    sum: usize,
    is_sum_open: bool,
    /// The first token of the operand of `~` that is being read, and whether it is in a call yet.
    operand: usize,
    is_open: bool,
}

impl Level {
    fn at(token: usize) -> Self {
        Self { sum: token, is_sum_open: false, operand: token, is_open: false }
    }

    /// Ends the chain of `~`, and with `sum` the sum that it is a part of.
    fn close(&self, edits: &mut Edits, end: usize, sum: bool) {
        for _ in 0..usize::from(self.is_open) + usize::from(sum && self.is_sum_open) {
            edits.insert(end, ")");
        }
    }
}

/// Writes chains of `~`, and with `escapes` sums, as calls.
pub(super) fn rewrite_operators(inside: &str, is_statement: bool, escapes: bool) -> String {
    let has_sum = escapes && inside.contains('+');
    if !inside.contains('~') && !has_sum {
        return inside.to_owned();
    }
    let tokens = tokens(inside);
    let text = |index: usize| &inside[tokens[index].at.clone()];
    let mut edits = Edits::default();
    let mut levels = vec![Level::at(0)];
    let signs = usize::from(has_sign(inside));
    for index in 0..tokens.len() {
        let level = levels.last_mut().expect("the outermost level is never closed");
        let end_before = if index > 0 { tokens[index - 1].at.end } else { 0 };
        let is_boundary = is_statement && index <= signs || is_boundary(&tokens, index, inside);
        match text(index) {
            "(" | "[" | "{" if tokens[index].kind == Kind::Operator => {
                levels.push(Level::at(index + 1));
            }
            ")" | "]" | "}" if tokens[index].kind == Kind::Operator => {
                level.close(&mut edits, end_before, true);
                if levels.len() > 1 {
                    levels.pop();
                }
            }
            "~" => {
                if !level.is_open {
                    level.is_open = true;
                    edits.insert(tokens[level.operand].at.start, format!("{CONCATENATE}("));
                }
                edits.replace(tokens[index].at.clone(), ",");
            }
            // the last sign of a tag strips white space
            "+" if escapes && is_boundary && index > signs && index + 1 < tokens.len() => {
                level.close(&mut edits, end_before, false);
                if !level.is_sum_open {
                    edits.insert_in_front(tokens[level.sum].at.start, format!("{ADD}("));
                }
                edits.replace(tokens[index].at.clone(), ",");
                let sum = level.sum;
                *level = Level { sum, is_sum_open: true, ..Level::at(index + 1) };
            }
            // `a + b - c` is a call of which something is taken
            "-" if escapes && is_boundary && index > signs && index + 1 < tokens.len() => {
                level.close(&mut edits, end_before, true);
                *level = Level { sum: level.sum, ..Level::at(index + 1) };
            }
            _ if is_boundary => {
                level.close(&mut edits, end_before, true);
                *level = Level::at(index + 1);
            }
            _ => {}
        }
    }
    if let Some(level) = levels.last() {
        level.close(&mut edits, tokens.last().map_or(0, |token| token.at.end), true);
    }
    edits.apply(inside)
}
