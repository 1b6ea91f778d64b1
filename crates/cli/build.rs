//! Tells the binary which commit it was built from.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!("cargo::rustc-env=PARETOPO_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    // the log of HEAD grows with every commit, which HEAD itself, the name of a branch, does not
    if let Some(path) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={}", String::from_utf8_lossy(&path.stdout).trim());
    }
    println!("cargo::rerun-if-changed=build.rs");
}
