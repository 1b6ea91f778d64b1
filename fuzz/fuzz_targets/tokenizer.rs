//! Tokenizers of checkpoints from elsewhere: a `tokenizer.json`, a NUL, and a text to encode and
//! decode.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_chat::Tokenizer;
use paretopo_fuzz::pair_of_bytes;

fuzz_target!(init: paretopo_containment::silence_contained_panics(), |bytes: &[u8]| {
    let (json, text) = pair_of_bytes(bytes);
    let Ok(tokenizer) = Tokenizer::from_bytes(json) else { return };
    let text = String::from_utf8_lossy(text);
    for ids in [tokenizer.encode(&text), tokenizer.encode_plain(&text), tokenizer.encode_with_special(&text)].into_iter().flatten() {
        let _ = tokenizer.decode(&ids);
    }
    let _ = tokenizer.decode(&[0, 1, u32::MAX]);
});
