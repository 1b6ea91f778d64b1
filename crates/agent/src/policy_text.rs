//! The text side of a checkpoint: tokenizer, chat template, and the tokens that end a turn.

use crate::SamplingConfig;
use paretopo_chat::{ChatError, ChatTemplate, TemplateContext, Tokenizer};
use paretopo_environments::Environment;
use paretopo_settings::Temperature;
use paretopo_trajectory::{Task, TokenId};
use serde_json::json;
use std::io::ErrorKind;
use std::path::Path;

/// What a policy needs to read and write text.
#[derive(Debug)]
pub struct PolicyText {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template.
    pub template: ChatTemplate,
    /// Ids that end the policy's turn, at least one; the tokenizer's own first.
    pub end_ids: Vec<TokenId>,
    /// How `generation_config.json` says that tokens are to be drawn, if there is one.
    pub sampling: Option<SamplingConfig>,
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
                listed = end_ids_of(&config["eos_token_id"]).map_err(|reason| {
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
        let sampling = generation.as_ref().map(sampling_of).transpose().map_err(|reason| {
            let path = folder.join("generation_config.json");
            ChatError::Invalid { path, what: "generation configuration", reason }
        })?;
        Ok(Self { tokenizer, template, end_ids, sampling })
    }

    /// The ids that open an episode on `task`; tools are described by the template only where
    /// `describe_tools`.
    ///
    /// # Errors
    /// When the template or the tokenizer fails, or the template renders nothing to read.
    pub fn opening(
        &self,
        environment: &dyn Environment,
        task: &Task,
        describe_tools: bool,
    ) -> Result<Vec<TokenId>, ChatError> {
        let messages = environment.opening(task);
        let tools: Vec<_> =
            environment.tools().iter().filter(|_| describe_tools).map(|tool| tool.spec()).collect();
        let text = self.template.render(TemplateContext {
            messages: &messages,
            tools: &tools,
            add_generation_prompt: true,
        })?;
        let ids = self.tokenizer.encode(&text)?;
        if ids.is_empty() || self.template.is_blank(&text) {
            let file = self.template.file().to_owned();
            return Err(ChatError::EmptyOpening { file, task: task.id.clone() });
        }
        Ok(ids)
    }
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

/// As transformers reads it: greedy unless `do_sample`; what is absent leaves the distribution as
/// it is.
///
/// # Errors
/// Names the field that holds what it cannot.
fn sampling_of(config: &serde_json::Value) -> Result<SamplingConfig, String> {
    if config["do_sample"].as_bool() != Some(true) {
        let temperature = const { Temperature::literal(0.0) };
        return Ok(SamplingConfig { temperature, ..SamplingConfig::default() });
    }
    let mut given = serde_json::Map::new();
    for name in ["temperature", "top_k", "top_p"] {
        if !config[name].is_null() {
            given.insert(name.to_owned(), config[name].clone());
            // one by one, so that the error is about this field
            serde_json::from_value::<SamplingConfig>(json!({ name: config[name] }))
                .map_err(|error| format!("`{name}`: {error}"))?;
        }
    }
    serde_json::from_value(given.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_settings::TopP;

    #[test]
    fn generation_configurations_of_published_models() {
        // Qwen2.5-Math-1.5B-Instruct samples only if asked to; Qwen3 does by default
        let try_read = |text: &str| sampling_of(&serde_json::from_str(text).unwrap());
        let read = |text: &str| try_read(text).unwrap();
        assert_eq!(read(r#"{"do_sample":false,"temperature":0.7}"#).temperature.get(), 0.0);
        assert_eq!(
            read(r#"{"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.95}"#),
            SamplingConfig {
                temperature: Temperature::literal(0.6),
                top_k: 20,
                top_p: TopP::literal(0.95)
            }
        );
        assert_eq!(read("{}").temperature.get(), 0.0);
        let sampled = read(r#"{"do_sample":true,"temperature":null}"#);
        assert_eq!(sampled, SamplingConfig::default());
        for (field, value) in
            [("temperature", "-1"), ("top_p", "0"), ("top_p", "1.5"), ("top_k", "-3")]
        {
            let text = format!(r#"{{"do_sample":true,"{field}":{value}}}"#);
            let error = try_read(&text).unwrap_err();
            assert!(error.starts_with(&format!("`{field}`: `{value}` is not ")), "{error}");
        }
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
