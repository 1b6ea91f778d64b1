//! The turns of a chat model: what ends one, what it says and asks for, and what the checkpoint's
//! template puts behind it before the next.
//!
//! What stands between two turns of the policy is derived from the template: a conversation with
//! placeholders is rendered (a user, an assistant that calls, the tools' results), and what stands
//! behind the token that ends the assistant's turn is taken. Only that is ever appended. History is
//! never rendered again, so a template that rewrites it (Qwen3 drops earlier thinking) cannot change
//! what was sampled.
//!
//! Left out: results that are not text, and templates that ask for an id which the model has drawn
//! (they get the placeholder's).

use crate::calls::behind_thinking;
use crate::{CallFormat, ChatError, ChatTemplate, Conversation, Parsed, ToolSyntax};
use paretopo_trajectory::{ToolCall, ToolSpec};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The turns of one policy with one list of tools.
#[derive(Debug)]
pub struct ChatTurns {
    template: Arc<ChatTemplate>,
    tools: Vec<ToolSpec>,
    format: CallFormat,
    /// Of the template.
    variables: Map<String, Value>,
    /// Texts of the tokens that end a turn.
    ends: Vec<String>,
    /// When this was derived, in seconds since 1970: what templates tell of the date is the same in
    /// all that is compared.
    now: i64,
    /// What a question and the header of the policy's turn are rendered as.
    opening: String,
    form: Form,
    between: Mutex<BTreeMap<usize, Arc<[String]>>>,
}

impl ChatTurns {
    /// Derives what stands behind a turn with one call; `ends` are the texts of the tokens that end
    /// a turn.
    ///
    /// # Errors
    /// When the template names no format of calls and none is given, or when it does not render
    /// such a conversation so that it can be taken apart: it refuses tools, or leaves results out.
    pub fn new(
        template: &Arc<ChatTemplate>,
        tools: &[ToolSpec],
        syntax: &ToolSyntax,
        ends: Vec<String>,
    ) -> Result<Self, ChatError> {
        let has_tools = !tools.is_empty();
        let given = match syntax {
            ToolSyntax::Chat { format, .. } => *format,
            _ => None,
        };
        let format = match given.or_else(|| CallFormat::of_template(template.text(has_tools))) {
            Some(format) => format,
            None => {
                return Err(ChatError::Turns(format!(
                    "`{}`: the chat template does not say how calls are written\nhint: name it, as \
                     in `rollout.syntax={{ type = \"chat\", format = \"hermes\" }}`, or take a \
                     syntax inside a turn such as `fenced_python`",
                    template.file().display()
                )));
            }
        };
        let mut turns = Self {
            template: template.clone(),
            tools: tools.to_vec(),
            format,
            variables: syntax.variables(),
            ends,
            now: crate::jinja::now(),
            opening: String::new(),
            form: Form::AsItIs,
            between: Mutex::default(),
        };
        turns.opening = turns.rendered(&[user()], true)?;
        if has_tools {
            turns.between(1)?;
            turns.form = turns.form_of_results()?;
        }
        Ok(turns)
    }

    /// How calls are written.
    pub fn format(&self) -> CallFormat {
        self.format
    }

    /// What of a turn is said and not only thought.
    pub fn said<'t>(&self, turn: &'t str) -> &'t str {
        // some prompts have opened the thinking already
        behind_thinking(turn, self.opening.trim_end().ends_with("<think>"))
    }

    /// The calls of a finished turn; none where it is an answer.
    pub fn calls(&self, turn: &str) -> Vec<Parsed> {
        self.format.parse(self.said(turn), &self.tools)
    }

    /// A tool's result as the template writes it.
    pub fn written<'r>(&self, result: &'r str) -> Cow<'r, str> {
        self.form.of(result)
    }

    /// What stands behind a turn that made so many calls, up to where the next begins: the pieces
    /// before, between and behind the tools' outputs, one more than there are outputs.
    ///
    /// # Errors
    /// When the template does not render it so that it can be taken apart.
    pub fn between(&self, outputs: usize) -> Result<Arc<[String]>, ChatError> {
        let mut known = self.between.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pieces) = known.get(&outputs) {
            return Ok(pieces.clone());
        }
        let pieces: Arc<[String]> = self.derived(outputs)?.into();
        known.insert(outputs, pieces.clone());
        Ok(pieces)
    }

    /// A turn of the policy as the template writes it, without the token that ends it: for
    /// demonstrations.
    ///
    /// # Errors
    /// When the template does not write it behind what it opens a turn with.
    pub fn turn(&self, text: &str, calls: &[ToolCall]) -> Result<String, ChatError> {
        let mut assistant = json!({ "role": "assistant", "content": text });
        if !calls.is_empty() {
            assistant["tool_calls"] = told(calls.iter().map(|call| (&*call.name, &call.arguments)));
        }
        let whole = self.rendered(&[user(), assistant], false)?;
        let Some(turn) = whole.strip_prefix(&self.opening) else {
            return Err(self.refused("it writes a turn in another way than it opens one"));
        };
        let ends = self.ends.iter().filter(|end| !end.is_empty());
        match ends.filter_map(|end| turn.rfind(end.as_str())).max() {
            Some(end) => Ok(turn[..end].to_owned()),
            None => Err(self.refused("it does not end a turn with a token that ends turns")),
        }
    }

    fn derived(&self, outputs: usize) -> Result<Vec<String>, ChatError> {
        let first = self.taken_apart("Xq7", outputs)?;
        // words of other length and letters: what changes with them is no part of the template
        if first != self.taken_apart("Bananas9", outputs)? {
            return Err(self.refused("what it puts around a tool's result depends on the result"));
        }
        Ok(first)
    }

    /// The pieces around results that are such a word and a number.
    fn taken_apart(&self, word: &str, outputs: usize) -> Result<Vec<String>, ChatError> {
        let asked = format!("{word}Asked");
        let result = |place: usize| format!("{word}Result{place}End");
        let results: Vec<String> = (0..outputs).map(result).collect();
        // a template that allows one call a turn may still be asked for several results
        let text = match self.rendered(&self.conversation(&asked, &results, outputs), true) {
            Err(_) if outputs > 1 => {
                self.rendered(&self.conversation(&asked, &results, 1), true)?
            }
            other => other?,
        };
        // some render either the text of a turn or its calls
        let behind_user = text.rfind(USER).map_or(0, |at| at + USER.len());
        let from = text.find(&asked).map_or(behind_user, |at| at + asked.len());
        let first = text[from..].find(&result(0)).map(|at| from + at);
        let Some(first) = first else {
            return Err(self.refused("it leaves a tool's result out"));
        };
        // the last one before the first result: where a turn's text is left out, the user's turn has
        // one, too
        let end = behind_last_end(&text[from..first], &self.ends);
        let Some(mut rest) = end.map(|end| &text[from + end..]) else {
            let ends = self.ends.join("`, `");
            return Err(self.refused(&format!(
                "it does not end a turn that calls with a token that ends turns (`{ends}`)"
            )));
        };
        let mut pieces = Vec::with_capacity(outputs + 1);
        for place in 0..outputs {
            let Some((before, behind)) = rest.split_once(&result(place)) else {
                return Err(self.refused("it leaves a tool's result out"));
            };
            pieces.push(before.to_owned());
            rest = behind;
        }
        if rest.contains(word) {
            return Err(self.refused("it repeats a tool's result"));
        }
        pieces.push(rest.to_owned());
        Ok(pieces)
    }

    /// A user, an assistant that makes so many calls, and what the tools returned.
    fn conversation(&self, asked: &str, results: &[String], calls: usize) -> Vec<Value> {
        let tool = self.tools.first().map_or("tool", |tool| tool.name.as_str());
        let nothing = json!({});
        let calls = told((0..calls).map(|_| (tool, &nothing)));
        let assistant = json!({ "role": "assistant", "content": asked, "tool_calls": calls });
        let result = |(place, content): (usize, &String)| {
            let id = call_id(place);
            json!({ "role": "tool", "name": tool, "tool_call_id": id, "content": content })
        };
        [user(), assistant].into_iter().chain(results.iter().enumerate().map(result)).collect()
    }

    /// How the template writes a result.
    fn form_of_results(&self) -> Result<Form, ChatError> {
        let probe = " a \"quoted\"\n\u{e4} line ";
        let text = self.rendered(&self.conversation("", &[probe.to_owned()], 1), true)?;
        let forms = [Form::AsItIs, Form::Trimmed, Form::Json];
        let found = forms.into_iter().find(|form| text.contains(form.of(probe).as_ref()));
        found.ok_or_else(|| self.refused("it rewrites what a tool returns"))
    }

    fn rendered(&self, messages: &[Value], opens: bool) -> Result<String, ChatError> {
        let as_map = |message: &Value| message.as_object().cloned().unwrap_or_default();
        let conversation = Conversation {
            messages: messages.iter().map(as_map).collect(),
            variables: self.variables.clone(),
            now: Some(self.now),
            ..Conversation::new(&[], &self.tools, opens)
        };
        text_of(&self.template, &conversation, |reason| self.refused(reason))
    }

    fn refused(&self, reason: &str) -> ChatError {
        ChatError::Turns(format!(
            "`{}`: turns with tools cannot be derived from the chat template: {reason}\nhint: take \
             a syntax inside a turn such as `rollout.syntax={{ type = \"hermes\" }}`",
            self.template.file().display()
        ))
    }
}

/// A conversation as the template writes it; `refused` tells what the template does not take.
pub(crate) fn text_of(
    template: &ChatTemplate,
    conversation: &Conversation,
    refused: impl FnOnce(&str) -> ChatError,
) -> Result<String, ChatError> {
    match template.render_conversation(conversation) {
        Ok(rendered) => Ok(rendered.text),
        Err(ChatError::Template(reason)) => Err(refused(&reason)),
        Err(other) => Err(other),
    }
}

/// Where the last token that ends a turn ends.
pub(crate) fn behind_last_end(text: &str, ends: &[String]) -> Option<usize> {
    let ends = ends.iter().filter(|end| !end.is_empty());
    ends.filter_map(|end| Some(text.rfind(end.as_str())? + end.len())).max()
}

/// How a template writes a tool's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    AsItIs,
    /// Without spaces at its ends.
    Trimmed,
    /// As the inside of a JSON string (Llama 3.1).
    Json,
}

impl Form {
    pub(crate) fn of(self, result: &str) -> Cow<'_, str> {
        match self {
            Self::AsItIs => result.into(),
            Self::Trimmed => result.trim().into(),
            Self::Json => {
                let quoted = Value::from(result).to_string();
                quoted[1..quoted.len() - 1].to_owned().into()
            }
        }
    }
}

/// What the user of the conversation with placeholders says.
const USER: &str = "WhoseTurnIsIt?";

/// The id of the call at a place of its turn; Mistral's templates want nine letters or digits.
fn call_id(place: usize) -> String {
    format!("{:09}", place + 1)
}

/// `tool_calls` of a message, given names and arguments.
fn told<'c>(calls: impl Iterator<Item = (&'c str, &'c Value)>) -> Value {
    let call = |(place, (name, arguments)): (usize, _)| {
        let function = json!({ "name": name, "arguments": arguments });
        json!({ "id": call_id(place), "type": "function", "function": function })
    };
    calls.enumerate().map(call).collect()
}

fn user() -> Value {
    json!({ "role": "user", "content": USER })
}
