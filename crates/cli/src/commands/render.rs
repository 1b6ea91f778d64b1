//! `render`: conversations as a policy reads them, and what of them it would learn to write.

use super::Options;
use super::lines;
use crate::output::outln;
use crate::policies;
use crate::problem::Problem;
use crate::progress::Progress;
use paretopo_agent::{Lesson, PolicyText};
use paretopo_chat::Conversation;
use serde_json::{Value, json};
use std::fmt::Write;
use std::io::IsTerminal;
use std::ops::Range;
use std::path::Path;

/// What an assistant wrote, and the end of it.
const COLOUR: &str = "\x1b[1;32m";
const PLAIN: &str = "\x1b[0m";

pub(super) fn render(
    model: &str,
    file: &Path,
    json: bool,
    options: &Options<'_>,
) -> Result<(), Problem> {
    let source = policies::source(model, None)?;
    let folder = policies::text_folder(&source, &mut Progress::new(options.quiet))?;
    let text = PolicyText::from_folder(&folder).map_err(Problem::mistake)?;
    let mut lessons = Vec::new();
    for (place, row) in lines::read::<Value>(file)?.iter().enumerate() {
        let conversation = Conversation::of_row(row);
        let found = conversation
            .and_then(|conversation| text.lessons(&conversation).map_err(|error| error.to_string()))
            .map_err(|reason| {
                Problem::mistake(format!(
                    "`{}`, conversation {}: {reason}",
                    file.display(),
                    place + 1
                ))
            })?;
        lessons.extend(found.into_iter().map(|lesson| (place + 1, lesson)));
    }
    if json || !std::io::stdout().is_terminal() {
        return lines::print(lessons.into_iter().map(|(_, lesson)| as_json(lesson)));
    }
    let in_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    for (place, lesson) in lessons {
        let trained = lesson.mask.iter().filter(|trained| **trained).count();
        let tokens = lesson.ids.len();
        outln!("--- conversation {place}: {tokens} tokens, {trained} of them learnt");
        outln!("{}", shown(&lesson, in_colour));
    }
    Ok(())
}

/// Ranges are from the first to behind the last: of bytes of the text, and of ids.
fn as_json(lesson: Lesson) -> Value {
    let pairs = |ranges: Vec<Range<usize>>| {
        ranges.into_iter().map(|range| [range.start, range.end]).collect::<Vec<_>>()
    };
    let trained = runs(&lesson.mask);
    json!({
        "text": lesson.rendered.text,
        "ids": lesson.ids,
        "assistant": pairs(lesson.rendered.assistant),
        "trained": pairs(trained),
    })
}

/// Where a mask is true.
fn runs(mask: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for place in (0..mask.len()).filter(|place| mask[*place]) {
        match runs.last_mut() {
            Some(run) if run.end == place => run.end += 1,
            _ => runs.push(place..place + 1),
        }
    }
    runs
}

/// The text for a terminal, what an assistant wrote in colour. Characters that would move the
/// cursor or change colours are written out.
fn shown(lesson: &Lesson, in_colour: bool) -> String {
    let mut shown = String::new();
    let mut end = 0;
    let (text, turns) = (&lesson.rendered.text, &lesson.rendered.assistant);
    for turn in turns.iter().filter(|_| in_colour) {
        add_harmless(&mut shown, &text[end..turn.start]);
        shown.push_str(COLOUR);
        add_harmless(&mut shown, &text[turn.clone()]);
        shown.push_str(PLAIN);
        end = turn.end;
    }
    add_harmless(&mut shown, &text[end..]);
    shown
}

fn add_harmless(shown: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_chat::Rendered;

    #[test]
    fn a_terminal_shows_turns_in_colour_and_no_character_moves_it() {
        let rendered = Rendered { text: "a\x1b[2Jb\ncd".into(), assistant: vec![5..6, 7..8] };
        let lesson = Lesson { rendered, ..Lesson::default() };
        assert_eq!(shown(&lesson, true), "a\\u{1b}[2J\x1b[1;32mb\x1b[0m\n\x1b[1;32mc\x1b[0md");
        assert_eq!(shown(&lesson, false), "a\\u{1b}[2Jb\ncd");
    }

    #[test]
    fn masks_are_told_by_their_runs() {
        assert_eq!(runs(&[false, true, true, false, true]), [1..3, 4..5]);
        assert!(runs(&[]).is_empty() && runs(&[false]).is_empty());
    }
}
