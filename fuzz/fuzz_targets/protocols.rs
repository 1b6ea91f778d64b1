//! What servers say and what is said to ours.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_retrieval::{RetrieveRequest, RetrieveResponse};

fuzz_target!(|bytes: &[u8]| {
    let _ = serde_json::from_slice::<RetrieveRequest>(bytes);
    if let Ok(response) = serde_json::from_slice::<RetrieveResponse>(bytes) {
        for found in response.result.into_iter().flatten() {
            let _ = found.into_hit();
        }
    }
});
