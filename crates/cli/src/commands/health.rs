//! `doctor RUN`: what is wrong with a run, in words.

use crate::output::outln;
use crate::problem::Problem;
use paretopo_health::{Condition, Record, Verdict, examine};
use std::path::Path;

/// Columns of the text.
const WIDTH: usize = 96;

/// Says what is wrong first, with what to try, then what the other rules found.
pub(super) fn doctor(run: &Path, as_json: bool) -> Result<(), Problem> {
    let record = Record::read(run).map_err(Problem::mistake)?;
    if record.steps.is_empty() {
        return Err(Problem::mistake(format!(
            "`{}` holds no steps\nhint: give the folder of a run of `train`, as for `train --run`",
            run.display()
        )));
    }
    let verdicts = examine(&record);
    if as_json {
        let said = serde_json::json!({ "verdicts": verdicts, "record": record });
        outln!("{said}");
        return spoken_up(&verdicts);
    }
    let (ill, others): (Vec<_>, Vec<_>) = verdicts.iter().partition(|verdict| verdict.is_ill());
    let steps = record.steps.len();
    outln!("{}, {steps} step{}", run.display(), if steps == 1 { "" } else { "s" });
    for verdict in &ill {
        outln!("\n{}", verdict.title.to_uppercase());
        say(verdict.condition.said(), "  ", "  ");
        outln!("  Try:");
        for remedy in verdict.remedies {
            say(remedy, "  - ", "    ");
        }
        say(verdict.formula, "  Rule: ", "        ");
    }
    outln!("");
    for verdict in others {
        say(&line_of(verdict), "", "                              ");
    }
    spoken_up(&verdicts)
}

/// # Errors
/// Says how many rules speak up, where one does.
fn spoken_up(verdicts: &[Verdict]) -> Result<(), Problem> {
    match verdicts.iter().filter(|verdict| verdict.is_ill()).count() {
        0 => Ok(()),
        count => {
            let (rule, are) = if count == 1 { ("rule", "s") } else { ("rules", "") };
            Err(Problem::failure(format!("{count} {rule} of {} speak{are} up", verdicts.len())))
        }
    }
}

fn line_of(verdict: &Verdict) -> String {
    let mark = match verdict.condition {
        Condition::Ill(_) => "ill",
        Condition::Well(_) => "ok",
        Condition::Unknown(_) => "?",
    };
    format!("{mark:4}{:26}{}", verdict.title, verdict.condition.said())
}

/// Writes words in lines of a terminal's width, the first behind `head`, the others behind `indent`.
fn say(words: &str, head: &str, indent: &str) {
    for line in lines(words, head, indent) {
        outln!("{line}");
    }
}

fn lines(words: &str, head: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![head.to_owned()];
    let mut is_empty = true;
    // runs of spaces stay, since they align columns
    for word in words.split_inclusive(' ') {
        let last = lines.last_mut().expect("there is the first line");
        if !is_empty && last.chars().count() + word.trim_end().chars().count() > WIDTH {
            lines.push(format!("{indent}{word}"));
        } else {
            last.push_str(word);
        }
        is_empty = false;
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_between_words_and_indented() {
        let words = "word ".repeat(30);
        let found = lines(&words, "- ", "    ");
        // 2 + 18 * 5 + 4 = 96 for 19 words, then 4 + 11 * 5 - 1
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [96, 58]);
        assert!(found[1].starts_with("    word"));
        assert_eq!(lines("a  b", "", ""), ["a  b"]);
    }
}
