//! A call as a JSON object: a name, and arguments as an object or as a string of one.

use super::malformed;
use crate::Parsed;
use paretopo_trajectory::ToolCall;
use serde_json::{Map, Value};

/// A call from a JSON value; the arguments stand under the first of `keys` that is there.
pub(crate) fn call_of(value: &Value, keys: &[&str]) -> Parsed {
    let Some(name) = value.get("name").and_then(Value::as_str) else {
        return malformed("`name` is missing");
    };
    let found = keys.iter().find_map(|key| Some((*key, value.get(*key)?)));
    let arguments = match found {
        None => Ok(Map::new()),
        Some((_, Value::Object(arguments))) => Ok(arguments.clone()),
        // some models write the arguments as a string of JSON
        Some((key, Value::String(text))) => {
            serde_json::from_str(text).map_err(|error| format!("`{key}`: {error}"))
        }
        Some((key, _)) => Err(format!("`{key}` is not an object")),
    };
    match arguments {
        Ok(arguments) => {
            Parsed::Call(ToolCall { name: name.to_owned(), arguments: arguments.into() })
        }
        Err(reason) => malformed(reason),
    }
}

/// The JSON value at the beginning of a text, and what stands behind it. A closing tag inside one
/// of its strings is text.
///
/// # Errors
/// When there is none.
pub(super) fn leading_value(text: &str) -> Result<(Value, &str), serde_json::Error> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok((value, &text[values.byte_offset()..])),
        Some(Err(error)) => Err(error),
        None => serde_json::from_str::<Value>(text).map(|value| (value, "")),
    }
}
