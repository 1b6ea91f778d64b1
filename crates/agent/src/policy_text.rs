//! The text side of a checkpoint: tokenizer, chat template, and the tokens that end a turn.

use crate::SamplingConfig;
use paretopo_chat::{ChatError, ChatTemplate, TemplateContext, Tokenizer};
use paretopo_environments::Environment;
use paretopo_trajectory::{Task, TokenId};
use std::path::Path;

/// What a policy needs to read and write text.
#[derive(Debug)]
pub struct PolicyText {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template.
    pub template: ChatTemplate,
    /// Ids that end the policy's turn.
    pub end_ids: Vec<TokenId>,
    /// How `generation_config.json` says that tokens are to be drawn, if there is one.
    pub sampling: Option<SamplingConfig>,
}

impl PolicyText {
    /// Reads `tokenizer.json`, `tokenizer_config.json` and `generation_config.json` (if present)
    /// from a checkpoint folder.
    ///
    /// # Errors
    /// When a file is missing or malformed, or nothing says which token ends a turn.
    pub fn from_folder(folder: &Path) -> Result<Self, ChatError> {
        let tokenizer = Tokenizer::from_file(&folder.join("tokenizer.json"))?;
        let template = ChatTemplate::from_folder(folder)?;
        let mut end_ids: Vec<TokenId> =
            tokenizer.token_to_id(template.eos_token()).into_iter().collect();
        let mut sampling = None;
        let path = folder.join("generation_config.json");
        if let Ok(text) = std::fs::read_to_string(&path) {
            let invalid = |reason: String| ChatError::Invalid {
                path: path.clone(),
                what: "generation configuration",
                reason,
            };
            let config: serde_json::Value =
                serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
            let eos = &config["eos_token_id"];
            let listed = eos.as_array().cloned().unwrap_or_else(|| vec![eos.clone()]);
            end_ids.extend(listed.iter().filter_map(|id| id.as_u64()).map(|id| id as TokenId));
            sampling = Some(sampling_of(&config));
        }
        end_ids.sort_unstable();
        end_ids.dedup();
        if end_ids.is_empty() {
            let path = folder.join("tokenizer_config.json");
            return Err(ChatError::Invalid {
                path,
                what: "tokenizer configuration",
                reason: "no `eos_token`, so no turn would ever end".into(),
            });
        }
        Ok(Self { tokenizer, template, end_ids, sampling })
    }

    /// The ids that open an episode on `task`; tools are described by the template only where
    /// `describe_tools`.
    ///
    /// # Errors
    /// When the template or the tokenizer fails.
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
        self.tokenizer.encode(&text)
    }
}

/// As transformers reads it: greedy unless `do_sample`; what is absent leaves the distribution as
/// it is.
fn sampling_of(config: &serde_json::Value) -> SamplingConfig {
    if config["do_sample"].as_bool() != Some(true) {
        return SamplingConfig { temperature: 0.0, ..SamplingConfig::default() };
    }
    SamplingConfig {
        temperature: config["temperature"].as_f64().unwrap_or(1.0) as f32,
        top_k: config["top_k"].as_u64().unwrap_or(0) as usize,
        top_p: config["top_p"].as_f64().unwrap_or(1.0) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_configurations_of_published_models() {
        // Qwen2.5-Math-1.5B-Instruct samples only if asked to; Qwen3 does by default
        let read = |text: &str| sampling_of(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"do_sample":false,"temperature":0.7}"#).temperature, 0.0);
        assert_eq!(
            read(r#"{"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.95}"#),
            SamplingConfig { temperature: 0.6, top_k: 20, top_p: 0.95 }
        );
        assert_eq!(read("{}").temperature, 0.0);
    }
}
