//! Tells the binary which commit it was built from, and the tests what lies beside the checkout: those
//! that need what is not there are listed as ignored.

use std::path::Path;
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
    tell_tests();
}

/// Sets a `cfg` for each thing that some tests compare with and that is there.
fn tell_tests() {
    println!(
        "cargo::rustc-check-cfg=cfg(beside_shared, with_chromium, with_parallel, with_smollm2, \
         with_llama3_tokenizer, with_openenv, with_mcp_servers, with_npm_servers)"
    );
    let shared = Path::new("../../../shared/data");
    // a path that does not exist would have this run every time
    if shared.exists() {
        println!("cargo::rustc-cfg=beside_shared");
        println!("cargo::rerun-if-changed={}", shared.display());
    }
    let binaries = Path::new("/usr/bin");
    if ["chromium", "chromedriver"].iter().all(|name| binaries.join(name).exists()) {
        println!("cargo::rustc-cfg=with_chromium");
    }
    // that of moreutils is another program, and has no `sem`
    if ["parallel", "sem"].iter().all(|name| binaries.join(name).exists()) {
        println!("cargo::rustc-cfg=with_parallel");
    }
    if binaries.exists() {
        println!("cargo::rerun-if-changed={}", binaries.display());
    }
    // of published MCP servers, those of npm are there where it is
    println!("cargo::rerun-if-env-changed=PARETOPO_MCP_SERVERS");
    if let Some(servers) = std::env::var_os("PARETOPO_MCP_SERVERS") {
        println!("cargo::rustc-cfg=with_mcp_servers");
        if Path::new(&servers).join("node_modules/@modelcontextprotocol").exists() {
            println!("cargo::rustc-cfg=with_npm_servers");
        }
    }
    for (variable, name) in [
        ("PARETOPO_SMOLLM2", "with_smollm2"),
        ("PARETOPO_LLAMA3_TOKENIZER", "with_llama3_tokenizer"),
        ("PARETOPO_OPENENV", "with_openenv"),
    ] {
        println!("cargo::rerun-if-env-changed={variable}");
        if std::env::var_os(variable).is_some() {
            println!("cargo::rustc-cfg={name}");
        }
    }
}
