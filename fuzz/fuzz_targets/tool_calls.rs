//! What a policy writes, through every tool-call syntax.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_chat::{Parsed, ToolSyntax};

fuzz_target!(|text: &str| {
    for syntax in [ToolSyntax::FencedPython {}, ToolSyntax::Hermes {}, ToolSyntax::SearchTags {}] {
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
});
