//! Conversations as ids to learn from.

use crate::PolicyText;
use paretopo_chat::{ChatError, Conversation, Piece, Rendered};
use paretopo_trajectory::{Author, TokenId};

/// A text to learn from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lesson {
    /// The text, and the bytes of it that the assistant wrote.
    pub rendered: Rendered,
    /// Its ids, those of the text as a whole.
    pub ids: Vec<TokenId>,
    /// Which of them the assistant wrote; a token across two pieces is the first's.
    pub mask: Vec<bool>,
}

impl PolicyText {
    /// A conversation as the policy reads it, and what of it the policy learns to write; see
    /// [`paretopo_chat::ChatTemplate::lessons`].
    ///
    /// # Errors
    /// When the template does not render it or does not tell whose turn is whose, or the tokenizer
    /// fails.
    pub fn lessons(&self, conversation: &Conversation) -> Result<Vec<Lesson>, ChatError> {
        let lessons = self.template.lessons(conversation, &self.ends()?)?;
        lessons.into_iter().map(|rendered| self.lesson(rendered)).collect()
    }

    fn lesson(&self, rendered: Rendered) -> Result<Lesson, ChatError> {
        let pieces = by_author(&rendered);
        let texts: Vec<Piece<'_>> = pieces.iter().map(|(_, text)| Piece::Template(text)).collect();
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for ((author, _), piece) in pieces.iter().zip(self.tokenizer.encode_pieces("", &texts)?) {
            mask.resize(mask.len() + piece.len(), *author == Author::Model);
            ids.extend(piece);
        }
        Ok(Lesson { rendered, ids, mask })
    }
}

/// A text in pieces of one author each, none of them empty.
fn by_author(rendered: &Rendered) -> Vec<(Author, &str)> {
    let (mut pieces, mut end) = (Vec::new(), 0);
    for turn in &rendered.assistant {
        pieces.push((Author::Template, &rendered.text[end..turn.start]));
        pieces.push((Author::Model, &rendered.text[turn.clone()]));
        end = turn.end;
    }
    pieces.push((Author::Template, &rendered.text[end..]));
    pieces.retain(|(_, text)| !text.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_pieces_by_author() {
        let rendered = Rendered { text: "abcdef".into(), assistant: vec![0..1, 1..2, 4..6] };
        let pieces = by_author(&rendered);
        assert_eq!(
            pieces,
            [
                (Author::Model, "a"),
                (Author::Model, "b"),
                (Author::Template, "cd"),
                (Author::Model, "ef")
            ]
        );
    }
}
