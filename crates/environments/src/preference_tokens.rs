//! Tokens that tell a policy how much each objective counts: `<w0>` to `<w10>`, a weight in tenths.
//!
//! They stand in front of the question, one for each objective in order: `<w8><w2>question`.

use crate::word_level::special_token;
use serde_json::Value;

/// The largest weight, in tenths.
const TENTHS: u32 = 10;

/// The token of a weight in tenths; weights above one count as one.
pub fn preference_token(tenths: u32) -> String {
    format!("<w{}>", tenths.min(TENTHS))
}

/// A word-level tokenizer with the eleven tokens as special ones behind its vocabulary.
pub(crate) fn with_preference_tokens(mut tokenizer: Value) -> Value {
    for tenths in 0..=TENTHS {
        let token = preference_token(tenths);
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut();
        let vocabulary = vocabulary.expect("a word-level tokenizer has a vocabulary");
        let id = vocabulary.len();
        vocabulary.insert(token.clone(), id.into());
        let added = tokenizer["added_tokens"].as_array_mut();
        let added = added.expect("a word-level tokenizer has added tokens");
        added.push(special_token(id, &token));
    }
    tokenizer
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn eleven_tokens_follow_the_vocabulary() {
        let small = json!({ "model": { "vocab": { "a": 0, "b": 1 } }, "added_tokens": [] });
        let tokenizer = with_preference_tokens(small);
        assert_eq!(tokenizer["model"]["vocab"]["<w0>"], 2);
        assert_eq!(tokenizer["model"]["vocab"]["<w10>"], 12);
        let added = tokenizer["added_tokens"].as_array().unwrap();
        assert_eq!(added.len(), 11);
        assert_eq!((&added[7]["content"], &added[7]["id"]), (&json!("<w7>"), &json!(9)));
        assert_eq!(preference_token(11), "<w10>");
    }
}
