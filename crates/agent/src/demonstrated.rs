//! A demonstration as ids, piece by piece as the turn loop would have put them: what the policy is
//! to write, and what it reads.

use crate::PolicyText;
use crate::protocol::{Output, Protocol, in_turns_of_tools};
use paretopo_chat::{ChatError, ChatTurns, InTurn, ToolSyntax};
use paretopo_environments::{DemonstrationTurn, ToolEnvironment};
use paretopo_trajectory::{Author, TokenId, ToolCall};

/// Ids that follow each other, and whose they are.
pub type Authored = (Author, Vec<TokenId>);

impl PolicyText {
    /// The turns of a demonstration behind its opening, each piece with its author: what is
    /// [`Author::Model`]'s is what the policy learns to write.
    ///
    /// # Errors
    /// When the syntax cannot express a call, or the template or the tokenizer fails.
    pub fn demonstrated(
        &self,
        environment: &ToolEnvironment,
        turns: &[DemonstrationTurn],
        syntax: &ToolSyntax,
    ) -> Result<Vec<Authored>, ChatError> {
        match self.protocol(syntax, &environment.tools)? {
            Protocol::InTurn(in_turn) => self.inside_a_turn(in_turn, turns),
            Protocol::Chat(chat) => self.turn_by_turn(&chat, turns),
        }
    }

    fn written(&self, text: &str) -> Result<Authored, ChatError> {
        Ok((Author::Model, self.tokenizer.encode_plain(text)?))
    }

    fn end(&self) -> Authored {
        (Author::Model, self.end_ids[..1].to_vec())
    }

    fn inside_a_turn(
        &self,
        syntax: InTurn,
        turns: &[DemonstrationTurn],
    ) -> Result<Vec<Authored>, ChatError> {
        let protocol = Protocol::InTurn(syntax);
        let mut pieces = Vec::new();
        for turn in turns {
            match turn {
                DemonstrationTurn::Call(call) => {
                    let written = syntax.render_call(call).ok_or_else(|| {
                        ChatError::Template(format!(
                            "the configured syntax cannot express a call of `{}`",
                            call.name
                        ))
                    })?;
                    pieces.push(self.written(&written)?);
                }
                DemonstrationTurn::Output(output) => {
                    let outputs = [self.output(output)?];
                    pieces.extend(protocol.answered(&self.tokenizer, &outputs, None)?.pieces);
                }
                DemonstrationTurn::Text(text) => pieces.push(self.written(text)?),
                DemonstrationTurn::Answer(answer) => {
                    pieces.push(self.written(answer)?);
                    pieces.push(self.end());
                }
            }
        }
        Ok(pieces)
    }

    /// Texts and calls up to the next output are one turn; outputs that follow each other are those
    /// of its calls.
    fn turn_by_turn(
        &self,
        chat: &ChatTurns,
        turns: &[DemonstrationTurn],
    ) -> Result<Vec<Authored>, ChatError> {
        let mut pieces = Vec::new();
        let (mut text, mut calls): (String, Vec<ToolCall>) = Default::default();
        let mut outputs: Vec<Output> = Vec::new();
        for turn in turns {
            if !matches!(turn, DemonstrationTurn::Output(_)) {
                pieces.extend(self.answers(chat, &mut outputs)?);
            }
            match turn {
                DemonstrationTurn::Output(output) => {
                    if outputs.is_empty() {
                        pieces.extend(self.turn(chat, &mut text, &mut calls)?);
                    }
                    outputs.push(self.output(output)?);
                }
                DemonstrationTurn::Call(call) => calls.push(call.clone()),
                DemonstrationTurn::Text(said) => text.push_str(said),
                DemonstrationTurn::Answer(answer) => {
                    text.push_str(answer);
                    pieces.extend(self.turn(chat, &mut text, &mut calls)?);
                }
            }
        }
        pieces.extend(self.answers(chat, &mut outputs)?);
        Ok(pieces)
    }

    /// A turn of the policy with the token that ends it.
    fn turn(
        &self,
        chat: &ChatTurns,
        text: &mut String,
        calls: &mut Vec<ToolCall>,
    ) -> Result<[Authored; 2], ChatError> {
        let (text, calls) = (std::mem::take(text), std::mem::take(calls));
        let written = chat.turn(&text, &calls)?;
        Ok([(Author::Model, self.tokenizer.encode(&written)?), self.end()])
    }

    fn answers(
        &self,
        chat: &ChatTurns,
        outputs: &mut Vec<Output>,
    ) -> Result<Vec<Authored>, ChatError> {
        let outputs = std::mem::take(outputs);
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        let end = Some(self.end_ids[0]);
        Ok(in_turns_of_tools(chat, &self.tokenizer, &outputs, end)?.pieces)
    }

    fn output(&self, text: &str) -> Result<Output, ChatError> {
        Ok(Output { ids: self.tokenizer.encode_foreign(text)?, text: text.to_owned() })
    }
}
