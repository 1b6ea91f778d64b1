//! The words of the math environment.

use super::problems::{NAMES, THINGS};
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
