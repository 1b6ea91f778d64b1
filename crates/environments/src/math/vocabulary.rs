//! The tokenizer of policies that know only this environment: whole words, single digits, and the markers of the agent's format.
//!
//! A Hugging Face `tokenizer.json` with a word-level model: one regular expression cuts text into pieces, each piece is a
//! token, anything else is `<|unk|>`. Decoding joins the pieces.

use super::problems::{NAMES, THINGS};
use serde_json::{Value, json};

const MARKERS: [&str; 6] = ["\n```output\n", "\n```\n", "\n```", "```python\n", "print(", "\\boxed{"];
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
/// `<|unk|>`, then padding, the two headers and the end of a turn.
const SPECIAL: [&str; 5] = ["<|unk|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"];

/// The contents of `tokenizer.json`.
pub fn tokenizer_json() -> Value {
    let mut pieces: Vec<String> = SPECIAL.iter().map(ToString::to_string).collect();
    pieces.extend(('0'..='9').map(String::from));
    pieces.extend("+-*/()=?.,:}{'\n ".chars().map(String::from));
    pieces.extend(MARKERS.map(String::from));
    // a word may open a sentence or follow a space
    for word in WORDS.iter().chain(&NAMES).chain(&THINGS) {
        pieces.push((*word).to_owned());
        pieces.push(format!(" {word}"));
    }
    let vocabulary: serde_json::Map<String, Value> = pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), id.into())).collect();
    let added: Vec<Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": { "Regex": r"\n```output\n|\n```\n|\n```|```python\n|print\(|\\boxed\{| ?[A-Za-z]+|[0-9]|[\s\S]" },
            "behavior": "Isolated",
            "invert": false,
        },
        "post_processor": null,
        "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<|unk|>" },
    })
}
