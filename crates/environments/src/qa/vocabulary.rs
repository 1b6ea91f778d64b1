//! The words of the fictional world.

use super::world::{OCCUPATIONS, name_words};
use crate::preference_tokens::with_preference_tokens;
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
    of_words(WORDS.split_whitespace().chain(OCCUPATIONS))
}

/// The same for policies of a familiar world: they also write notes and read preference tokens.
pub fn familiar_tokenizer_json() -> Value {
    let words = WORDS.split_whitespace().chain(["occupation"]).chain(OCCUPATIONS);
    with_preference_tokens(of_words(words))
}

fn of_words<'a>(words: impl Iterator<Item = &'a str>) -> Value {
    let names = name_words();
    let words: Vec<&str> = words.collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    word_level_tokenizer(".,?:()<>/ \n", &MARKERS, words.into_iter(), names.into_iter())
}
