//! A blob of the hub's cache is named after its content: by SHA-256, or as git names it, by SHA-1
//! of a header and the content.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Whether a blob's name is a checksum.
pub(crate) fn is_checksum(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A blob's name where a server gives no checksum: a digest of what it says instead, which is no
/// path whatever that is.
pub(crate) fn name_of(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    format!("other-{}", hexadecimal(&digest.finalize()))
}

/// The checksum of a blob and the one in its name, if they differ. Names that are no checksum (of
/// other servers) are taken as they are.
pub(crate) fn mismatch(blob: &Path, name: &str) -> std::io::Result<Option<(String, String)>> {
    let name = name.to_ascii_lowercase();
    if !is_checksum(&name) {
        return Ok(None);
    }
    let file = File::open(blob)?;
    let found = match name.len() {
        64 => digest::<Sha256>(file, b"")?,
        40 => {
            let header = format!("blob {}\0", file.metadata()?.len());
            digest::<Sha1>(file, header.as_bytes())?
        }
        _ => return Ok(None),
    };
    Ok((found != name).then_some((found, name)))
}

fn digest<D: Digest>(mut file: File, header: &[u8]) -> std::io::Result<String> {
    let mut digest = D::new_with_prefix(header);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    Ok(hexadecimal(&digest.finalize()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_named_after_their_content() {
        let folder = std::env::temp_dir().join(format!("paretopo-checksum-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let of = |name: &str, content: &str| {
            std::fs::write(folder.join(name), content).unwrap();
            mismatch(&folder.join(name), name).unwrap()
        };
        // `git hash-object` and `sha256sum` of "hello\n"
        assert_eq!(of("ce013625030ba8dba906f756967f9e9ca394464a", "hello\n"), None);
        assert_eq!(
            of("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", "hello\n"),
            None
        );
        let (found, expected) =
            of("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be04", "hello\n")
                .unwrap();
        assert!(found.ends_with("be03") && expected.ends_with("be04"));
        assert!(of("ce013625030ba8dba906f756967f9e9ca394464b", "hello\n").is_some());
        assert_eq!(of("an-etag-of-another-server", "hello\n"), None);
        std::fs::remove_dir_all(&folder).unwrap();
        // the same texts, cut elsewhere
        assert_ne!(name_of(&["ab", "c"]), name_of(&["a", "bc"]));
        assert!(!name_of(&["../../x"]).contains('/') && !is_checksum(&name_of(&["x"])));
    }
}
