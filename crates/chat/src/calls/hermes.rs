//! `<tool_call>{"name": .., "arguments": {..}}</tool_call>`, as often as there are calls
//! (NousResearch; the templates of Qwen2.5 and Qwen3).
//!
//! The JSON ends where it ends, so that `</tool_call>` inside one of its strings closes nothing. The
//! closing tag may be missing: the end of the turn closes, too.

use super::malformed;
use super::object::{call_of, leading_value};
use crate::Parsed;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

pub(super) fn parse(turn: &str) -> Vec<Parsed> {
    let mut calls = Vec::new();
    let mut rest = turn;
    while let Some(at) = rest.find(OPEN) {
        let body = &rest[at + OPEN.len()..];
        let (call, behind) = match leading_value(body) {
            Ok((value, behind)) => match strayed(behind) {
                None => (call_of(&value, &["arguments"]), behind),
                Some(text) => (malformed(format!("`{text}` stands behind the JSON")), behind),
            },
            Err(error) => (malformed(error), body),
        };
        calls.push(call);
        rest = behind.find(CLOSE).map_or(
            // without a closing tag the next call is all that ends this one
            behind.find(OPEN).map_or("", |next| &behind[next..]),
            |close| &behind[close + CLOSE.len()..],
        );
    }
    calls
}

/// What stands between the JSON and the closing tag, or the end, and is no space.
fn strayed(behind: &str) -> Option<&str> {
    let text = behind.split(CLOSE).next().unwrap_or_default();
    let text = text.split(OPEN).next().unwrap_or_default().trim();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::ToolCall;

    fn named(name: &str, arguments: serde_json::Value) -> Parsed {
        Parsed::Call(ToolCall { name: name.into(), arguments })
    }

    #[test]
    fn a_closing_tag_inside_a_string_closes_nothing() {
        let turn = r#"<tool_call>{"name": "say", "arguments": {"text": "</tool_call> <tool_call>"}}</tool_call>"#;
        let want = serde_json::json!({ "text": "</tool_call> <tool_call>" });
        assert_eq!(parse(turn), [named("say", want)]);
    }

    #[test]
    fn of_two_calls_a_malformed_one_takes_only_itself() {
        let turn = "<tool_call>\n{\"name\": \"a\", \"arguments\": {\"x\": 1,}}\n</tool_call>\n\
                    <tool_call>\n{\"name\": \"b\", \"arguments\": {}}\n</tool_call>";
        let calls = parse(turn);
        let [Parsed::Malformed(reason), second] = &calls[..] else { panic!("{calls:?}") };
        assert!(reason.contains("trailing comma"), "{reason}");
        assert_eq!(*second, named("b", serde_json::json!({})));
    }

    #[test]
    fn the_end_of_the_turn_closes_a_call() {
        let turn = "<tool_call>{\"name\": \"a\"}\n<tool_call>{\"name\": \"b\"}";
        let none = serde_json::json!({});
        assert_eq!(parse(turn), [named("a", none.clone()), named("b", none)]);
        let broken = parse("<tool_call>{\"name\": \"a\"");
        assert!(matches!(&broken[..], [Parsed::Malformed(reason)] if reason.contains("EOF")));
        let empty = parse("<tool_call></tool_call> 42");
        assert!(matches!(&empty[..], [Parsed::Malformed(_)]), "{empty:?}");
    }

    #[test]
    fn text_behind_the_json_is_told() {
        let calls = parse("<tool_call>{\"name\": \"a\"} and so on</tool_call>");
        let [Parsed::Malformed(reason)] = &calls[..] else { panic!("{calls:?}") };
        assert!(reason.contains("`and so on` stands behind"), "{reason}");
    }

    #[test]
    fn arguments_may_be_a_string_of_json() {
        let turn = r#"<tool_call>{"name": "a", "arguments": "{\"x\": 1}"}</tool_call>"#;
        assert_eq!(parse(turn), [named("a", serde_json::json!({ "x": 1 }))]);
        let turn = r#"<tool_call>{"name": "a", "arguments": [1]}</tool_call>"#;
        assert!(matches!(&parse(turn)[..], [Parsed::Malformed(r)] if r.contains("not an object")));
    }
}
