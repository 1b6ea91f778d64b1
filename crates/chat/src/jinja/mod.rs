//! Jinja as chat templates use it: what transformers' `apply_chat_template` renders, by minijinja.
//!
//! A file each for what the two answer differently. Steps and the length of the text are limited
//! here, the time and memory of a single step (`[1] * 10**10 ~ ""`) cannot be:
//! `template_workers.rs`.

mod clock;
mod dialect;
mod filters;
mod generators;
mod json_text;
mod kinds;
mod methods;
mod operators;
mod printing;
mod spans;

use crate::conversation::{Conversation, Rendered};
use crate::template::Source;
pub(crate) use clock::now;
use minijinja::value::Rest;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use paretopo_containment::contained;
use spans::Markers;
use std::collections::{BTreeMap, BTreeSet};

/// Steps that a rendering may take; a template from elsewhere may loop for ever. The longest known
/// ones take some thousand a message.
const FUEL: u64 = 20_000_000;
/// Bytes that a template may render.
const LONGEST_TEXT: usize = 16 << 20;
/// The variable that holds [`Markers`].
const MARKERS: &str = "markers__";
/// The variable that holds the time that [`Conversation::now`] says.
const NOW: &str = "now__";

/// A checkpoint's parsed templates.
#[derive(Debug)]
pub(crate) struct Jinja {
    environment: Environment<'static>,
    source: Source,
    /// The templates that have `{% generation %}` blocks.
    marking: BTreeSet<String>,
}

impl Jinja {
    /// Parses a checkpoint's templates; an error says what it does not understand.
    pub(crate) fn new(source: Source) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(methods::call);
        environment.set_formatter(print);
        environment.add_function("raise_exception", |message: &Value| -> Result<Value, Error> {
            Err(refused(printing::python_str(message)?))
        });
        environment.add_function("strftime_now", |state: &State<'_, '_>, format: &str| {
            let now = state.lookup(NOW).and_then(|now| i64::try_from(now).ok());
            clock::strftime(now.unwrap_or_else(clock::now), format)
        });
        environment.add_function(dialect::CONCATENATE, operators::concatenate);
        environment.add_function(dialect::ADD, operators::add);
        environment.add_function(dialect::ITERABLE, operators::iterable);
        environment.add_function(dialect::ASSIGNED, operators::assigned);
        environment.add_function(dialect::ATTRIBUTE, methods::attribute);
        environment.add_filter(dialect::GENERATION, spans::generation);
        environment.add_function("cycler", |items: Rest<Value>| {
            minijinja_contrib::globals::cycler(items.to_vec())
        });
        environment.add_function("joiner", minijinja_contrib::globals::joiner);
        filters::add(&mut environment);
        kinds::add(&mut environment);
        // without the listing of all variables that builds with debug assertions add to an error
        environment.set_debug(false);
        let mut marking = BTreeSet::new();
        for (name, template) in &source.templates {
            contained(|| {
                let template = dialect::rewrite(template);
                if template.contains(dialect::GENERATION) {
                    marking.insert(name.clone());
                }
                environment
                    .add_template_owned(name.clone(), template)
                    .map_err(|error| error.to_string())
            })
            .flatten()?;
        }
        Ok(Self { environment, source, marking })
    }

    /// The templates that were parsed.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Renders a conversation; an error says what the template raised or what is not known here.
    pub(crate) fn render(&self, conversation: &Conversation) -> Result<Rendered, String> {
        let name = self.source.chosen(conversation.tools.is_some())?;
        let template =
            self.environment.get_template(name).expect("added when the templates were parsed");
        let source = &self.source.templates[name];
        let is_marking = self.marking.contains(name);
        let markers = is_marking.then(|| Markers::unlike(source, conversation));
        let mut variables: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, token) in &self.source.special_tokens {
            variables.insert(name, Value::from(token.as_str()));
        }
        for (name, value) in &conversation.variables {
            variables.insert(name, Value::from_serialize(value));
        }
        variables.insert("messages", Value::from_serialize(conversation.messages_as_read()));
        variables.insert("tools", Value::from_serialize(&conversation.tools));
        variables.insert("documents", Value::from_serialize(&conversation.documents));
        variables.insert("add_generation_prompt", Value::from(conversation.add_generation_prompt));
        if let Some(markers) = markers {
            variables.insert(MARKERS, Value::from(markers.as_text()));
        }
        if let Some(now) = conversation.now {
            variables.insert(NOW, Value::from(now));
        }
        let text = contained(|| template.render(variables).map_err(|error| error.to_string()))
            .flatten()?;
        if text.len() > LONGEST_TEXT {
            return Err(format!(
                "it renders {} MiB; the most is {}",
                text.len() >> 20,
                LONGEST_TEXT >> 20
            ));
        }
        Ok(match markers {
            Some(markers) => markers.taken_from(&text),
            None => Rendered { text, ..Rendered::default() },
        })
    }
}

/// What a template asks for and cannot have.
fn refused(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

/// What `{{ value }}` writes.
fn print(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        return out.write_str(text).map_err(Error::from);
    }
    out.write_str(&printing::python_str(value)?).map_err(Error::from)
}
