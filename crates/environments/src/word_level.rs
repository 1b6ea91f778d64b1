//! Tokenizers of policies that know only one environment: whole words, single digits, and the
//! markers of the agent's format.
//!
//! A Hugging Face `tokenizer.json` with a word-level model: one regular expression cuts text into
//! pieces, each piece is a token, anything else is `<|unk|>`. Decoding joins the pieces.

use serde_json::{Value, json};

/// `<|unk|>`, then padding, the two headers and the end of a turn.
const SPECIAL: [&str; 5] = ["<|unk|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"];

/// The contents of `tokenizer.json`: digits, `symbols`, `markers`, each of `words` with and without
/// a space in front, and each of `names` with one: a name that is to be copied must be the same
/// token wherever it stands.
pub(crate) fn word_level_tokenizer<'a>(
    symbols: &str,
    markers: &[&str],
    words: impl Iterator<Item = &'a str>,
    names: impl Iterator<Item = &'a str>,
) -> Value {
    let mut pieces: Vec<String> = SPECIAL.iter().map(ToString::to_string).collect();
    pieces.extend(('0'..='9').map(String::from));
    pieces.extend(symbols.chars().map(String::from));
    pieces.extend(markers.iter().map(ToString::to_string));
    // a word may open a sentence or follow a space
    for word in words {
        pieces.push(word.to_owned());
        pieces.push(format!(" {word}"));
    }
    pieces.extend(names.map(|name| format!(" {name}")));
    let vocabulary: serde_json::Map<String, Value> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), id.into())).collect();
    let added: Vec<Value> =
        SPECIAL.iter().enumerate().map(|(id, token)| special_token(id, token)).collect();
    let mut alternatives: Vec<String> = markers.iter().map(|marker| escape(marker)).collect();
    alternatives.extend([" ?[A-Za-z]+", "[0-9]", r"[\s\S]"].map(str::to_owned));
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": { "Regex": alternatives.join("|") },
            "behavior": "Isolated",
            "invert": false,
        },
        "post_processor": null,
        "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<|unk|>" },
    })
}

/// A special token as `tokenizer.json` lists it.
pub(crate) fn special_token(id: usize, token: &str) -> Value {
    json!({
        "id": id,
        "content": token,
        "single_word": false,
        "lstrip": false,
        "rstrip": false,
        "normalized": false,
        "special": true,
    })
}

/// The marker as a regular expression.
fn escape(marker: &str) -> String {
    let mut escaped = String::new();
    for c in marker.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\\' | '(' | ')' | '{' | '}' | '[' | ']' | '.' | '*' | '+' | '?' | '|' | '^' | '$' => {
                escaped.extend(['\\', c])
            }
            c => escaped.push(c),
        }
    }
    escaped
}
