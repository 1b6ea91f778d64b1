//! `{"name": .., "parameters": {..}}`, with or without `<|python_tag|>` in front (Llama 3.1 to 3.3);
//! several calls are separated by `;`.
//!
//! Behind the tag everything is meant as a call. Without it a turn is one if it begins with a JSON
//! object that has a `name`; an object without it, or a text that begins with `{` and is no JSON, is
//! an answer, unless it begins as a call does (`{"name"`).

use super::malformed;
use super::object::{call_of, leading_value};
use crate::Parsed;

const TAG: &str = "<|python_tag|>";

pub(super) fn parse(turn: &str) -> Vec<Parsed> {
    let (is_tagged, text) = match turn.split_once(TAG) {
        Some((_, behind)) => (true, behind),
        None => (false, turn),
    };
    let begins_as_one = || {
        let mut letters = text.chars().filter(|c| !c.is_whitespace());
        letters.by_ref().take(7).eq("{\"name\"".chars())
    };
    let mut calls = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let is_meant = is_tagged || !calls.is_empty();
        match leading_value(rest) {
            Ok((value, behind)) if value.get("name").is_some() || is_meant => {
                calls.push(call_of(&value, &["parameters", "arguments"]));
                let behind = behind.trim_start();
                rest = behind.strip_prefix(';').unwrap_or(behind).trim_start();
                if !is_tagged && !rest.starts_with('{') {
                    break;
                }
            }
            Ok(_) => break,
            Err(error) => {
                if is_meant || begins_as_one() {
                    calls.push(malformed(error));
                }
                break;
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(turn: &str) -> Vec<String> {
        let name = |call: Parsed| match call {
            Parsed::Call(call) => format!("{}{}", call.name, call.arguments),
            Parsed::Malformed(reason) => reason,
            Parsed::None => unreachable!("a format gives calls alone"),
        };
        parse(turn).into_iter().map(name).collect()
    }

    #[test]
    fn calls_with_and_without_the_tag() {
        let one = r#"{"name": "add", "parameters": {"a": 1}}"#;
        let want = [r#"add{"a":1}"#.to_owned()];
        assert_eq!(names(one), want);
        assert_eq!(names(&format!("<|python_tag|>{one}")), want);
        assert_eq!(names(&format!("Let me see.<|python_tag|>{one}")), want);
        let two = format!("{one}; {one}");
        assert_eq!(names(&two), [want[0].clone(), want[0].clone()]);
        // text in front without the tag is an answer that quotes
        assert!(names(&format!("It is {one}")).is_empty());
    }

    #[test]
    fn an_answer_that_begins_with_a_brace_is_no_call() {
        for answer in ["{1, 2}", "{\"x\": 1}", "{", "{}", "[1]", ""] {
            assert!(names(answer).is_empty(), "{answer}");
        }
        assert!(names("{\"name\": \"add\",")[0].contains("EOF"));
        assert!(names("{ \"name\": \"add\", }")[0].contains("trailing comma"));
        assert!(names("<|python_tag|>print(1)")[0].contains("not valid"));
        assert!(names("<|python_tag|>{\"x\": 1}")[0].contains("`name` is missing"));
    }
}
