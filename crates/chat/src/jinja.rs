//! Jinja as chat templates use it: transformers' settings, Python's methods, `tojson` with Python's
//! separators.
//!
//! Steps and the length of the text are limited here, the time and memory of a single step
//! (`[1] * 10**10 ~ ""`) cannot be: `template_workers.rs`.

use crate::template::{Source, TemplateContext};
use minijinja::{Environment, Error, ErrorKind, Value};
use paretopo_containment::contained;
use paretopo_trajectory::ToolSpec;
use serde::Serialize;

/// Steps that a rendering may take; a template from elsewhere may loop for ever. The longest known
/// ones take some thousand a message.
const FUEL: u64 = 20_000_000;
/// Bytes that a template may render.
const LONGEST_TEXT: usize = 16 << 20;

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Jinja {
    environment: Environment<'static>,
    source: Source,
}

#[derive(Serialize)]
struct FunctionSpec<'a> {
    r#type: &'static str,
    function: &'a ToolSpec,
}

impl Jinja {
    /// Parses a template; an error says what it does not understand.
    pub(crate) fn new(source: Source) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", to_json);
        // without the listing of all variables that builds with debug assertions add to an error
        environment.set_debug(false);
        let template = source.template.clone();
        contained(|| {
            environment.add_template_owned("chat", template).map_err(|error| error.to_string())
        })
        .flatten()?;
        Ok(Self { environment, source })
    }

    /// The template that was parsed.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Renders a conversation; an error says what the template raised or what is not known here.
    pub(crate) fn render(&self, context: TemplateContext<'_>) -> Result<String, String> {
        let template =
            self.environment.get_template("chat").expect("added when the template was parsed");
        let tools: Option<Vec<_>> = (!context.tools.is_empty()).then(|| {
            context
                .tools
                .iter()
                .map(|function| FunctionSpec { r#type: "function", function })
                .collect()
        });
        let variables = minijinja::context! {
            messages => context.messages,
            tools => tools,
            add_generation_prompt => context.add_generation_prompt,
            bos_token => self.source.bos_token,
            eos_token => self.source.eos_token,
            pad_token => self.source.pad_token,
            unk_token => self.source.unk_token,
        };
        let text = contained(|| template.render(variables).map_err(|error| error.to_string()))
            .flatten()?;
        if text.len() > LONGEST_TEXT {
            return Err(format!(
                "it renders {} MiB; the most is {}",
                text.len() >> 20,
                LONGEST_TEXT >> 20
            ));
        }
        Ok(text)
    }
}

/// `json.dumps(value, ensure_ascii=False)` with its `", "` and `": "` separators, which templates
/// were trained with.
fn to_json(value: Value, options: minijinja::value::Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let failed =
        |error: serde_json::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let mut text = Vec::new();
    match indent {
        Some(width) => {
            let spaces = " ".repeat(width);
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value
                .serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))
                .map_err(failed)?;
        }
        None => value
            .serialize(&mut serde_json::Serializer::with_formatter(&mut text, PythonSeparators))
            .map_err(failed)?,
    }
    String::from_utf8(text)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

struct PythonSeparators;

impl serde_json::ser::Formatter for PythonSeparators {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
