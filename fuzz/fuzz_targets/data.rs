//! Files of problems, questions and passages: JSON, JSON lines, parquet, compressed or not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_environments::{EnvironmentConfig, Resources, qa};
use paretopo_retrieval::CorpusReader;

fuzz_target!(init: paretopo_containment::silence_contained_panics(), |bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    std::fs::write(&path, bytes).expect("written");
    let config = serde_json::json!({
        "type": "math", "problems": { "type": "file", "path": path, "test": 1, "validation": 0 }
    });
    let config: EnvironmentConfig = serde_json::from_value(config).expect("a configuration");
    let _ = config.build(&Resources::default(), &mut ());
    let _ = qa::read_questions(&path);
    if let Ok(corpus) = CorpusReader::open(&path) {
        corpus.take(10_000).for_each(drop);
    }
});
