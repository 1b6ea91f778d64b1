//! A checkpoint's `tokenizer.json`, read with Hugging Face's own crate.

use crate::ChatError;
use paretopo_trajectory::TokenId;
use std::path::Path;

/// Encodes and decodes. Cheap to share by reference; all methods take `&self`.
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
        let bytes = std::fs::read(path).map_err(|source| ChatError::Read { path: path.into(), source })?;
        Self::from_bytes(&bytes).map_err(|error| ChatError::Invalid { path: path.into(), what: "tokenizer", reason: error.to_string() })
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is no tokenizer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ChatError> {
        let with_markers = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| ChatError::Tokenizer(error.to_string()))?;
        let mut plain = with_markers.clone();
        plain.set_encode_special_tokens(true);
        Ok(Self { with_markers, plain })
    }

    /// Encodes text in which special tokens (such as `<|im_start|>`) mean themselves: rendered templates.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, ChatError> {
        encode(&self.with_markers, text, false)
    }

    /// Like [`Self::encode`], followed by the tokenizer's own post-processing (for example a leading `<s>`), as
    /// transformers does by default for bare text.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode_with_special(&self, text: &str) -> Result<Vec<TokenId>, ChatError> {
        encode(&self.with_markers, text, true)
    }

    /// Encodes foreign text (tool output), in which a special token is only a string: no output can forge a marker.
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
        self.with_markers.decode(ids, false).map_err(|error| ChatError::Tokenizer(error.to_string()))
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

fn encode(tokenizer: &tokenizers::Tokenizer, text: &str, add_special: bool) -> Result<Vec<TokenId>, ChatError> {
    let encoding = tokenizer.encode_fast(text, add_special).map_err(|error| ChatError::Tokenizer(error.to_string()))?;
    Ok(encoding.get_ids().to_vec())
}
