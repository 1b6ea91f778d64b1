//! `[TOOL_CALLS]`, then a JSON list of `{"name": .., "arguments": {..}}` (tokenizers up to version
//! 7), or for each call the marker, its name and `[ARGS]{..}` (from version 11 on; version 13 has
//! `[CALL_ID]` between).

use super::malformed;
use super::object::{call_of, leading_value};
use crate::Parsed;
use serde_json::{Value, json};

const OPEN: &str = "[TOOL_CALLS]";
const ARGUMENTS: &str = "[ARGS]";
const CALL_ID: &str = "[CALL_ID]";

pub(super) fn parse(turn: &str) -> Vec<Parsed> {
    turn.split(OPEN).skip(1).flat_map(|part| of_part(part.trim())).collect()
}

/// The calls behind one marker.
fn of_part(part: &str) -> Vec<Parsed> {
    if part.starts_with('[') && !part.starts_with(ARGUMENTS) {
        return match serde_json::Deserializer::from_str(part).into_iter::<Vec<Value>>().next() {
            Some(Ok(list)) => list.iter().map(|value| call_of(value, &["arguments"])).collect(),
            Some(Err(error)) => vec![malformed(error)],
            None => vec![malformed("nothing stands behind `[TOOL_CALLS]`")],
        };
    }
    // newer checkpoints write the arguments right behind the name, older fine-tunes without a marker
    let begin = part.find(ARGUMENTS).or_else(|| part.find('{'));
    let Some(begin) = begin else { return vec![malformed("`[ARGS]` is missing")] };
    let name = part[..begin].split(CALL_ID).next().unwrap_or_default().trim();
    if name.is_empty() {
        return vec![malformed("no name stands before the arguments")];
    }
    let text = part[begin..].strip_prefix(ARGUMENTS).unwrap_or(&part[begin..]);
    vec![match leading_value(text) {
        Ok((arguments, _)) => {
            call_of(&json!({ "name": name, "arguments": arguments }), &["arguments"])
        }
        Err(error) => malformed(error),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_ways_of_writing() {
        let told = |turn: &str| -> Vec<String> {
            let tell = |call: &Parsed| match call {
                Parsed::Call(call) => format!("{} {}", call.name, call.arguments),
                other => format!("{other:?}"),
            };
            parse(turn).iter().map(tell).collect()
        };
        let want = ["add {\"a\":1}", "sub {\"a\":2}"];
        let list = r#"[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}}, {"name": "sub", "arguments": {"a": 2}, "id": "abcdefghi"}]"#;
        assert_eq!(told(list), want);
        let marked =
            r#"[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]sub[CALL_ID]abcdefghi[ARGS]{"a": 2}"#;
        assert_eq!(told(marked), want);
        assert_eq!(told("Both.[TOOL_CALLS]add{\"a\": 1}"), want[..1]);
        assert!(told("It is 3.").is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        for (turn, reason) in [
            ("[TOOL_CALLS]", "`[ARGS]` is missing"),
            ("[TOOL_CALLS][ARGS]{}", "no name"),
            ("[TOOL_CALLS]add[ARGS]{\"a\": 1,}", "trailing comma"),
            ("[TOOL_CALLS][{\"name\": \"add\"", "EOF"),
            ("[TOOL_CALLS][{\"arguments\": {}}]", "`name` is missing"),
        ] {
            let calls = parse(turn);
            assert!(
                matches!(&calls[..], [Parsed::Malformed(text)] if text.contains(reason)),
                "{calls:?}"
            );
        }
        // of two calls in a list one is malformed
        let calls = parse("[TOOL_CALLS][{\"name\": \"add\"}, {\"arguments\": {}}]");
        assert!(matches!(&calls[..], [Parsed::Call(_), Parsed::Malformed(_)]), "{calls:?}");
    }
}
