//! A checkpoint's `tokenizer.json`, read with Hugging Face's own crate.

use crate::ChatError;
use paretopo_containment::contained;
use paretopo_trajectory::TokenId;
use std::path::Path;

/// Encodes and decodes. Cheap to share by reference; all methods take `&self`.
///
/// ```
/// use paretopo_chat::Tokenizer;
///
/// fn main() -> Result<(), paretopo_chat::ChatError> {
///     let json = r#"{"version": "1.0", "truncation": null, "padding": null,
///         "added_tokens": [{"id": 3, "content": "<end>", "single_word": false, "lstrip": false,
///             "rstrip": false, "normalized": false, "special": true}],
///         "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
///         "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}"#;
///     let tokenizer = Tokenizer::from_bytes(json.as_bytes())?;
///     // a rendered template may hold the marker of an end
///     assert_eq!(tokenizer.encode("aab<end>")?, [0, 2, 3]);
///     // in the output of a tool it is a text like any other, of which this one knows no letter
///     assert_eq!(tokenizer.encode_plain("aab<end>")?, [0, 2]);
///     assert_eq!(tokenizer.decode(&[2, 3])?, "ab <end>");
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    with_markers: tokenizers::Tokenizer,
    plain: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is no tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, ChatError> {
        let text = paretopo_reading::read_text(path)
            .map_err(|source| ChatError::Read { path: path.into(), source })?;
        Self::from_bytes(text.as_bytes()).map_err(|error| ChatError::Invalid {
            path: path.into(),
            what: "tokenizer",
            reason: error.to_string(),
        })
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is no tokenizer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ChatError> {
        let with_markers = guarded(|| {
            let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes)?;
            // who saved the file may have trained with both; like transformers, the text is taken
            // as it is unless asked otherwise
            tokenizer.with_padding(None).with_truncation(None)?;
            Ok(tokenizer)
        })?;
        let mut plain = with_markers.clone();
        plain.set_encode_special_tokens(true);
        Ok(Self { with_markers, plain })
    }

    /// Encodes text in which special tokens (such as `<|im_start|>`) mean themselves: rendered
    /// templates.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, ChatError> {
        encode(&self.with_markers, text, false)
    }

    /// Like [`Self::encode`], followed by the tokenizer's own post-processing (for example a
    /// leading `<s>`), as transformers does by default for bare text.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode_with_special(&self, text: &str) -> Result<Vec<TokenId>, ChatError> {
        encode(&self.with_markers, text, true)
    }

    /// Encodes foreign text (tool output), in which a special token is only a string: no output can
    /// forge a marker.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<TokenId>, ChatError> {
        encode(&self.plain, text, false)
    }

    /// Decodes ids, special tokens included. Ids that split a character yield U+FFFD.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[TokenId]) -> Result<String, ChatError> {
        guarded(|| self.with_markers.decode(ids, false))
    }

    /// The id of a token given as it stands in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<TokenId> {
        self.with_markers.token_to_id(token)
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.with_markers.get_vocab_size(true)
    }
}

fn encode(
    tokenizer: &tokenizers::Tokenizer,
    text: &str,
    add_special: bool,
) -> Result<Vec<TokenId>, ChatError> {
    Ok(guarded(|| tokenizer.encode_fast(text, add_special))?.get_ids().to_vec())
}

/// A tokenizer that loads may still panic at some text.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, ChatError> {
    contained(work)
        .map_err(ChatError::Tokenizer)?
        .map_err(|error| ChatError::Tokenizer(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer of two letters with its parts replaced.
    fn tokenizer(
        padding: &str,
        truncation: &str,
        post_processor: &str,
        decoder: &str,
    ) -> Tokenizer {
        let json = format!(
            r#"{{"version":"1.0","truncation":{truncation},"padding":{padding},"added_tokens":[],"normalizer":null,"pre_tokenizer":null,
            "post_processor":{post_processor},"decoder":{decoder},"model":{{"type":"BPE","vocab":{{"a":0,"b":1}},"merges":[]}}}}"#
        );
        Tokenizer::from_bytes(json.as_bytes()).unwrap()
    }

    #[test]
    fn text_is_neither_padded_nor_cut_off() {
        let padding = r#"{"strategy":{"Fixed":8},"direction":"Left","pad_to_multiple_of":null,"pad_id":1,"pad_type_id":0,"pad_token":"b"}"#;
        let truncation =
            r#"{"max_length":2,"strategy":"LongestFirst","stride":0,"direction":"Right"}"#;
        assert_eq!(
            tokenizer(padding, truncation, "null", "null").encode("abba").unwrap(),
            [0, 1, 1, 0]
        );
    }

    /// Both load, and both make the library panic.
    #[test]
    fn a_tokenizer_that_panics_is_an_error() {
        let template = r#"{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"X","type_id":0}}],"pair":[],"special_tokens":{}}"#;
        assert!(tokenizer("null", "null", template, "null").encode_with_special("a").is_err());
        let strip = r#"{"type":"Strip","content":"a","start":9,"stop":9}"#;
        assert!(tokenizer("null", "null", "null", strip).decode(&[0]).is_err());
    }
}
