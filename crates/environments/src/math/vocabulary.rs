//! The words of the math environment.

use super::problems::{NAMES, THINGS};
use crate::preference_tokens::with_preference_tokens;
use crate::word_level::word_level_tokenizer;
use serde_json::Value;

/// Longer ones first: a marker that begins another must not win.
const MARKERS: [&str; 6] =
    ["\n```output\n", "\n```\n", "\n```", "```python\n", "print(", "\\boxed{"];
const WORDS: [&str; 40] = [
    "What",
    "is",
    "Compute",
    "There",
    "are",
    "boxes",
    "with",
    "each",
    "How",
    "many",
    "there",
    "left",
    "has",
    "and",
    "gets",
    "more",
    "does",
    "have",
    "gives",
    "away",
    "puts",
    "red",
    "blue",
    "in",
    "of",
    "adds",
    "takes",
    "TimeoutError",
    "MemoryError",
    "SyntaxError",
    "NameError",
    "TypeError",
    "ZeroDivisionError",
    "RecursionError",
    "ToolError",
    "ValueError",
    "Traceback",
    "error",
    "invalid",
    "syntax",
];

/// The contents of `tokenizer.json` for policies that know only this environment.
pub fn tokenizer_json() -> Value {
    word_level_tokenizer(
        "+-*/()=?.,:}{'\n ",
        &MARKERS,
        WORDS.iter().chain(&NAMES).chain(&THINGS).copied(),
        std::iter::empty(),
    )
}

/// How graded problems call tools: Hermes syntax, in which a call is one marker, the arithmetic,
/// and one marker. Longer ones first.
const GRADED_MARKERS: [&str; 8] = [
    "<tool_call>\n{\"name\":\"calculator\",\"arguments\":{\"expression\":\"",
    "<tool_call>\n{\"name\":\"abacus\",\"arguments\":{\"expression\":\"",
    "<tool_call>\n{\"name\":\"python\",\"arguments\":{\"code\":\"",
    "\"}}\n</tool_call>",
    "\n<tool_response>\n",
    "\n</tool_response>\n",
    "print(",
    "\\boxed{",
];
const GRADED_WORDS: &str = "What is Compute Which more the larger of and or max ToolError \
    ValueError TimeoutError MemoryError SyntaxError NameError ZeroDivisionError Traceback error \
    call failed may be called times there no tool invalid syntax expression takes one operation";

/// The contents of `tokenizer.json` for policies that know only graded problems, with the tokens
/// that tell a preference.
pub fn graded_tokenizer_json() -> Value {
    let words = word_level_tokenizer(
        "+-*/()=?.,:}{'`\"\n ",
        &GRADED_MARKERS,
        GRADED_WORDS.split_whitespace(),
        std::iter::empty(),
    );
    with_preference_tokens(words)
}
