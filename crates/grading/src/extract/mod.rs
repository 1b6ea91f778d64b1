//! Finding the final answer in a response.
//!
//! | where | counts |
//! |---|---|
//! | `<answer>...</answer>` | before all else |
//! | the last `\boxed{...}` or `\fbox{...}`, or several that only connecting words part | unless a "final answer" is stated behind it |
//! | what follows the last "final answer", "answer is", "answers are", "answer:", `####`, or under a heading "Answer" | where there is no box |
//!
//! What stands before `</think>` is no answer where anything follows. Programs, their comments and
//! calls of tools are no place for one ([`programs`]).

mod boxes;
mod formulas;
mod phrases;
mod programs;
mod prose;

pub(crate) use prose::math_part;

use crate::spelling::single_backslashes;

/// The end of what a model thought.
const THOUGHT: &str = "</think>";

/// The final answer in a response, as it was written; `None` if none is stated.
pub fn extract_answer(response: &str) -> Option<String> {
    let text = programs::without_programs(response);
    stated_behind(&text, behind_thought(&text))
}

/// What stands behind what was thought; all of it where nothing was.
fn behind_thought(text: &str) -> &str {
    let thought = text.contains('<').then(|| text.rfind(THOUGHT)).flatten();
    thought.map_or(text, |at| &text[at + THOUGHT.len()..])
}

/// The answer that is stated behind what was thought, or in all of the text where nothing follows.
fn stated_behind(text: &str, behind: &str) -> Option<String> {
    stated_in(if behind.trim().is_empty() { text } else { behind })
}

fn stated_in(text: &str) -> Option<String> {
    if let Some(inside) = tagged(text) {
        return stated_in(inside).or_else(|| Some(inside.to_owned()));
    }
    let boxed = boxes::last_answer(text);
    match (boxed, phrases::last_statement(text)) {
        (Some(boxed), Some(stated)) if stated.is_final && stated.start > boxed.start => {
            Some(stated.answer)
        }
        (Some(boxed), _) => Some(boxed.answer),
        (None, stated) => stated.map(|stated| stated.answer),
    }
}

/// What the last `<answer>...</answer>` holds.
fn tagged(text: &str) -> Option<&str> {
    if !text.contains('<') {
        return None;
    }
    let behind = &text[text.rfind("<answer>")? + "<answer>".len()..];
    let inside = behind.find("</answer>").map_or(behind, |end| &behind[..end]).trim();
    (!inside.is_empty()).then_some(inside)
}

/// Like [`extract_answer`], but also for text that is an answer itself, or prose that ends with
/// one.
pub(crate) fn answer_text(text: &str) -> String {
    let text = single_backslashes(text);
    let text = programs::without_programs(&text);
    let behind = behind_thought(&text);
    if let Some(answer) = stated_behind(&text, behind) {
        return answer;
    }
    // a box that was never closed
    let open = behind.contains('\\').then(|| behind.rfind("\\boxed{")).flatten();
    let open = open.map_or(0, |at| at + "\\boxed{".len());
    behind[open..].to_owned()
}
