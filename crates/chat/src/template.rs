//! Chat templates: a checkpoint's own Jinja template, rendered as transformers' `apply_chat_template` does.

use crate::ChatError;
use minijinja::{Environment, Error, ErrorKind, Value};
use paretopo_trajectory::{Message, ToolSpec, contained};
use serde::Serialize;
use std::path::Path;

/// A parsed template with the special tokens that it may mention.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
    pad_token: String,
    unk_token: String,
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

#[derive(Serialize)]
struct FunctionSpec<'a> {
    r#type: &'static str,
    function: &'a ToolSpec,
}

/// Steps that a rendering may take; a template from elsewhere may loop for ever. The longest known ones take some thousand a message.
const FUEL: u64 = 20_000_000;

impl ChatTemplate {
    /// Reads `chat_template.jinja`, or else `tokenizer_config.json`'s `chat_template`, from a checkpoint folder.
    ///
    /// # Errors
    /// When neither holds a template, or it does not parse.
    pub fn from_folder(folder: &Path) -> Result<Self, ChatError> {
        let path = folder.join("tokenizer_config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| ChatError::Read { path: path.clone(), source })?;
        let invalid = |reason: String| ChatError::Invalid { path: path.clone(), what: "tokenizer configuration", reason };
        let config: serde_json::Value = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let template = match std::fs::read_to_string(folder.join("chat_template.jinja")) {
            Ok(template) => template,
            Err(_) => pick_template(&config["chat_template"])
                .ok_or_else(|| invalid("no `chat_template`; this is a base model without a chat format".into()))?,
        };
        Self::new(&template, &config).map_err(|error| invalid(error.to_string()))
    }

    /// Parses a template; the special tokens are taken from a `tokenizer_config.json` value.
    ///
    /// # Errors
    /// When the template does not parse.
    pub fn new(template: &str, tokenizer_config: &serde_json::Value) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", to_json);
        // without the listing of all variables that builds with debug assertions add to an error
        environment.set_debug(false);
        let parsed = contained(|| environment.add_template_owned("chat", template.to_owned()).map_err(|error| format!("{error:#}")));
        parsed.flatten().map_err(ChatError::Template)?;
        // a special token is a string, or an object with its `content`
        let token = |name: &str| {
            let value = &tokenizer_config[name];
            value.as_str().or_else(|| value["content"].as_str()).unwrap_or_default().to_owned()
        };
        Ok(Self {
            environment,
            bos_token: token("bos_token"),
            eos_token: token("eos_token"),
            pad_token: token("pad_token"),
            unk_token: token("unk_token"),
        })
    }

    /// Renders the conversation.
    ///
    /// # Errors
    /// When the template raises an exception or uses something that Jinja here does not know.
    pub fn render(&self, context: TemplateContext<'_>) -> Result<String, ChatError> {
        let template = self.environment.get_template("chat").expect("added when the template was parsed");
        let tools: Option<Vec<_>> = (!context.tools.is_empty())
            .then(|| context.tools.iter().map(|function| FunctionSpec { r#type: "function", function }).collect());
        let variables = minijinja::context! {
            messages => context.messages,
            tools => tools,
            add_generation_prompt => context.add_generation_prompt,
            bos_token => self.bos_token,
            eos_token => self.eos_token,
            pad_token => self.pad_token,
            unk_token => self.unk_token,
        };
        contained(|| template.render(variables).map_err(|error| format!("{error:#}"))).flatten().map_err(ChatError::Template)
    }

    /// The token that ends an assistant turn, as named by the tokenizer configuration; empty if there is none.
    pub fn eos_token(&self) -> &str {
        &self.eos_token
    }
}

/// `chat_template` is a string, or a list of named templates of which `default` is meant.
fn pick_template(value: &serde_json::Value) -> Option<String> {
    if let Some(template) = value.as_str() {
        return Some(template.to_owned());
    }
    let named = value.as_array()?;
    let chosen = named.iter().find(|entry| entry["name"] == "default").or(named.first())?;
    Some(chosen["template"].as_str()?.to_owned())
}

/// `json.dumps(value, ensure_ascii=False)` with its `", "` and `": "` separators, which templates were trained with.
fn to_json(value: Value, options: minijinja::value::Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let failed = |error: serde_json::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let mut text = Vec::new();
    match indent {
        Some(width) => {
            let spaces = " ".repeat(width);
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter)).map_err(failed)?;
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, PythonSeparators)).map_err(failed)?,
    }
    String::from_utf8(text).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

struct PythonSeparators;

impl serde_json::ser::Formatter for PythonSeparators {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::Role;

    fn render(template: &str, tools: &[ToolSpec]) -> Result<String, ChatError> {
        let config = serde_json::json!({ "bos_token": { "content": "<s>" }, "eos_token": "</s>" });
        let messages = [Message { role: Role::User, content: " Hi ".into() }];
        ChatTemplate::new(template, &config)?.render(TemplateContext { messages: &messages, tools, add_generation_prompt: true })
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
        let tool =
            ToolSpec { name: "python".into(), description: "ä".into(), parameters: serde_json::json!({"type": "object", "n": [1, 2]}) };
        assert_eq!(
            render("{{ tools[0] | tojson }}", &[tool]).unwrap(),
            r#"{"type": "function", "function": {"name": "python", "description": "ä", "parameters": {"type": "object", "n": [1, 2]}}}"#
        );
        assert_eq!(render("{% if tools %}yes{% else %}no{% endif %}", &[]).unwrap(), "no");
    }

    #[test]
    fn a_template_that_loops_for_ever_is_an_error() {
        let error = render("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", &[]).unwrap_err();
        assert!(error.to_string().contains("fuel"), "{error}");
    }

    #[test]
    fn a_raised_exception_is_an_error_with_its_text() {
        let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
        assert!(error.to_string().contains("roles must alternate"), "{error}");
    }
}
