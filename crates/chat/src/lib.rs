//! Text <-> tokens: the tokenizer, the chat template, the syntaxes of tool calls, and when a turn
//! stops.
//!
//! ````
//! use paretopo_chat::{InTurn, Parsed};
//!
//! let syntax = InTurn::FencedPython;
//! let turn = "Let me compute.\n```python\nprint(6 * 7)\n``` and so on";
//! // the turn is cut behind its first complete call
//! let cut = syntax.completed_call(turn).expect("a call is complete");
//! assert_eq!(cut, "Let me compute.\n```python\nprint(6 * 7)\n```");
//!
//! let Parsed::Call(call) = syntax.parse(cut) else { panic!("it is a call") };
//! assert_eq!(call.name, "python");
//! assert_eq!(call.arguments["code"], "print(6 * 7)");
//! assert_eq!(syntax.parse("The answer is 42."), Parsed::None);
//! ````
//!
//! Text becomes ids in exactly two situations, both before the policy reads them: the opening of an
//! episode and the text that a tool returned. What the policy samples is only ever decoded, to look
//! for stop strings, calls and answers.

mod calls;
mod chat_turns;
mod conversation;
mod jinja;
mod lessons;
mod reply_turns;
mod syntax;
mod template;
mod template_workers;
mod tokenizer;
mod turn_text;

pub use calls::{CallFormat, behind_thinking};
pub use chat_turns::ChatTurns;
pub use conversation::{Conversation, Rendered};
pub use reply_turns::ReplyTurn;
pub use syntax::{InTurn, Parsed, ToolSyntax};
pub use template::{ChatTemplate, TemplateContext};
pub use template_workers::{TEMPLATE_WORKER_MEMORY, isolate_templates, template_worker};
pub use tokenizer::{Piece, Tokenizer};
pub use turn_text::TurnText;

use std::path::PathBuf;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// What can go wrong with a checkpoint's text files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// A file is missing or unreadable.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{path}` is not a valid {what}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer refused the text.
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
    /// The chat template rendered a task's opening, and nothing can be read in it.
    #[error(
        "`{file}`: the chat template renders nothing for task `{task}`\nhint: a policy needs a prompt; look at what the template does with a user's message"
    )]
    EmptyOpening {
        /// The template's file.
        file: PathBuf,
        /// The task.
        task: String,
    },
    /// The chat template renders the same whatever a task asks.
    #[error(
        "`{file}`: the chat template renders task `{task}` without its question: it says the same \
         for any other\nhint: a template has to render what is in `messages`; look at what it does \
         with a user's message"
    )]
    QuestionLeftOut {
        /// The template's file.
        file: PathBuf,
        /// The task.
        task: String,
    },
    /// Turns of tools cannot be derived from the chat template.
    #[error("{0}")]
    Turns(String),
    /// The chat template could not be rendered.
    #[error("the chat template failed: {0}")]
    Template(String),
}
