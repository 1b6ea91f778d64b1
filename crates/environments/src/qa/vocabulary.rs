//! The words of the fictional world.

use super::world::{OCCUPATIONS, name_words};
use crate::word_level::word_level_tokenizer;
use serde_json::Value;

const MARKERS: [&str; 7] = [
    "\n\n<information>",
    "</information>\n\n",
    "<search>",
    " </search>",
    "<answer>",
    " </answer>",
    "(Title:",
];
const WORDS: &str = "Doc Who wrote Where was born is married to founded In which country the author of What does do birthplace founder spouse \
    The a and in town book by No passage found ToolError SearchError TimeoutError search query empty error did not answer time failed";

/// The contents of `tokenizer.json` for policies that know only this environment.
pub fn tokenizer_json() -> Value {
    let names = name_words();
    word_level_tokenizer(
        ".,?:()<>/ \n",
        &MARKERS,
        WORDS.split_whitespace().chain(OCCUPATIONS),
        names.iter().map(String::as_str),
    )
}
