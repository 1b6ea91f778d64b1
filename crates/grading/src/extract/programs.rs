//! Programs in a response: what stands in them is no answer.

use crate::seen::Seen;
use memchr::memmem;
use std::borrow::Cow;

/// Tags around calls of tools and their results.
const TAGS: [(&str, &str); 8] = [
    ("<tool_call>", "</tool_call>"),
    ("<tool_response>", "</tool_response>"),
    ("<code>", "</code>"),
    ("<python>", "</python>"),
    ("<interpreter>", "</interpreter>"),
    ("<output>", "</output>"),
    ("<search>", "</search>"),
    ("<information>", "</information>"),
];

/// Languages of fenced blocks that hold text rather than a program.
const TEXT_LANGUAGES: [&str; 7] = ["", "latex", "tex", "math", "markdown", "md", "text"];

/// The text with programs blanked out, byte by byte, so that places stay what they are.
pub(super) fn without_programs(text: &str, seen: Seen) -> Cow<'_, str> {
    if !seen.may_hold_any("`<#/(") {
        return Cow::Borrowed(text);
    }
    let holds = |word: &str| {
        seen.may_hold(word) && memmem::find(text.as_bytes(), word.as_bytes()).is_some()
    };
    let mut hidden = Vec::new();
    if holds(FENCE) {
        fences(text, &mut hidden);
    }
    let tags: &[_] = if holds("<") { &TAGS } else { &[] };
    for (open, close) in tags {
        let mut from = 0;
        while let Some(start) = text[from..].find(open).map(|at| from + at) {
            let end = text[start..].find(close).map_or(text.len(), |at| start + at + close.len());
            hidden.push(start..end);
            from = end;
        }
    }
    if ["print(", "//", "# "].into_iter().any(holds) {
        lines_of_code(text, &mut hidden);
    }
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.as_bytes().to_vec();
    for range in hidden {
        for byte in &mut bytes[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    // ranges end at characters, so this is text again
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned()))
}

const FENCE: &str = "```";

/// Blocks between fences of three backticks; one that is not closed ends with the text. What stands
/// behind a closing fence on its line is text again, also another fence: an agent's turns follow
/// each other like this where the tool's outputs are left out.
fn fences(text: &str, hidden: &mut Vec<std::ops::Range<usize>>) {
    let mut at = 0;
    while let Some(start) = text[at..].find(FENCE).map(|offset| at + offset) {
        let inside = start + FENCE.len();
        let line_end = text[inside..].find('\n').map_or(text.len(), |length| inside + length);
        let info = &text[inside..line_end];
        // opened and closed in one line
        if let Some(length) = info.find(FENCE).filter(|length| *length > 0) {
            at = inside + length + FENCE.len();
            hidden.push(start..at);
            continue;
        }
        // a closing fence whose opening one is not there
        let is_name = |c: char| c.is_alphanumeric() || "+#._- {}=".contains(c);
        if !info.trim().chars().all(is_name) {
            at = inside;
            continue;
        }
        let language = info.split_whitespace().next().unwrap_or("").to_lowercase();
        at = closing_fence(text, line_end).unwrap_or(text.len());
        if !is_text(&language, &text[start..at]) {
            hidden.push(start..at);
        }
    }
}

/// The place behind the fence that closes a block, which begins a line.
fn closing_fence(text: &str, from: usize) -> Option<usize> {
    text[from..].match_indices(FENCE).map(|(offset, _)| from + offset).find_map(|at| {
        let line = text[..at].rsplit('\n').next().unwrap_or_default();
        line.trim().is_empty().then_some(at + FENCE.len())
    })
}

/// Whether a block holds text: by its language, and for want of anything that a program has.
fn is_text(language: &str, block: &str) -> bool {
    TEXT_LANGUAGES.contains(&language)
        && !["print(", "import ", "def ", "return ", "for "]
            .iter()
            .any(|sign| block.lines().any(|line| line.trim_start().starts_with(sign)))
}

/// Lines outside of fences that print, or remark behind code.
fn lines_of_code(text: &str, hidden: &mut Vec<std::ops::Range<usize>>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start();
        let is_indented = line.starts_with("    ") && bare.starts_with("# ");
        if bare.starts_with("print(") || bare.starts_with("//") || is_indented {
            hidden.push(at..at + line.len());
        } else if let Some(print) = line.find("print(") {
            // `x = 5; print("\boxed{5}")`, up to the bracket that closes
            let end = closing(&line[print + "print".len()..])
                .map_or(line.len(), |length| print + "print".len() + length);
            hidden.push(at + print..at + end);
        } else if let Some(comment) = line.find("  # ")
            && line[..comment].contains(['=', '(', ')'])
        {
            hidden.push(at + comment..at + line.len());
        }
        at += line.len();
    }
}

/// The length of a text in round brackets, with both of them.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_blanked() {
        let without_programs = |text| without_programs(text, Seen::of(text));
        let text = "a\n```python\nprint('\\boxed{5}')\n```\nb `x`\n";
        let blanked = without_programs(text);
        assert_eq!(blanked.len(), text.len());
        assert_eq!(blanked.split_whitespace().collect::<Vec<_>>(), ["a", "b", "`x`"]);
        assert_eq!(without_programs("```\n\\boxed{5}\n```"), "```\n\\boxed{5}\n```");
        assert_eq!(without_programs("so x = 5  # \\boxed{4}").trim_end(), "so x = 5");
        assert_eq!(without_programs("# Answer: \\boxed{4}"), "# Answer: \\boxed{4}");
        assert_eq!(without_programs("ä <code>ß").trim_end(), "ä");
        assert_eq!(without_programs("print(5)\n```\\boxed{5}").trim(), "```\\boxed{5}");
        // turns of an agent, one behind the other
        let turns = "```python\nprint(3+4)\n``````python\nprint(7)\n```\\boxed{7}";
        assert_eq!(without_programs(turns).trim(), "\\boxed{7}");
    }
}
