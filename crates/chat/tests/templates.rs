//! Published chat templates are rendered to the byte as transformers renders them.
//!
//! `tests/fixtures/make_templates.py` made the expectations and says how. With the folder that its
//! `--texts` wrote in `TEMPLATE_TEXTS`, a failure shows where the two texts part. `TEMPLATE_FOLDER`
//! names other templates with their expectations.

use paretopo_chat::{ChatTemplate, Conversation};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Renderings that differ from transformers', by template and conversation, and why.
const DIFFERENT: [(&str, &str, &str); 0] = [];

/// Small templates that are rendered otherwise, and why.
const UNLIKE: [(&str, &str); 9] = [
    ("{{ 1 / 0 }}", "a division by zero is infinite"),
    ("{{ (1, 'a') }}", "a tuple is a list, and printed as one"),
    ("{{ '%s is %d and %.2f' % ('a', 3, 2.5) }}", "`%` of a text is an error here"),
    ("{{ '%s' % n }}", "`%` of a text is an error here"),
    ("{{ 1 < 'a' }}", "values of two kinds have an order"),
    ("{{ n[3:0:-1] }}", "the stop of a slice that goes backwards is not 0"),
    ("{{ dict([('x', 1)]) }}", "`dict` of pairs is an error here"),
    ("{{ dict.fromkeys(['a', 'b']) }}", "`dict.fromkeys` is an error here"),
    (
        "{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
        "a macro with more arguments than it names is an error here",
    ),
];

fn fixtures() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/templates");
    std::env::var_os("TEMPLATE_FOLDER").map_or(ours, PathBuf::from)
}

/// The conversation that the fixture tells, at the time of the fixture.
fn conversation(told: &Value) -> Conversation {
    let mut told = told.clone();
    let fields = told.as_object_mut().expect("a conversation is an object");
    fields.entry("add_generation_prompt").or_insert(true.into());
    // 2025-03-07 14:05:09: 20154 days of 86400 s and 50709 s
    fields.insert("now".into(), (20_154_i64 * 86_400 + 50_709).into());
    serde_json::from_value(told).expect("the fixture tells conversations")
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

/// What is wrong with a rendering, if anything is.
fn difference(
    name: &str,
    title: &str,
    rendered: Result<paretopo_chat::Rendered, paretopo_chat::ChatError>,
    expected: &Value,
) -> Option<String> {
    let rendered = match (rendered, expected["error"].as_str()) {
        (Err(_), Some(_)) => return None,
        (Ok(rendered), Some(error)) => {
            let message = &expected["message"];
            return Some(format!("{error} {message}, here it is {:?}", rendered.text));
        }
        (Err(error), None) => return Some(format!("here {error}")),
        (Ok(rendered), None) => rendered,
    };
    let is_same = match expected["text"].as_str() {
        Some(text) => text == rendered.text,
        None => expected["sha256"].as_str() == Some(&hash(&rendered.text)),
    };
    if !is_same {
        return Some(parting(name, title, &rendered.text));
    }
    // transformers counts characters
    let characters = |byte: usize| rendered.text[..byte].chars().count();
    let spans: Vec<_> = rendered
        .assistant
        .iter()
        .map(|span| serde_json::json!([characters(span.start), characters(span.end)]))
        .collect();
    let expected = expected["assistant"].as_array().cloned().unwrap_or_default();
    (spans != expected).then(|| format!("spans {spans:?} for {expected:?}"))
}

/// Where a text parts from the one that transformers rendered, if that is at hand.
fn parting(name: &str, title: &str, text: &str) -> String {
    let Some(folder) = std::env::var_os("TEMPLATE_TEXTS") else { return "another text".into() };
    let path = Path::new(&folder).join(format!("{name}.{title}.txt"));
    let Ok(expected) = std::fs::read_to_string(&path) else { return "another text".into() };
    let same: usize = text
        .chars()
        .zip(expected.chars())
        .take_while(|(one, other)| one == other)
        .map(|(c, _)| c.len_utf8())
        .sum();
    let short = |text: &str| text.chars().take(60).collect::<String>();
    let before: String = text[..same].chars().rev().take(30).collect();
    let before: String = before.chars().rev().collect();
    format!("after {before:?} here {:?} for {:?}", short(&text[same..]), short(&expected[same..]))
}

#[test]
fn published_templates_render_as_transformers_renders_them() {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let fixture: Value = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, expected) in fixture["templates"].as_object().unwrap() {
        let source = std::fs::read_to_string(fixtures().join(name)).unwrap();
        let template = ChatTemplate::new(&source, &fixture["special_tokens"]);
        for (title, expected) in expected.as_object().unwrap() {
            count += 1;
            let rendered = match &template {
                Ok(template) => {
                    template.render_conversation(&conversation(&fixture["conversations"][title]))
                }
                Err(error) => Err(paretopo_chat::ChatError::Template(error.to_string())),
            };
            let found = difference(name, title, rendered, expected);
            let is_known = DIFFERENT.iter().any(|known| (known.0, known.1) == (name, title));
            match found {
                Some(found) if !is_known => wrong.push(format!("{name} {title}: {found}")),
                None if is_known => wrong.push(format!("{name} {title}: no longer different")),
                _ => {}
            }
        }
    }
    assert!(count > 0, "there are templates");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_language_is_jinja2_in_pythons_hands() {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let fixture: Value = serde_json::from_str(&text).unwrap();
    let mut told = fixture["conversations"]["one_call"].clone();
    told["variables"] = fixture["extra"].clone();
    let mut wrong = Vec::new();
    for (source, expected) in fixture["language"].as_object().unwrap() {
        let rendered = ChatTemplate::new(source, &fixture["special_tokens"])
            .and_then(|template| template.render_conversation(&conversation(&told)));
        let shown = rendered.as_ref().map_or(String::new(), |rendered| rendered.text.clone());
        let is_known = UNLIKE.iter().any(|known| known.0 == source);
        match difference("", "", rendered, expected) {
            Some(found) if !is_known => wrong
                .push(format!("{source}\n    {found}\n    {shown:?}\n    {}", expected["text"])),
            None if is_known => wrong.push(format!("{source}: no longer different")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Names that `get_chat_template` of transformers 5.24 chooses by.
#[test]
fn the_template_for_tools_is_chosen_where_there_is_one() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("named_templates");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("additional_chat_templates")).unwrap();
    let config = |template: Value| {
        let text = serde_json::json!({ "chat_template": template, "eos_token": "</s>" });
        std::fs::write(folder.join("tokenizer_config.json"), text.to_string()).unwrap();
    };
    let render = |tools: &str| -> Result<String, String> {
        let conversation = format!(r#"{{"messages": [], "tools": {tools}}}"#);
        let conversation: Conversation = serde_json::from_str(&conversation).unwrap();
        let template = ChatTemplate::from_folder(&folder).map_err(|error| error.to_string())?;
        let rendered = template.render_conversation(&conversation);
        Ok(rendered.map_err(|error| error.to_string())?.text)
    };
    let is = |tools: &str, expected: &str| {
        assert_eq!(render(tools).as_deref(), Ok(expected), "{tools}");
    };
    let named = |name: &str, text: &str| serde_json::json!({ "name": name, "template": text });

    config(serde_json::json!([named("default", "plain"), named("tool_use", "tools")]));
    is("null", "plain");
    is("[{}]", "tools");
    // an empty list is a list
    is("[]", "tools");
    config(serde_json::json!([named("default", "plain"), named("rag", "documents")]));
    is("[{}]", "plain");
    config(serde_json::json!([named("tool_use", "tools")]));
    is("[{}]", "tools");
    assert!(render("null").unwrap_err().contains("`tool_use`"));
    config(serde_json::json!([named("rag", "documents")]));
    assert!(render("null").unwrap_err().contains("no template is called `default`"));

    // files take the place of all that the configuration says
    config(serde_json::json!("configured"));
    is("null", "configured");
    let additional = folder.join("additional_chat_templates");
    std::fs::write(additional.join("tool_use.jinja"), "tools{{ eos_token }}").unwrap();
    std::fs::write(additional.join("notes.txt"), "{% no template").unwrap();
    is("[{}]", "tools</s>");
    assert!(render("null").is_err(), "no file is the default");
    std::fs::write(folder.join("chat_template.jinja"), "{% if true %}\r\nfile\r\n{% endif %}\r\n")
        .unwrap();
    is("null", "file\n");
    std::fs::write(additional.join("tool_use.jinja"), "{% no template").unwrap();
    assert!(render("null").is_err(), "a template that does not parse is told at once");
}
