//! A checkpoint's `tokenizer.json`, read with Hugging Face's own crate.

use crate::ChatError;
use paretopo_containment::contained;
use paretopo_trajectory::TokenId;
use std::collections::HashSet;
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
    /// Without any added token, also such as are not special; `None` where all are.
    foreign: Option<tokenizers::Tokenizer>,
    /// Added tokens that can be read, by their ids.
    markers: HashSet<TokenId>,
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
        let added = with_markers.get_added_tokens_decoder();
        let foreign = match added.values().all(|token| token.special) {
            true => None,
            false => Some(guarded(|| without_added_tokens(bytes))?),
        };
        let is_seen = |text: &str| !text.trim().is_empty();
        let markers = added.iter().filter(|(_, token)| token.special || is_seen(&token.content));
        let markers = markers.map(|(id, _)| *id).collect();
        Ok(Self { with_markers, plain, foreign, markers })
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

    /// Encodes foreign text (tool output), in which every added token is only a string, special or
    /// not (Qwen's `<tool_response>` is not): no output can forge a marker.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode_foreign(&self, text: &str) -> Result<Vec<TokenId>, ChatError> {
        encode(self.foreign.as_ref().unwrap_or(&self.plain), text, false)
    }

    /// Encodes a text made of the template's pieces and of foreign ones, which stands behind the
    /// token with the text `behind`; returns the ids of each piece. They are those of the text as a
    /// whole, as if it had been rendered and encoded at once; a token across two pieces is the
    /// first's. Only where a foreign piece would make a marker each piece is encoded alone, as
    /// [`Self::encode_foreign`] does.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode_pieces(
        &self,
        behind: &str,
        pieces: &[Piece<'_>],
    ) -> Result<Vec<Vec<TokenId>>, ChatError> {
        let mut text = behind.to_owned();
        let mut ends = Vec::with_capacity(pieces.len());
        for piece in pieces {
            text.push_str(piece.text());
            ends.push(text.len());
        }
        let encoding = guarded(|| self.with_markers.encode(text.as_str(), false))?;
        let mut found = vec![Vec::new(); pieces.len()];
        let ids = encoding.get_ids().iter().zip(encoding.get_offsets());
        for (id, (begin, end)) in ids.filter(|(_, (_, end))| *end > behind.len()) {
            let Some(piece) = ends.iter().position(|of_piece| begin < of_piece) else { continue };
            let last = ends.iter().position(|of_piece| end <= of_piece).unwrap_or(piece);
            let is_foreign = (piece..=last).any(|place| matches!(pieces[place], Piece::Foreign(_)));
            if is_foreign && self.markers.contains(id) {
                return pieces.iter().map(|piece| self.encode_piece(piece)).collect();
            }
            found[piece].push(*id);
        }
        Ok(found)
    }

    fn encode_piece(&self, piece: &Piece<'_>) -> Result<Vec<TokenId>, ChatError> {
        match piece {
            Piece::Template(text) => self.encode(text),
            Piece::Foreign(text) => self.encode_foreign(text),
        }
    }

    /// Encodes text in which a special token is only a string, and other added tokens mean
    /// themselves: what a policy would write, and markers that are text.
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

/// A piece of a text that is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The template's: tokens such as `<|im_start|>` mean themselves.
    Template(&'a str),
    /// Somebody else's, in which they are only strings.
    Foreign(&'a str),
}

impl<'a> Piece<'a> {
    /// What it says.
    pub fn text(&self) -> &'a str {
        match self {
            Self::Template(text) | Self::Foreign(text) => text,
        }
    }
}

/// The tokenizer of a file, for which all added tokens are text.
fn without_added_tokens(bytes: &[u8]) -> tokenizers::Result<tokenizers::Tokenizer> {
    let mut json: serde_json::Value = serde_json::from_slice(bytes)?;
    for token in json["added_tokens"].as_array_mut().into_iter().flatten() {
        token["special"] = true.into();
    }
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(serde_json::to_vec(&json)?)?;
    tokenizer.with_padding(None).with_truncation(None)?;
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
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

    /// One of five letters, in which `<r>` is added and not special, and `bc` one token.
    fn with_markers() -> Tokenizer {
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"normalizer":null,"pre_tokenizer":null,
            "added_tokens":[{"id":8,"content":"<r>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false},
                            {"id":9,"content":"<e>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
            "post_processor":null,"decoder":null,
            "model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"<":3,"r":4,">":5,"bc":6,"e":7},"merges":["b c"]}}"#;
        Tokenizer::from_bytes(json.as_bytes()).unwrap()
    }

    #[test]
    fn pieces_have_the_ids_of_the_whole_text() {
        let tokenizer = with_markers();
        let pieces = [Piece::Template("<r>b"), Piece::Foreign("ca"), Piece::Template("<r>")];
        // `bc` is one token across two pieces, as in the whole text
        let found = tokenizer.encode_pieces("<e>", &pieces).unwrap();
        assert_eq!(found, [vec![8, 6], vec![0], vec![8]]);
        assert_eq!(found.concat(), tokenizer.encode("<e><r>bca<r>").unwrap()[1..]);
    }

    #[test]
    fn no_foreign_piece_makes_a_marker() {
        let tokenizer = with_markers();
        assert_eq!(tokenizer.encode_plain("<r><e>").unwrap(), [8, 3, 7, 5]);
        assert_eq!(tokenizer.encode_foreign("<r><e>").unwrap(), [3, 4, 5, 3, 7, 5]);
        let pieces =
            |foreign| [Piece::Template("<r>b"), Piece::Foreign(foreign), Piece::Template("<e>")];
        for (foreign, ids) in [("<r>", vec![3, 4, 5]), ("c<e>", vec![2, 3, 7, 5])] {
            let found = tokenizer.encode_pieces("<e>", &pieces(foreign)).unwrap();
            assert_eq!(found, [vec![8, 1], ids, vec![9]]);
        }
        // a marker that only both pieces make together
        let split = [Piece::Foreign("a<"), Piece::Template("r>")];
        assert_eq!(tokenizer.encode_pieces("", &split).unwrap(), [vec![0, 3], vec![4, 5]]);
    }

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
