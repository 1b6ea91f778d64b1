//! What a policy writes, through every tool-call syntax.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_chat::{CallFormat, InTurn, Parsed, behind_thinking};

fuzz_target!(|text: &str| {
    for syntax in [InTurn::FencedPython, InTurn::Hermes, InTurn::SearchTags] {
        if let Some(call) = syntax.completed_call(text) {
            assert!(text.contains(call));
        }
        if let Parsed::Call(call) = syntax.parse(text)
            && let Some(written) = syntax.render_call(&call)
        {
            // what a call is rendered as is read as that call again
            assert!(
                matches!(syntax.parse(&written), Parsed::Call(again) if again == call),
                "{written}"
            );
        }
    }
    let formats = [
        CallFormat::Hermes,
        CallFormat::Qwen3Xml,
        CallFormat::Llama3Json,
        CallFormat::Pythonic,
        CallFormat::Mistral,
    ];
    for format in formats {
        let calls = format.parse(text, &[]);
        assert!(!calls.contains(&Parsed::None));
        assert!(calls.len() <= text.len());
    }
    assert!(text.ends_with(behind_thinking(text, false)));
});
