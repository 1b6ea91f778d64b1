//! `[name(key="value"), other()]`: calls as Python writes them, with literals as arguments (Llama
//! 3.2 and 4, LFM2, which puts `<|tool_call_start|>` around them).
//!
//! Without markers a turn is calls if all of it is such a list: `[` and `]` with a name and `(` right
//! behind the first. Where it begins so and goes wrong, what is wrong is told once, for all of it:
//! where one call ends and the next begins cannot be seen then.

use super::malformed;
use super::python_literal::Reader;
use crate::Parsed;
use paretopo_trajectory::ToolCall;
use serde_json::{Map, Value};

/// Markers that families put around the list.
const MARKERS: [(&str, &str); 2] =
    [("<|tool_call_start|>", "<|tool_call_end|>"), ("<|python_start|>", "<|python_end|>")];

pub(super) fn parse(turn: &str) -> Vec<Parsed> {
    for (open, close) in MARKERS {
        if let Some((_, behind)) = turn.split_once(open) {
            let body = behind.split(close).next().unwrap_or_default();
            return calls(body).unwrap_or_else(|reason| vec![malformed(reason)]);
        }
    }
    let text = turn.trim();
    if !begins_as_calls(text) {
        return Vec::new();
    }
    calls(text).unwrap_or_else(|reason| vec![malformed(reason)])
}

/// Whether a text begins with `[name(`.
fn begins_as_calls(text: &str) -> bool {
    let mut reader = Reader::new(text);
    reader.take("[") && reader.name().is_some() && reader.rest().starts_with('(')
}

fn calls(text: &str) -> Result<Vec<Parsed>, String> {
    let mut reader = Reader::new(text);
    reader.expect("[")?;
    let mut found = Vec::new();
    while !reader.take("]") {
        found.push(Parsed::Call(call(&mut reader)?));
        if !reader.take(",") {
            reader.expect("]")?;
            break;
        }
    }
    reader.skip_spaces();
    if reader.rest().is_empty() {
        Ok(found)
    } else {
        Err(format!("more stands {}", reader.place()))
    }
}

fn call(reader: &mut Reader<'_>) -> Result<ToolCall, String> {
    let place = reader.place();
    let Some(name) = reader.name() else { return Err(format!("no name stands {place}")) };
    reader.expect("(")?;
    let mut arguments = Map::<String, Value>::new();
    while !reader.take(")") {
        let place = reader.place();
        let Some(key) = reader.name().filter(|_| reader.take("=")) else {
            return Err(format!("`{name}` takes keywords alone, and none stands {place}"));
        };
        arguments.insert(key.to_owned(), reader.value()?);
        if !reader.take(",") {
            reader.expect(")")?;
            break;
        }
    }
    Ok(ToolCall { name: name.to_owned(), arguments: arguments.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_calls_with_and_without_markers() {
        let list = "[add(a=1, b=[2, 'x']), shop.search(query=\"]) and ,\")]";
        let lfm = format!("Both.<|tool_call_start|>{list}<|tool_call_end|>");
        for turn in [list, &lfm, &format!("<|python_start|>{list}<|python_end|>")] {
            let calls = parse(turn);
            let [Parsed::Call(add), Parsed::Call(search)] = &calls[..] else { panic!("{calls:?}") };
            assert_eq!(add.arguments, serde_json::json!({ "a": 1, "b": [2, "x"] }));
            assert_eq!(
                (search.name.as_str(), &search.arguments["query"]),
                ("shop.search", &"]) and ,".into())
            );
        }
        assert!(matches!(&parse("[now()]")[..], [Parsed::Call(_)]));
    }

    #[test]
    fn an_answer_with_brackets_is_no_call() {
        for answer in ["[1, 2]", "[a]", "f(x) = 2", "The list [f(x=1)] is one.", "[]", ""] {
            assert!(parse(answer).is_empty(), "{answer}");
        }
    }

    #[test]
    fn what_goes_wrong_is_told_once() {
        for (turn, reason) in [
            ("[add(1, 2)]", "`add` takes keywords alone, and none stands at `1, 2)]`"),
            ("[add(a=b)]", "no value stands at `b)]`"),
            ("[add(a=1)", "`]` is missing at the end"),
            ("[add(a=1)] Done.", "more stands at `Done.`"),
            ("<|tool_call_start|>add(a=1)<|tool_call_end|>", "`[` is missing"),
        ] {
            let calls = parse(turn);
            assert!(
                matches!(&calls[..], [Parsed::Malformed(text)] if text.contains(reason)),
                "{calls:?}"
            );
        }
    }
}
