//! Names that become places on the disk and parts of an address, from people and from servers.
//!
//! What is allowed is what the hub allows (`huggingface_hub.utils.validate_repo_id`), and of
//! revisions what git allows, without what a file system or a terminal could take for more.

/// A name that people write and that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Of a repository.
    #[error(
        "`{}` is not the name of a repository\nhint: `owner/name` or `name`, each of up to 96 \
         ASCII letters, digits, `-`, `_` and `.`, with `-` and `.` neither at an end nor doubled",
        .0.escape_debug()
    )]
    Repository(String),
    /// Of a branch, tag or commit.
    #[error(
        "`{}` is not a revision\nhint: a branch, tag or commit: letters, digits and `-_.+@=#`, \
         in parts between `/` that do not begin with `.` or `-`, end with `.` or `.lock`, or \
         hold `..`; up to 200 bytes",
        .0.escape_debug()
    )]
    Revision(String),
}

/// The longest part of a repository's name.
const NAME_BYTES: usize = 96;
const REVISION_BYTES: usize = 200;
/// The longest name of a file, and of one of its folders; file systems allow 255 for a part.
const FILE_BYTES: usize = 1024;
const PART_BYTES: usize = 255;

/// ```
/// use paretopo_hub::check_repository;
///
/// assert_eq!(check_repository("openai/gsm8k"), Ok(()));
/// assert!(check_repository("a/../b").is_err());
/// ```
///
/// # Errors
/// When `name` is not `owner/name` or `name` by the hub's rules.
pub fn check_repository(name: &str) -> Result<(), NameError> {
    let plain = |part: &str| {
        (1..=NAME_BYTES).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("--")
            && !part.contains("..")
    };
    let parts: Vec<&str> = name.split('/').collect();
    match parts.len() <= 2 && parts.into_iter().all(plain) {
        true => Ok(()),
        false => Err(NameError::Repository(name.to_owned())),
    }
}

/// # Errors
/// When `revision` cannot be a branch, tag or commit.
pub fn check_revision(revision: &str) -> Result<(), NameError> {
    let plain = |part: &str| {
        !part.is_empty()
            && part.chars().all(|letter| letter.is_alphanumeric() || "-_.+@=#".contains(letter))
            && !part.starts_with(['-', '.'])
            && !part.ends_with('.')
            && !part.ends_with(".lock")
            && !part.contains("..")
    };
    match revision.len() <= REVISION_BYTES && revision.split('/').all(plain) {
        true => Ok(()),
        false => Err(NameError::Revision(revision.to_owned())),
    }
}

/// What is wrong with the name of a file inside a repository, if anything is.
pub(crate) fn fault_of_file(name: &str) -> Option<&'static str> {
    if name.len() > FILE_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    name.split('/').find_map(|part| match part {
        "" => Some("it has an empty part"),
        "." | ".." => Some("it has a part of dots alone"),
        part if part.len() > PART_BYTES => Some("it has a part of more than 255 bytes"),
        part if part.contains('\\') => Some("it holds a backslash"),
        part if part.chars().any(char::is_control) => Some("it holds a control character"),
        part if cfg!(windows) && part.contains(':') => Some("it holds a colon"),
        _ => None,
    })
}

/// Whether a text is a commit: git's SHA-1 in hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_named_as_the_hub_names_them() {
        for name in ["gpt2", "openai/gsm8k", "Qwen/Qwen3-0.6B", "a_b/c.d-e", "0/1", "_x/y_"] {
            assert_eq!(check_repository(name), Ok(()), "{name}");
        }
        let long = format!("a/{}", "b".repeat(97));
        for name in [
            "", "/", "a/", "/a", "a/b/c", "..", "../a", "a/..", "a/.b", "a/b.", "-a/b", "a--b/c",
            "a/b..c", "a b/c", "a\\b/c", "a/b\n", "a/b\0", "ä/b", "a/b?c", "a/b#c", "a%2f/b",
            &long,
        ] {
            assert!(check_repository(name).is_err(), "{name:?}");
        }
        assert!(check_repository(&long[..98]).is_ok());
    }

    #[test]
    fn revisions_are_those_of_git() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for revision in ["main", commit, "v1.0", "refs/pr/12", "refs/convert/parquet", "größe/x+1"]
        {
            assert_eq!(check_revision(revision), Ok(()), "{revision}");
        }
        let long = "a".repeat(201);
        for revision in [
            "", "/", "/etc", "a//b", "a/", "..", "../a", "a/../b", "a/..", ".", ".a", "a..b", "a.",
            "a.lock", "a.lock/b", "-a", "a b", "a\\b", "a\nb", "a\0b", "a?b", "a%2e%2e", "a:b",
            "a~1", "a^", "a*", "a[b", &long,
        ] {
            assert!(check_revision(revision).is_err(), "{revision:?}");
        }
        assert!(check_revision(&long[..200]).is_ok());
    }

    #[test]
    fn files_lie_inside_their_repository() {
        for name in ["config.json", "a/b/c.parquet", ".gitattributes", "a b/ü%2e", "..a/b..", "..."]
        {
            assert_eq!(fault_of_file(name), None, "{name}");
        }
        let part = "a".repeat(256);
        let long = ["a/"; 512].concat() + "b";
        for name in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            ".",
            "..",
            "../a",
            "a/../../b",
            "a/.",
            "a\\..\\b",
            "a\nb",
            "a\0",
            "\u{1b}[2J",
            &part,
            &long,
        ] {
            assert!(fault_of_file(name).is_some(), "{name:?}");
        }
        assert_eq!(fault_of_file(&part[..255]), None);
    }
}
