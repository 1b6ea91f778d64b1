//! Where the system finds a program, found without starting it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the system finds a program: a name alone in the folders of `PATH`, any other path from
/// where this program runs. A name that is in none of them stays as it is.
pub(crate) fn found(program: &Path) -> PathBuf {
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&folders).map(|folder| folder.join(program));
    places
        .filter_map(|place| std::path::absolute(place).ok())
        .find(is_program)
        .unwrap_or_else(|| program.to_owned())
}
