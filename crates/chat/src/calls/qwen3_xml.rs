//! `<tool_call><function=NAME><parameter=KEY>VALUE</parameter>..</function></tool_call>` (the
//! templates of Qwen3-Coder and Qwen3.5).
//!
//! A value is bare text between two line breaks. What the tool's schema says of its type decides how
//! it is read: a `string` as it stands, everything else as JSON, or as text where it is none. There
//! is no way to escape: a value ends at the last `</parameter>` before the next parameter or the end
//! of the function, so that a value may hold the tag.

use super::malformed;
use crate::Parsed;
use paretopo_trajectory::{ToolCall, ToolSpec};
use serde_json::{Map, Value};

const OPEN: &str = "<tool_call>";
const FUNCTION: &str = "<function=";
const PARAMETER: &str = "<parameter=";

pub(super) fn parse(turn: &str, tools: &[ToolSpec]) -> Vec<Parsed> {
    let mut calls = Vec::new();
    let mut rest = turn;
    while let Some(at) = rest.find(OPEN) {
        let body = &rest[at + OPEN.len()..];
        let end = body.find("</tool_call>").or_else(|| body.find(OPEN)).unwrap_or(body.len());
        calls.push(one(&body[..end], tools));
        rest = &body[end..];
    }
    calls
}

fn one(body: &str, tools: &[ToolSpec]) -> Parsed {
    let Some(at) = body.find(FUNCTION) else { return malformed("`<function=NAME>` is missing") };
    let Some((name, inside)) = body[at + FUNCTION.len()..].split_once('>') else {
        return malformed("`<function=` is not closed by `>`");
    };
    let name = name.trim();
    if name.is_empty() {
        return malformed("`<function=>` names no tool");
    }
    let Some((inside, _)) = inside.rsplit_once("</function>") else {
        return malformed("`</function>` is missing");
    };
    let schema = tools.iter().find(|tool| tool.name == name).map(|tool| &tool.parameters);
    let mut arguments = Map::new();
    // what stands before the first parameter is space
    for piece in inside.split(PARAMETER).skip(1) {
        let Some((key, value)) = piece.split_once('>') else {
            return malformed("`<parameter=` is not closed by `>`");
        };
        let Some((value, _)) = value.rsplit_once("</parameter>") else {
            return malformed(format!("`</parameter>` of `{key}` is missing"));
        };
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let kind = schema.and_then(|schema| schema["properties"][key.trim()]["type"].as_str());
        arguments.insert(key.trim().to_owned(), typed(value, kind));
    }
    Parsed::Call(ToolCall { name: name.to_owned(), arguments: arguments.into() })
}

/// A bare value of the type that a schema names; text where none is named.
fn typed(value: &str, kind: Option<&str>) -> Value {
    match kind {
        None | Some("string") => value.into(),
        Some(_) => serde_json::from_str(value.trim()).unwrap_or_else(|_| value.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> ToolSpec {
        let parameters = serde_json::json!({ "type": "object", "properties": {
            "code": { "type": "string" }, "n": { "type": "integer" }, "on": { "type": "boolean" } } });
        ToolSpec { name: "run".into(), description: String::new(), parameters }
    }

    #[test]
    fn values_have_the_types_of_the_schema() {
        let turn = "<tool_call>\n<function=run>\n<parameter=code>\nprint(1)\nx = 2\n</parameter>\n\
                    <parameter=n>\n3\n</parameter>\n<parameter=on>\ntrue\n</parameter>\n\
                    <parameter=other>\n5\n</parameter>\n</function>\n</tool_call>";
        let [Parsed::Call(call)] = &parse(turn, &[tool()])[..] else { panic!() };
        let want =
            serde_json::json!({ "code": "print(1)\nx = 2", "n": 3, "on": true, "other": "5" });
        assert_eq!((call.name.as_str(), &call.arguments), ("run", &want));
        // a tool that nobody has described
        let [Parsed::Call(call)] = &parse(turn, &[])[..] else { panic!() };
        assert_eq!(call.arguments["n"], "3");
    }

    #[test]
    fn a_value_may_hold_its_closing_tag_and_a_wrong_type_is_text() {
        let turn = "<tool_call><function=run><parameter=code>\n'</parameter>'\n</parameter>\
                    <parameter=n>\nmany\n</parameter></function></tool_call>";
        let [Parsed::Call(call)] = &parse(turn, &[tool()])[..] else { panic!() };
        assert_eq!(call.arguments["code"], "'</parameter>'");
        assert_eq!(call.arguments["n"], "many");
    }

    #[test]
    fn what_is_missing_is_named_and_others_are_read() {
        let turn = "<tool_call><function=run><parameter=n>1</parameter></tool_call>\
                    <tool_call><function=run></function></tool_call>\
                    <tool_call>{}</tool_call><tool_call><function=run><parameter=n>1</function>";
        let calls = parse(turn, &[tool()]);
        let reasons =
            ["`</function>` is missing", "", "`<function=NAME>`", "`</parameter>` of `n`"];
        assert_eq!(calls.len(), reasons.len());
        for (call, reason) in calls.iter().zip(reasons) {
            match call {
                Parsed::Malformed(text) => assert!(!reason.is_empty() && text.contains(reason)),
                other => assert!(reason.is_empty(), "{other:?}"),
            }
        }
    }
}
