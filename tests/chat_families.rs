//! Families of chat models by their published templates, and what must hold for every episode that is
//! played in turns. Shared with `fuzz/fuzz_targets/chat_turns.rs`.

use crate::checkout;
use paretopo_agent::{PolicyText, RolloutConfig};
use paretopo_chat::ToolSyntax;
use paretopo_trajectory::{Author, CallStatus, Trajectory};
use serde_json::{Value, json};
use std::path::Path;

/// A family of chat models.
pub(crate) struct Family {
    pub(crate) template: &'static str,
    /// Tokens that end a turn; the first ends an answer.
    pub(crate) ends: &'static [&'static str],
    /// What else is one token.
    pub(crate) markers: &'static [&'static str],
    /// Whether a turn may hold several calls.
    pub(crate) several: bool,
    /// What is said about thinking.
    pub(crate) thinking: Option<bool>,
    /// Whether what was read before is rendered in the same way later on.
    pub(crate) keeps_history: bool,
}

const CHATML: &[&str] = &["<|im_end|>", "<|endoftext|>"];
const QWEN: &[&str] = &[
    "<|im_start|>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
];
const LLAMA: &[&str] =
    &["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"];

pub(crate) const FAMILIES: &[Family] = &[
    Family {
        template: "Qwen-Qwen2.5-7B-Instruct",
        ends: CHATML,
        markers: QWEN,
        several: true,
        thinking: None,
        keeps_history: true,
    },
    Family {
        template: "Qwen-Qwen3-0.6B",
        ends: CHATML,
        markers: QWEN,
        several: true,
        thinking: None,
        keeps_history: true,
    },
    Family {
        template: "Qwen3-Coder",
        ends: CHATML,
        markers: QWEN,
        several: true,
        thinking: None,
        keeps_history: true,
    },
    // where it thinks, the prompt ends inside what would be one token with the turn's beginning
    Family {
        template: "Qwen3.5-4B",
        ends: CHATML,
        markers: QWEN,
        several: true,
        thinking: Some(false),
        keeps_history: true,
    },
    Family {
        template: "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
        ends: CHATML,
        markers: QWEN,
        several: true,
        thinking: None,
        keeps_history: false,
    },
    Family {
        template: "meta-llama-Llama-3.1-8B-Instruct",
        ends: &["<|eot_id|>", "<|eom_id|>"],
        markers: LLAMA,
        several: false,
        thinking: None,
        keeps_history: true,
    },
    Family {
        template: "meta-llama-Llama-3.3-70B-Instruct",
        ends: &["<|eot_id|>", "<|eom_id|>"],
        markers: LLAMA,
        several: false,
        thinking: None,
        keeps_history: true,
    },
    Family {
        template: "mistralai-Mistral-Nemo-Instruct-2407",
        ends: &["</s>"],
        markers: &[
            "<s>",
            "[INST]",
            "[/INST]",
            "[AVAILABLE_TOOLS]",
            "[/AVAILABLE_TOOLS]",
            "[TOOL_CALLS]",
            "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]",
        ],
        several: true,
        thinking: None,
        keeps_history: true,
    },
];

/// How Qwen's tokenizer takes text apart; line breaks stay together whatever follows.
const QWEN_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// GPT-2's letter for a byte.
fn letter(byte: u8) -> char {
    let is_seen = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match is_seen(byte) {
        true => char::from(byte),
        false => {
            let earlier = (0..byte).filter(|other| !is_seen(*other)).count() as u32;
            char::from_u32(256 + earlier).unwrap()
        }
    }
}

/// A checkpoint's text files: bytes and a few merges across what a template puts together.
pub(crate) fn write_texts(folder: &Path, family: &Family) {
    let mut vocab: Vec<String> = (0..=255).map(|byte| letter(byte).to_string()).collect();
    let merges = [["\n", "\n"], [">", "\n"], ["\n", "<"], ["1", "2"], [" ", "\""]];
    let as_letters = |text: &str| -> String { text.bytes().map(letter).collect() };
    let merges: Vec<[String; 2]> = merges.map(|pair| pair.map(as_letters)).to_vec();
    vocab.extend(merges.iter().map(|pair| pair.concat()));
    let added = family.ends.iter().chain(family.markers).enumerate().map(|(place, content)| {
        json!({ "id": vocab.len() + place, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": !content.contains("tool") })
    });
    let added: Vec<Value> = added.collect();
    let ids: serde_json::Map<String, Value> =
        vocab.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let merges: Vec<String> = merges.iter().map(|pair| pair.join(" ")).collect();
    let tokenizer = json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "post_processor": null, "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": QWEN_WORDS }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false } ] },
        "model": { "type": "BPE", "vocab": ids, "merges": merges } });
    let end_ids: Vec<usize> = (0..family.ends.len()).map(|place| vocab.len() + place).collect();
    let path = format!("tests/fixtures/templates/llama.cpp/{}.jinja", family.template);
    let template = std::fs::read_to_string(checkout(&path)).unwrap();
    let bos = family.markers.iter().find(|marker| marker.contains("begin_of") || **marker == "<s>");
    let config = json!({ "eos_token": family.ends[0], "bos_token": bos });
    for (name, value) in [
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", config),
        ("generation_config.json", json!({ "eos_token_id": end_ids })),
    ] {
        std::fs::write(folder.join(name), value.to_string()).unwrap();
    }
    std::fs::write(folder.join("chat_template.jinja"), template).unwrap();
}

pub(crate) fn config(family: &Family) -> RolloutConfig {
    let syntax = ToolSyntax::Chat { format: None, thinking: family.thinking };
    RolloutConfig { syntax, max_sampled_tokens: 4096, max_calls: 4, ..RolloutConfig::default() }
}

pub(crate) fn text_of(family: &Family) -> PolicyText {
    let folder = tempfile::tempdir().unwrap();
    write_texts(folder.path(), family);
    PolicyText::from_folder(folder.path()).unwrap()
}

/// What no policy and no tool may achieve, whatever they write. `seen` is what the generator last
/// drew a token behind.
pub(crate) fn check_turns(
    text: &PolicyText,
    family: &Family,
    played: &Trajectory,
    seen: &[u32],
    config: &RolloutConfig,
) {
    let by = |author: Author| played.segments.iter().filter(move |own| own.author == author);
    let name = family.template;
    // ids follow each other as the model saw them, and what is trained on is what it drew
    let ids = played.ids();
    assert!(ids.starts_with(seen), "{name}");
    let drawn = |own: &paretopo_trajectory::Segment| own.author == Author::Model;
    let mask: Vec<bool> =
        played.segments.iter().flat_map(|own| own.ids.iter().map(|_| drawn(own))).collect();
    assert_eq!(played.mask(), mask, "{name}");
    for own in &played.segments {
        assert_eq!(own.logprobs.len(), if drawn(own) { own.ids.len() } else { 0 }, "{name}");
    }
    assert!(played.sampled_tokens() <= config.max_sampled_tokens, "{name}");
    let made = |status: CallStatus| status == CallStatus::Ok;
    let made = played.calls.iter().filter(|call| made(call.outcome.status)).count();
    assert!(made <= config.max_calls, "{name}: {made} calls");
    // an end that was drawn ends the turn: what follows is not the policy's, or nothing does
    let ends_turn = |at: &usize| mask[*at] && text.end_ids.contains(&ids[*at]);
    for at in (0..ids.len()).filter(ends_turn) {
        assert!(mask.get(at + 1).is_none_or(|is_own| !is_own), "{name}: goes on behind an end");
    }
    // no tool writes a marker
    let marker = |marker: &&str| text.tokenizer.token_to_id(marker).expect("a marker is a token");
    let markers: Vec<u32> = family.ends.iter().chain(family.markers).map(marker).collect();
    for own in by(Author::Tool) {
        assert!(!own.ids.iter().any(|id| markers.contains(id)), "{name}: a forged marker");
    }
}
