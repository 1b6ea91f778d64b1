//! Tells the tests whether there are published MCP servers: those that need some are listed as
//! ignored where there are none.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(with_mcp_servers)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PARETOPO_MCP_SERVERS");
    if std::env::var_os("PARETOPO_MCP_SERVERS").is_some() {
        println!("cargo::rustc-cfg=with_mcp_servers");
    }
}
