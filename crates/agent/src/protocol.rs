//! How a policy's turn ends, what it asks for, and what is put behind it.
//!
//! Inside a turn (ToRL, Search-R1) a call is answered where it ends, and the turn goes on. A chat
//! model's turn ends by its own token; all its calls are answered together, and the next turn is
//! opened as the template opens it.

use crate::Authored;
use paretopo_chat::{ChatError, ChatTurns, InTurn, Parsed, Piece, ReplyTurn, Tokenizer};
use paretopo_trajectory::{Author, TokenId};
use std::borrow::Cow;
use std::sync::Arc;

/// The way of talking of one policy.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    InTurn(InTurn),
    Chat(Arc<ChatTurns>),
}

/// What stands behind a turn: ids by who wrote them, and the text.
pub(crate) struct Answered {
    pub(crate) pieces: Vec<Authored>,
    pub(crate) text: String,
}

impl Protocol {
    /// The text that begins a call, where there is one that nothing else begins with.
    pub(crate) fn open_string(&self) -> Option<&'static str> {
        match self {
            Self::InTurn(syntax) => Some(syntax.open_string()),
            Self::Chat(turns) => turns.format().open_string(),
        }
    }

    /// The call that an unfinished turn has just completed; none where a turn has to end first.
    pub(crate) fn completed(&self, turn: &str) -> Option<Parsed> {
        let Self::InTurn(syntax) = self else { return None };
        let call = syntax.parse(syntax.completed_call(turn)?);
        (call != Parsed::None).then_some(call)
    }

    /// The calls of a turn that has ended by itself; none where it is an answer.
    pub(crate) fn calls(&self, turn: &str) -> Vec<Parsed> {
        match self {
            // answered inside, or never completed
            Self::InTurn(_) => Vec::new(),
            Self::Chat(turns) => turns.calls(turn),
        }
    }

    /// What of a turn counts as an answer.
    pub(crate) fn said<'t>(&self, turn: &'t str) -> &'t str {
        match self {
            Self::InTurn(_) => turn,
            Self::Chat(turns) => turns.said(turn),
        }
    }

    /// What is put behind a turn whose calls have these outputs, in their order. `end` is the token
    /// that ended it.
    ///
    /// # Errors
    /// When the tokenizer or the template fails.
    pub(crate) fn answered(
        &self,
        tokenizer: &Tokenizer,
        outputs: &[Output],
        end: Option<TokenId>,
    ) -> Result<Answered, ChatError> {
        match self {
            Self::InTurn(syntax) => {
                let (before, after) = syntax.output_markers();
                let mut pieces = Vec::with_capacity(3);
                let mut text = String::new();
                for output in outputs {
                    pieces.push((Author::Template, tokenizer.encode_plain(before)?));
                    pieces.push((Author::Tool, output.ids.clone()));
                    pieces.push((Author::Template, tokenizer.encode_plain(after)?));
                    text.extend([before, &output.text, after]);
                }
                Ok(Answered { pieces, text })
            }
            Self::Chat(turns) => in_turns_of_tools(turns, tokenizer, outputs, end),
        }
    }
}

/// What is put behind a turn that the environment has answered: a user's turn, and where the policy's
/// next one begins. `end` is the token that ended the policy's.
///
/// # Errors
/// When the tokenizer fails.
pub(crate) fn replied(
    turn: &ReplyTurn,
    tokenizer: &Tokenizer,
    reply: &str,
    end: Option<TokenId>,
) -> Result<Answered, ChatError> {
    let written = turn.written(reply);
    let pieces =
        [Piece::Template(&turn.before), Piece::Foreign(&written), Piece::Template(&turn.behind)];
    let behind = end.map(|id| tokenizer.decode(&[id])).transpose()?.unwrap_or_default();
    let ids = tokenizer.encode_pieces(&behind, &pieces)?;
    let authors = [Author::Template, Author::Environment, Author::Template];
    let text = pieces.iter().map(|piece| piece.text()).collect();
    Ok(Answered { pieces: authors.into_iter().zip(ids).collect(), text })
}

/// A tool's output, cut to what may be shown.
pub(crate) struct Output {
    pub(crate) ids: Vec<TokenId>,
    pub(crate) text: String,
}

/// See [`Protocol::answered`].
pub(crate) fn in_turns_of_tools(
    turns: &ChatTurns,
    tokenizer: &Tokenizer,
    outputs: &[Output],
    end: Option<TokenId>,
) -> Result<Answered, ChatError> {
    let between = turns.between(outputs.len())?;
    let written: Vec<Cow<'_, str>> =
        outputs.iter().map(|output| turns.written(&output.text)).collect();
    let mut parts = Vec::with_capacity(2 * outputs.len() + 1);
    for (place, piece) in between.iter().enumerate() {
        parts.push((Author::Template, Piece::Template(piece)));
        if let Some(output) = written.get(place) {
            parts.push((Author::Tool, Piece::Foreign(output)));
        }
    }
    let pieces: Vec<Piece<'_>> = parts.iter().map(|(_, piece)| *piece).collect();
    let behind = end.map(|id| tokenizer.decode(&[id])).transpose()?.unwrap_or_default();
    let ids = tokenizer.encode_pieces(&behind, &pieces)?;
    let text = pieces.iter().map(|piece| piece.text()).collect();
    let authors = parts.iter().map(|(author, _)| *author);
    Ok(Answered { pieces: authors.zip(ids).collect(), text })
}
