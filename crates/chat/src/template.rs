//! Chat templates: a checkpoint's own Jinja template, rendered as transformers'
//! `apply_chat_template` does.

use crate::ChatError;
use crate::conversation::{Conversation, Rendered};
use crate::jinja::Jinja;
use crate::template_workers::{self, TemplateWorkers};
use paretopo_trajectory::{Message, ToolSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A template that parses, with the special tokens that it may mention.
#[derive(Debug)]
pub struct ChatTemplate {
    source: Source,
    file: PathBuf,
    engine: Engine,
}

/// Who renders: this process, or workers that may be killed.
#[derive(Debug)]
enum Engine {
    Here(Box<Jinja>),
    Workers(&'static TemplateWorkers),
}

/// The template of a checkpoint that has but one, or that is meant where there are no tools.
const DEFAULT: &str = "default";
/// The template that is meant where there are tools.
const TOOL_USE: &str = "tool_use";
/// Keys of `tokenizer_config.json` whose tokens a template may mention.
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Templates by their names.
type Templates = BTreeMap<String, String>;

/// What a checkpoint's files say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Templates by their names.
    pub(crate) templates: Templates,
    /// Special tokens by their keys. A template can ask whether there is one.
    pub(crate) special_tokens: BTreeMap<String, String>,
}

impl Source {
    /// The name of the template that renders a conversation.
    pub(crate) fn chosen(&self, has_tools: bool) -> Result<&'static str, String> {
        let known = |name: &str| self.templates.contains_key(name);
        match has_tools {
            true if known(TOOL_USE) => Ok(TOOL_USE),
            _ if known(DEFAULT) => Ok(DEFAULT),
            _ => {
                let names: Vec<_> = self.templates.keys().map(String::as_str).collect();
                let names = names.join("`, `");
                Err(format!("no template is called `{DEFAULT}`; there are `{names}`"))
            }
        }
    }

    fn token(&self, name: &str) -> &str {
        self.special_tokens.get(name).map_or("", String::as_str)
    }
}

/// What a template renders.
#[derive(Clone, Copy, Debug)]
pub struct TemplateContext<'a> {
    /// The conversation so far.
    pub messages: &'a [Message],
    /// Tools that the template may describe; empty for none.
    pub tools: &'a [ToolSpec],
    /// Whether to end with the header of an assistant turn.
    pub add_generation_prompt: bool,
}

impl ChatTemplate {
    /// Reads `chat_template.jinja` and `additional_chat_templates/*.jinja`, or else
    /// `tokenizer_config.json`'s `chat_template`, from a checkpoint folder.
    ///
    /// # Errors
    /// When none holds a template, or one does not parse.
    pub fn from_folder(folder: &Path) -> Result<Self, ChatError> {
        let path = folder.join("tokenizer_config.json");
        let text = paretopo_reading::read_text(&path)
            .map_err(|source| ChatError::Read { path: path.clone(), source })?;
        let invalid = |reason: String| ChatError::Invalid {
            path: path.clone(),
            what: "tokenizer configuration",
            reason,
        };
        let config: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let (path, templates) = match templates_in_files(folder)? {
            Some(found) => found,
            None => {
                let templates = named_templates(&config["chat_template"]);
                if templates.is_empty() {
                    return Err(invalid(
                        "no `chat_template`; this is a base model without a chat format".into(),
                    ));
                }
                (path.clone(), templates)
            }
        };
        match Self::parsed(templates, &config) {
            Ok(template) => Ok(Self { file: path, ..template }),
            Err(ChatError::Template(reason)) => {
                Err(ChatError::Invalid { path, what: "chat template", reason })
            }
            Err(other) => Err(other),
        }
    }

    /// Parses a template; the special tokens are taken from a `tokenizer_config.json` value. A
    /// template is a program: parsed and rendered in this process it may take any time and memory,
    /// so a program that reads templates from elsewhere calls [`crate::isolate_templates`] first.
    ///
    /// # Errors
    /// When the template does not parse.
    pub fn new(template: &str, tokenizer_config: &serde_json::Value) -> Result<Self, ChatError> {
        let templates = BTreeMap::from([(DEFAULT.to_owned(), template.to_owned())]);
        Self::parsed(templates, tokenizer_config)
    }

    fn parsed(
        templates: Templates,
        tokenizer_config: &serde_json::Value,
    ) -> Result<Self, ChatError> {
        // a special token is a string, or an object with its `content`
        let token = |name: &str| {
            let value = &tokenizer_config[name];
            let token = value.as_str().or_else(|| value["content"].as_str())?;
            Some((name.to_owned(), token.to_owned()))
        };
        let special_tokens = SPECIAL_TOKENS.into_iter().filter_map(token).collect();
        let source = Source { templates, special_tokens };
        // that no template will ever be chosen is said before the first conversation
        source.chosen(true).map_err(ChatError::Template)?;
        let engine = match template_workers::installed() {
            Some(workers) => workers.parse(&source).map(|()| Engine::Workers(workers)),
            None => Jinja::new(source.clone()).map(|jinja| Engine::Here(Box::new(jinja))),
        };
        let file = PathBuf::from("the chat template");
        Ok(Self { source, file, engine: engine.map_err(ChatError::Template)? })
    }

    /// Renders the conversation.
    ///
    /// ```
    /// use paretopo_chat::{ChatTemplate, TemplateContext};
    /// use paretopo_trajectory::{Message, Role};
    ///
    /// fn main() -> Result<(), paretopo_chat::ChatError> {
    ///     let template = "{{ bos_token }}{% for message in messages %}\
    ///         <{{ message.role }}>{{ message.content }}{% endfor %}\
    ///         {% if add_generation_prompt %}<assistant>{% endif %}";
    ///     let config = serde_json::json!({ "bos_token": "<s>" });
    ///     let template = ChatTemplate::new(template, &config)?;
    ///     let messages = [Message { role: Role::User, content: "6 * 7?".into() }];
    ///     let context =
    ///         TemplateContext { messages: &messages, tools: &[], add_generation_prompt: true };
    ///     assert_eq!(template.render(context)?, "<s><user>6 * 7?<assistant>");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the template raises an exception, uses something that Jinja here does not know, or
    /// renders more than 16 MiB; in a worker also when it takes too much time or memory.
    pub fn render(&self, context: TemplateContext<'_>) -> Result<String, ChatError> {
        let TemplateContext { messages, tools, add_generation_prompt } = context;
        let conversation = Conversation::new(messages, tools, add_generation_prompt);
        Ok(self.render_conversation(&conversation)?.text)
    }

    /// Renders a conversation with calls, reasoning and whatever else its template reads, to the
    /// byte as transformers does. What an assistant wrote is marked where the template has
    /// `{% generation %}` blocks.
    ///
    /// ```
    /// use paretopo_chat::{ChatTemplate, Conversation};
    /// use serde_json::json;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let template = "{% for message in messages %}<{{ message.role }}>\
    ///         {% generation %}{{ message.tool_calls }}{% endgeneration %}{% endfor %}";
    ///     let template = ChatTemplate::new(template, &json!({}))?;
    ///     let conversation: Conversation = serde_json::from_value(json!({
    ///         "messages": [{ "role": "assistant", "tool_calls": [{ "ok": true }] }],
    ///     }))?;
    ///     let rendered = template.render_conversation(&conversation)?;
    ///     assert_eq!(rendered.text, "<assistant>[{'ok': True}]");
    ///     assert_eq!(rendered.assistant, [11..25]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`Self::render`].
    pub fn render_conversation(&self, conversation: &Conversation) -> Result<Rendered, ChatError> {
        match &self.engine {
            Engine::Here(jinja) => jinja.render(conversation),
            Engine::Workers(workers) => workers.render(&self.source, conversation),
        }
        .map_err(ChatError::Template)
    }

    /// The text of the template that is chosen with tools, or without.
    pub fn text(&self, has_tools: bool) -> &str {
        let chosen = self.source.chosen(has_tools).ok();
        chosen.and_then(|name| self.source.templates.get(name)).map_or("", String::as_str)
    }

    /// The file that it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether it writes this text itself, in one of its templates.
    pub fn writes(&self, text: &str) -> bool {
        self.source.templates.values().any(|template| template.contains(text))
    }

    /// Whether nothing in a rendered text can be read: there are but spaces, characters without
    /// width and the tokens for beginning, end, padding and the unknown.
    pub fn is_blank(&self, text: &str) -> bool {
        let tokens = ["bos_token", "eos_token", "pad_token", "unk_token"];
        let tokens = tokens.map(|name| self.source.token(name));
        let mut rest = text.to_owned();
        for token in tokens.into_iter().filter(|token| !token.is_empty()) {
            rest = rest.replace(token, " ");
        }
        rest.chars().all(|c| {
            c.is_whitespace()
                || c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
        })
    }

    /// The token that ends an assistant turn, as named by the tokenizer configuration; empty if
    /// there is none.
    pub fn eos_token(&self) -> &str {
        self.source.token("eos_token")
    }
}

/// `chat_template` is a string, or a list of named templates.
fn named_templates(value: &serde_json::Value) -> Templates {
    if let Some(template) = value.as_str() {
        return BTreeMap::from([(DEFAULT.to_owned(), template.to_owned())]);
    }
    let named = |entry: &serde_json::Value| {
        Some((entry["name"].as_str()?.to_owned(), entry["template"].as_str()?.to_owned()))
    };
    value.as_array().into_iter().flatten().filter_map(named).collect()
}

/// The templates that lie in files of their own, and the path of one of them. They take the place
/// of all that `tokenizer_config.json` says.
fn templates_in_files(folder: &Path) -> Result<Option<(PathBuf, Templates)>, ChatError> {
    let mut paths = vec![(DEFAULT.to_owned(), folder.join("chat_template.jinja"))];
    let additional = folder.join("additional_chat_templates");
    match std::fs::read_dir(&additional) {
        Ok(entries) => {
            for entry in entries {
                let path = entry
                    .map_err(|source| ChatError::Read { path: additional.clone(), source })?
                    .path();
                if path.extension().is_some_and(|extension| extension == "jinja")
                    && let Some(name) = path.file_stem().and_then(|name| name.to_str())
                {
                    paths.push((name.to_owned(), path.clone()));
                }
            }
        }
        Err(source) if source.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(ChatError::Read { path: additional, source }),
    }
    paths[1..].sort();
    let mut first = None;
    let mut templates = BTreeMap::new();
    for (name, path) in paths {
        match paretopo_reading::read_text(&path) {
            Ok(template) => {
                templates.insert(name, template);
                first.get_or_insert(path);
            }
            // one that is there and cannot be read is not passed over
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(ChatError::Read { path, source });
            }
            Err(_) => {}
        }
    }
    Ok(first.map(|path| (path, templates)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::Role;

    fn render(template: &str, tools: &[ToolSpec]) -> Result<String, ChatError> {
        let config = serde_json::json!({ "bos_token": { "content": "<s>" }, "eos_token": "</s>" });
        let messages = [Message { role: Role::User, content: " Hi ".into() }];
        ChatTemplate::new(template, &config)?.render(TemplateContext {
            messages: &messages,
            tools,
            add_generation_prompt: true,
        })
    }

    #[test]
    fn python_methods_and_special_tokens_work() {
        let template = "{{ bos_token }}{% for message in messages %}\n{{ message['role'].upper() }}: {{ message.content.strip() }}{% endfor %}{{ eos_token }}";
        // trim_blocks removes the newline after a block tag
        assert_eq!(render(template, &[]).unwrap(), "<s>USER: Hi</s>");
    }

    /// The template engine panics while it parses this one.
    #[test]
    fn a_template_that_makes_the_engine_panic_is_an_error() {
        let error = render("{% for in messages %}{% endfor %}", &[]).unwrap_err();
        assert!(matches!(error, ChatError::Template(_)), "{error}");
    }

    #[test]
    fn tools_render_as_python_json() {
        let tool = ToolSpec {
            name: "python".into(),
            description: "ä".into(),
            parameters: serde_json::json!({"type": "object", "n": [1, 2]}),
        };
        assert_eq!(
            render("{{ tools[0] | tojson }}", &[tool]).unwrap(),
            r#"{"type": "function", "function": {"name": "python", "description": "ä", "parameters": {"type": "object", "n": [1, 2]}}}"#
        );
        assert_eq!(render("{% if tools %}yes{% else %}no{% endif %}", &[]).unwrap(), "no");
    }

    #[test]
    fn special_tokens_and_spaces_alone_are_blank() {
        let config = serde_json::json!({ "bos_token": { "content": "<s>" }, "eos_token": "</s>" });
        let template = ChatTemplate::new("", &config).unwrap();
        for text in ["", " \n\t", "<s>", "<s>\n</s>", "\u{feff}\u{200b}", "\u{3000}"] {
            assert!(template.is_blank(text), "{text:?}");
        }
        for text in ["<s>x", "<|user|>", ".", "<s", "\u{4e00}"] {
            assert!(!template.is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn a_template_that_loops_for_ever_is_an_error() {
        let error = render(
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            &[],
        )
        .unwrap_err();
        assert!(error.to_string().contains("fuel"), "{error}");
    }

    #[test]
    fn a_raised_exception_is_an_error_with_its_text() {
        let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
        assert!(error.to_string().contains("roles must alternate"), "{error}");
    }
}
