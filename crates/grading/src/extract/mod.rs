//! Finding the final answer in a response.
//!
//! | where | counts |
//! |---|---|
//! | the last `\boxed{...}` or `\fbox{...}`, or several that only connecting words part | unless a "final answer" is stated behind it |
//! | what follows the last "final answer", "answer is", "answers are", "answer:" or `####` | where there is no box |
//!
//! What stands behind `</think>` is looked at first. Programs, their comments and calls of tools are no place for an answer ([`programs`]).

mod boxes;
mod formulas;
mod phrases;
mod programs;
mod prose;

use crate::spelling::single_backslashes;
use std::borrow::Cow;

/// The final answer in a response, as it was written; `None` if none is stated.
pub fn extract_answer(response: &str) -> Option<String> {
    let text = programs::without_programs(response);
    // what was thought is no answer where one follows
    let behind = text.rfind("</think>").map(|at| &text[at + "</think>".len()..]);
    behind.and_then(stated_in).or_else(|| stated_in(&text))
}

fn stated_in(text: &str) -> Option<String> {
    let boxed = boxes::last_answer(text);
    match (boxed, phrases::last_statement(text)) {
        (Some(boxed), Some(stated)) if stated.is_final && stated.start > boxed.start => {
            Some(stated.answer)
        }
        (Some(boxed), _) => Some(boxed.answer),
        (None, stated) => stated.map(|stated| stated.answer),
    }
}

/// Like [`extract_answer`], but also for text that is an answer itself, or prose that ends with
/// one.
pub(crate) fn answer_part(text: &str) -> String {
    let text = single_backslashes(text);
    if let Some(answer) = extract_answer(&text) {
        return prose::math_part(&answer);
    }
    let text: Cow<'_, str> = programs::without_programs(&text);
    // a box that was never closed
    let open = text.rfind("\\boxed{").map_or(0, |at| at + "\\boxed{".len());
    prose::math_part(&text[open..])
}
