//! The text side of a checkpoint: tokenizer, chat template, and the tokens that end a turn.

use crate::protocol::Protocol;
use paretopo_chat::{
    ChatError, ChatTemplate, ChatTurns, Conversation, ReplyTurn, Tokenizer, ToolSyntax,
};
use paretopo_environments::ToolEnvironment;
use paretopo_generation::{ForbiddenText, SamplingConfig, forbidden_beginning, sampling_of};
use paretopo_tools::ListedTool;
use paretopo_trajectory::{Role, Task, TokenId, ToolSpec};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How an answer may be marked.
const ANSWERS: [&str; 2] = ["<answer>", "\\boxed{"];

/// What thoughts before an answer begin and end with.
const THOUGHTS: [&str; 2] = ["<think>", "</think>"];

/// What a policy needs to read and write text.
#[derive(Debug)]
pub struct PolicyText {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template.
    pub template: Arc<ChatTemplate>,
    /// Ids that end the policy's turn, at least one; the tokenizer's own first.
    pub end_ids: Vec<TokenId>,
    /// `generation_config.json`, if there is one, and where it is.
    generation: Option<(PathBuf, serde_json::Value)>,
    /// What begins a call, by its text.
    calls: Mutex<HashMap<String, Arc<ForbiddenText>>>,
    /// The turns of the tools that were asked for last.
    turns: Mutex<Option<Derived>>,
}

/// Turns that were derived for a syntax and its tools.
#[derive(Debug)]
struct Derived {
    syntax: ToolSyntax,
    tools: Vec<ToolSpec>,
    turns: Arc<ChatTurns>,
}

impl PolicyText {
    /// Reads `tokenizer.json`, `tokenizer_config.json` and, where they are there,
    /// `generation_config.json` and `config.json` from a checkpoint folder.
    ///
    /// # Errors
    /// When a file is missing or malformed, or nothing says which token ends a turn.
    pub fn from_folder(folder: &Path) -> Result<Self, ChatError> {
        let tokenizer = Tokenizer::from_file(&folder.join("tokenizer.json"))?;
        let template = ChatTemplate::from_folder(folder)?;
        let generation =
            optional_json(&folder.join("generation_config.json"), "generation configuration")?;
        let model = optional_json(&folder.join("config.json"), "model configuration")?;
        // the tokenizer's comes first: it is the one that chat templates end a turn with
        let mut end_ids: Vec<TokenId> =
            tokenizer.token_to_id(template.eos_token()).into_iter().collect();
        // like transformers, which makes a generation configuration from the model's where none
        // says anything
        let mut listed = Vec::new();
        for (config, name) in [(&generation, "generation_config.json"), (&model, "config.json")] {
            if listed.is_empty()
                && let Some(config) = config
            {
                listed = end_ids_of(eos_token_id(config)).map_err(|reason| {
                    let what = "list of tokens that end a turn";
                    ChatError::Invalid { path: folder.join(name), what, reason }
                })?;
            }
        }
        for id in listed {
            if !end_ids.contains(&id) {
                end_ids.push(id);
            }
        }
        if end_ids.is_empty() {
            let named = match template.eos_token() {
                "" => "no `eos_token`".to_owned(),
                token => format!("`tokenizer.json` has no token `{token}` (its `eos_token`)"),
            };
            return Err(ChatError::Invalid {
                path: folder.join("tokenizer_config.json"),
                what: "tokenizer configuration",
                reason: format!(
                    "{named}, and no `eos_token_id` in `generation_config.json` or `config.json`, so no turn would ever end\nhint: name the token that ends a turn in one of them"
                ),
            });
        }
        let generation = generation.map(|value| (folder.join("generation_config.json"), value));
        let (calls, turns) = (Mutex::default(), Mutex::default());
        Ok(Self { tokenizer, template: template.into(), end_ids, generation, calls, turns })
    }

    /// How `generation_config.json` says that tokens are to be drawn; `None` if there is no such
    /// file.
    ///
    /// # Errors
    /// Names the setting that is out of range, or that changes what is drawn and is not supported.
    pub fn sampling(&self) -> Result<Option<SamplingConfig>, ChatError> {
        let Some((path, value)) = &self.generation else { return Ok(None) };
        let invalid = |reason| ChatError::Invalid {
            path: path.clone(),
            what: "generation configuration",
            reason,
        };
        sampling_of(value).map(Some).map_err(invalid)
    }

    /// How this policy's turns end and are answered. For a chat model that is derived from its
    /// template, once for a list of tools.
    ///
    /// # Errors
    /// When the template does not say how calls are written, or refuses tools.
    pub(crate) fn protocol(
        &self,
        syntax: &ToolSyntax,
        tools: &[ListedTool],
    ) -> Result<Protocol, ChatError> {
        if let Some(in_turn) = syntax.in_turn() {
            return Ok(Protocol::InTurn(in_turn));
        }
        let specs: Vec<ToolSpec> = tools.iter().map(|tool| tool.spec()).collect();
        let mut known = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |derived: &&Derived| derived.syntax == *syntax && derived.tools == specs;
        if let Some(derived) = known.as_ref().filter(is_same) {
            return Ok(Protocol::Chat(derived.turns.clone()));
        }
        let turns = Arc::new(ChatTurns::new(&self.template, &specs, syntax, self.ends()?)?);
        *known = Some(Derived { syntax: syntax.clone(), tools: specs, turns: turns.clone() });
        Ok(Protocol::Chat(turns))
    }

    /// What stands around an environment's reply to a turn of this policy.
    ///
    /// # Errors
    /// When the template has no place for one.
    pub fn reply_turn(&self, syntax: &ToolSyntax) -> Result<ReplyTurn, ChatError> {
        ReplyTurn::new(&self.template, &syntax.variables(), &self.ends()?)
    }

    /// The texts of the tokens that end a turn.
    pub(crate) fn ends(&self) -> Result<Vec<String>, ChatError> {
        self.end_ids.iter().map(|id| self.tokenizer.decode(&[*id])).collect()
    }

    /// What begins a call, and which tokens spell it: for rows that must not begin one. `told` is what
    /// the policy is told: answers are marked as it says, or in any known way where it says none.
    /// Where no token spells the beginning whole, [`forbidden_beginning`] says what is left out. It is
    /// made once from the vocabulary.
    ///
    /// # Errors
    /// When a token cannot be decoded, none would be left to draw, or calls begin in no way of
    /// their own.
    pub(crate) fn beginning_of_calls(
        &self,
        protocol: &Protocol,
        told: &str,
    ) -> Result<Arc<ForbiddenText>, ChatError> {
        let Some(open) = protocol.open_string() else {
            return Err(ChatError::Turns(
                "calls cannot be forbidden (`tool_free`): in this format they begin as answers may\n\
                 hint: take a format with a marker, such as `hermes`"
                    .into(),
            ));
        };
        let allowed = allowed_marks(told, |mark| self.template.writes(mark));
        let key = format!("{open} {}", allowed.join(" "));
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = calls.get(&key) {
            return Ok(known.clone());
        }
        // a turn may always end
        let spelled_by = |id: TokenId| match self.end_ids.contains(&id) {
            true => Ok(String::new()),
            false => self.tokenizer.decode(&[id]),
        };
        let ids = 0..self.tokenizer.vocab_size() as TokenId;
        let spelled: Vec<String> = ids.map(spelled_by).collect::<Result<_, _>>()?;
        let beginning = forbidden_beginning(open, &spelled, &allowed);
        let refused = |reason: &str| ChatError::Tokenizer(reason.to_owned());
        let found = Arc::new(ForbiddenText::new(beginning, spelled).map_err(refused)?);
        calls.insert(key, found.clone());
        Ok(found)
    }

    /// The ids that open an episode on `task`; where the syntax has it so, the template describes
    /// the tools.
    ///
    /// # Errors
    /// When the template or the tokenizer fails, or the template renders nothing to read.
    pub fn opening(
        &self,
        environment: &ToolEnvironment,
        task: &Task,
        syntax: &ToolSyntax,
    ) -> Result<Vec<TokenId>, ChatError> {
        self.opening_told(environment, task, "", syntax)
    }

    /// [`Self::opening`] with something told in front of the question: of the last message that is
    /// the user's.
    ///
    /// # Errors
    /// As [`Self::opening`].
    pub fn opening_told(
        &self,
        environment: &ToolEnvironment,
        task: &Task,
        told: &str,
        syntax: &ToolSyntax,
    ) -> Result<Vec<TokenId>, ChatError> {
        let text = self.render(environment, task, told, syntax)?;
        let ids = self.tokenizer.encode(&text)?;
        if ids.is_empty() || self.template.is_blank(&text) {
            let file = self.template.file().to_owned();
            return Err(ChatError::EmptyOpening { file, task: task.id.clone() });
        }
        Ok(ids)
    }

    /// Whether the opening tells the policy what `task` asks: it is another one for another
    /// question.
    ///
    /// # Errors
    /// When it is not, there is nothing to read in it, or the template fails.
    pub fn require_question(
        &self,
        environment: &ToolEnvironment,
        task: &Task,
        syntax: &ToolSyntax,
    ) -> Result<(), ChatError> {
        // already the first character differs
        let question = if task.question.starts_with('0') { "1 or 2?" } else { "0 or 3?" };
        let other = Task { question: question.into(), ..task.clone() };
        let asked = self.render(environment, task, "", syntax)?;
        if self.template.is_blank(&asked) {
            let file = self.template.file().to_owned();
            return Err(ChatError::EmptyOpening { file, task: task.id.clone() });
        }
        // an error about the other question alone is a difference, too
        match self.render(environment, &other, "", syntax) {
            Ok(text) if text == asked => Err(ChatError::QuestionLeftOut {
                file: self.template.file().to_owned(),
                task: task.id.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The text of an opening.
    fn render(
        &self,
        environment: &ToolEnvironment,
        task: &Task,
        told: &str,
        syntax: &ToolSyntax,
    ) -> Result<String, ChatError> {
        let mut messages = environment.opening(task);
        let last = messages.iter_mut().rev().find(|message| message.role == Role::User);
        if let Some(question) = last {
            question.content.insert_str(0, told);
        }
        let described = environment.tools_of(task).filter(|_| syntax.describes_tools());
        let tools: Vec<_> = described.map(|tool| tool.spec()).collect();
        let conversation = Conversation {
            variables: syntax.variables(),
            ..Conversation::new(&messages, &tools, true)
        };
        Ok(self.template.render_conversation(&conversation)?.text)
    }
}

/// What a turn without a call may begin with: answers marked as it is told, or in any known way where
/// nothing is said; and thoughts, if the template writes their marks.
fn allowed_marks(told: &str, writes: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut allowed: Vec<&str> = ANSWERS.into_iter().filter(|mark| told.contains(mark)).collect();
    if allowed.is_empty() {
        allowed.extend(ANSWERS);
    }
    allowed.extend(THOUGHTS.into_iter().filter(|mark| writes(mark)));
    allowed
}

/// A JSON file; `None` if there is none.
fn optional_json(path: &Path, what: &'static str) -> Result<Option<serde_json::Value>, ChatError> {
    let text = match paretopo_reading::read_text(path) {
        Ok(text) => text,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ChatError::Read { path: path.into(), source }),
    };
    let invalid = |reason: String| ChatError::Invalid { path: path.into(), what, reason };
    let config: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    if !config.is_object() {
        return Err(invalid("it holds no JSON object".into()));
    }
    Ok(Some(config))
}

/// The `eos_token_id` of a configuration, or of its text's part where the model reads images, too.
fn eos_token_id(config: &serde_json::Value) -> &serde_json::Value {
    match &config["eos_token_id"] {
        serde_json::Value::Null => &config["text_config"]["eos_token_id"],
        stated => stated,
    }
}

/// The ids of an `eos_token_id`: a number, a list of numbers, or null for none.
fn end_ids_of(value: &serde_json::Value) -> Result<Vec<TokenId>, String> {
    let id = |value: &serde_json::Value| value.as_u64().and_then(|id| TokenId::try_from(id).ok());
    let ids = match value {
        serde_json::Value::Null => Some(Vec::new()),
        serde_json::Value::Array(list) => list.iter().map(id).collect(),
        one => id(one).map(|id| vec![id]),
    };
    ids.ok_or_else(|| format!("`eos_token_id` must be an id or a list of ids, not {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_chat::InTurn;
    use paretopo_generation::Written;
    use serde_json::json;

    #[test]
    fn a_call_that_several_tokens_spell_is_forbidden_from_its_beginning_on_and_an_end_never() {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary =
            json!({ "<": 0, "tool": 1, "_call>": 2, "answer>": 3, "<|end|>": 4, "?": 5 });
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": [{ "id": 4, "content": "<|end|>", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true }],
            "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "?" },
        });
        let config = json!({ "eos_token": "<|end|>", "chat_template": "{{ messages }}" });
        for (name, value) in [("tokenizer.json", tokenizer), ("tokenizer_config.json", config)] {
            std::fs::write(folder.path().join(name), value.to_string()).unwrap();
        }
        let text = PolicyText::from_folder(folder.path()).unwrap();
        let protocol = Protocol::InTurn(InTurn::Hermes);
        let forbidden = |told: &str| text.beginning_of_calls(&protocol, told).unwrap();
        let start = Written::default();
        let boxed = forbidden("End with \\boxed{result}.");
        assert_eq!(boxed.completing(start), [0]);
        // behind `<` an answer may follow
        let tagged = forbidden("Write <answer> and </answer>.");
        assert!(tagged.completing(start).is_empty());
        assert_eq!(tagged.completing(tagged.behind(start, 0)), [1]);
    }

    #[test]
    fn answers_are_marked_as_is_told_and_thoughts_as_the_template_writes_them() {
        assert_eq!(allowed_marks("end with \\boxed{result}", |_| false), ["\\boxed{"]);
        assert_eq!(allowed_marks("What is 2 + 3?", |_| false), ["<answer>", "\\boxed{"]);
        let thinks = |mark: &str| mark == "<think>";
        assert_eq!(allowed_marks("in <answer> tags", thinks), ["<answer>", "<think>"]);
    }

    #[test]
    fn a_model_that_reads_images_has_its_end_in_its_texts_part() {
        let read = |text: &str| eos_token_id(&serde_json::from_str(text).unwrap()).clone();
        assert_eq!(read(r#"{"eos_token_id": 1, "text_config": {"eos_token_id": 2}}"#), 1);
        assert_eq!(read(r#"{"text_config": {"eos_token_id": 2}}"#), 2);
        assert_eq!(read("{}"), serde_json::Value::Null);
    }

    #[test]
    fn the_ids_that_end_a_turn_are_a_number_or_a_list() {
        let read = |text: &str| end_ids_of(&serde_json::from_str(text).unwrap());
        assert_eq!(read("2"), Ok(vec![2]));
        assert_eq!(read("[128001, 128009]"), Ok(vec![128_001, 128_009]));
        assert_eq!((read("null"), read("[]")), (Ok(vec![]), Ok(vec![])));
        for text in ["-1", "2.5", "\"</s>\"", "[1,null]", "[[1]]", "true", "4294967296"] {
            assert!(read(text).unwrap_err().contains(text), "{text}");
        }
    }
}
