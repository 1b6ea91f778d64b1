//! Files of questions: JSON, JSON lines, parquet.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_environments::{EnvironmentConfig, Resources};
use std::io::Write;

fuzz_target!(|bytes: &[u8]| {
    for suffix in [".json", ".jsonl", ".parquet"] {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        let config = serde_json::json!({
            "type": "math", "tool_enabled": false, "problems": { "type": "file", "path": file.path(), "test": 1, "validation": 0 }
        });
        let config: EnvironmentConfig = serde_json::from_value(config).expect("a configuration");
        let _ = config.build(&Resources::default(), &mut ());
    }
});
