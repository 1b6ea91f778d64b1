//! Files of problems, questions and passages: JSON, JSON lines, parquet, compressed or not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_environments::{EnvironmentConfig, Resources, qa};
use paretopo_retrieval::CorpusReader;

/// Panics of the parquet reader are caught and made errors; all others end the fuzzer.
fn let_parquet_panic() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|location| location.file().contains("/parquet-")) {
            hook(info);
        }
    }));
}

fuzz_target!(init: let_parquet_panic(), |bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    std::fs::write(&path, bytes).expect("written");
    let config = serde_json::json!({
        "type": "math", "tool_enabled": false, "problems": { "type": "file", "path": path, "test": 1, "validation": 0 }
    });
    let config: EnvironmentConfig = serde_json::from_value(config).expect("a configuration");
    let _ = config.build(&Resources::default(), &mut ());
    let _ = qa::read_questions(&path);
    if let Ok(corpus) = CorpusReader::open(&path) {
        corpus.take(10_000).for_each(drop);
    }
});
