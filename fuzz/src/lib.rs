//! What the fuzz targets share.

use std::path::PathBuf;

/// A file of the checkout.
pub fn checkout(path: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The text before the first NUL, and that after it.
pub fn pair(text: &str) -> (&str, &str) {
    text.split_once('\0').unwrap_or((text, ""))
}

/// The bytes before the first NUL, and those after it.
pub fn pair_of_bytes(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}
