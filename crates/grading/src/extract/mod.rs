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

use crate::seen::Seen;
use crate::spelling::single_backslashes;
use memchr::memmem;

/// The end of what a model thought.
const THOUGHT: &str = "</think>";

/// The final answer in a response, as it was written; `None` if none is stated.
///
/// ```
/// use paretopo_grading::extract_answer;
///
/// assert_eq!(extract_answer(r"\boxed{1}, no: \boxed{2}").as_deref(), Some("2"));
/// assert_eq!(extract_answer("so\n#### 72\n").as_deref(), Some("72"));
/// assert_eq!(extract_answer("<answer> Rome </answer>").as_deref(), Some("Rome"));
/// assert_eq!(extract_answer("print(72)"), None);
/// ```
pub fn extract_answer(response: &str) -> Option<String> {
    let seen = Seen::of(response);
    let text = programs::without_programs(response, seen);
    stated_behind(&text, behind_thought(&text, seen), seen)
}

/// What stands behind what was thought; all of it where nothing was.
fn behind_thought(text: &str, seen: Seen) -> &str {
    last(text, THOUGHT, seen).map_or(text, |at| &text[at + THOUGHT.len()..])
}

/// The last place of a word that most texts do not hold.
fn last(text: &str, word: &str, seen: Seen) -> Option<usize> {
    let (bytes, sought) = (text.as_bytes(), word.as_bytes());
    // forwards the search takes many bytes at a time
    let is_there = seen.may_hold(word) && memmem::find(bytes, sought).is_some();
    is_there.then(|| memmem::rfind(bytes, sought)).flatten()
}

/// The answer that is stated behind what was thought, or in all of the text where nothing follows.
fn stated_behind(text: &str, behind: &str, seen: Seen) -> Option<String> {
    stated_in(if behind.trim().is_empty() { text } else { behind }, seen)
}

/// The answer that is stated in a text, a part of one that holds what was `seen`.
fn stated_in(text: &str, seen: Seen) -> Option<String> {
    if let Some(inside) = tagged(text, seen) {
        return stated_in(inside, seen).or_else(|| Some(inside.to_owned()));
    }
    let boxed = boxes::last_answer(text, seen);
    match (boxed, phrases::last_statement(text, seen)) {
        (Some(boxed), Some(stated)) if stated.is_final && stated.start > boxed.start => {
            Some(stated.answer)
        }
        (Some(boxed), _) => Some(boxed.answer),
        (None, stated) => stated.map(|stated| stated.answer),
    }
}

/// What the last `<answer>...</answer>` holds.
fn tagged(text: &str, seen: Seen) -> Option<&str> {
    const OPEN: &str = "<answer>";
    let behind = &text[last(text, OPEN, seen)? + OPEN.len()..];
    let inside = behind.find("</answer>").map_or(behind, |end| &behind[..end]).trim();
    (!inside.is_empty()).then_some(inside)
}

/// Like [`extract_answer`], but also for text that is an answer itself, or prose that ends with
/// one.
pub(crate) fn answer_text(text: &str) -> String {
    const OPEN_BOX: &str = "\\boxed{";
    let seen = Seen::of(text);
    let text = single_backslashes(text, seen);
    let text = programs::without_programs(&text, seen);
    let behind = behind_thought(&text, seen);
    if let Some(answer) = stated_behind(&text, behind, seen) {
        return answer;
    }
    // a box that was never closed
    let open = last(behind, OPEN_BOX, seen).map_or(0, |at| at + OPEN_BOX.len());
    behind[open..].to_owned()
}
