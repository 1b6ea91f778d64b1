//! Chat templates of checkpoints from elsewhere, rendered in this process. Those that multiply are
//! left out: a product can take any time and memory, which only a worker bounds
//! (`a_template_that_takes_everything_is_an_error` in `tests/command_line.rs`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_chat::{ChatTemplate, TemplateContext};
use paretopo_trajectory::{Message, Role};

fuzz_target!(init: paretopo_containment::silence_contained_panics(), |template: &str| {
    if template.contains('*') {
        return;
    }
    if let Ok(template) = ChatTemplate::new(template, &serde_json::json!({ "eos_token": "</s>" })) {
        let messages = [Message { role: Role::User, content: "2 + 2?".into() }];
        let _ = template.render(TemplateContext { messages: &messages, tools: &[], add_generation_prompt: true });
    }
});
