//! MCP servers that others have published. They are in the folder that `PARETOPO_MCP_SERVERS` names,
//! a Python environment and a place of npm at once:
//!
//! ```sh
//! python3 -m venv servers && servers/bin/pip install mcp-server-time mcp-server-git
//! npm install --prefix servers @modelcontextprotocol/server-everything
//! ```

#![cfg(feature = "mcp")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use paretopo_tools::{
    CallContext, ListedTool, McpConfig, ProgramConfig, Resources, ServerConfig, ToolEntry,
    ToolSurroundings,
};
use paretopo_trajectory::{CallStatus, ToolCall, ToolOutcome, TrajectoryId};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What was published by others, under the folder that the variable names.
fn published(path: &str) -> PathBuf {
    let folder = std::env::var_os("PARETOPO_MCP_SERVERS").expect("it was there at compile time");
    PathBuf::from(folder).join(path)
}

fn started(config: McpConfig) -> Vec<ListedTool> {
    let resources = Resources::default();
    let mut surroundings =
        ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
    ToolEntry::new("mcp", config).start(&mut surroundings).unwrap()
}

fn of_program(command: PathBuf, args: &[&str]) -> Vec<ListedTool> {
    let program = Some(ProgramConfig::new(command, args));
    started(McpConfig { program, ..McpConfig::default() })
}

#[track_caller]
fn call(tools: &[ListedTool], name: &str, arguments: Value) -> ToolOutcome {
    let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let tool = tools.iter().find(|tool| tool.name == name);
    let tool = tool.unwrap_or_else(|| panic!("no `{name}` in {known:?}"));
    let call = ToolCall { name: name.into(), arguments };
    let deadline = Instant::now() + Duration::from_secs(20);
    tool.tool.call(&call, &CallContext::new(TrajectoryId::new("test", 0, 0), deadline))
}

#[test]
#[cfg_attr(not(with_mcp_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name published servers")]
fn the_server_of_times_tells_one() {
    let tools = of_program(published("bin/mcp-server-time"), &["--local-timezone", "UTC"]);
    let arguments =
        json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo" });
    let outcome = call(&tools, "convert_time", arguments);
    assert_eq!(outcome.status, CallStatus::Ok, "{}", outcome.text);
    assert!(outcome.text.contains("T21:00:00+09:00"), "{}", outcome.text);
    let bad = call(&tools, "get_current_time", json!({ "timezone": "Nowhere" }));
    assert_eq!((bad.status, bad.fault), (CallStatus::Error, None), "{}", bad.text);
}

#[test]
#[cfg_attr(not(with_mcp_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name published servers")]
fn the_server_of_git_tells_a_status() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    let made = Command::new("git").args(["init", "-q", here]).status().unwrap();
    assert!(made.success());
    std::fs::write(folder.path().join("new.txt"), "new").unwrap();
    let tools = of_program(published("bin/mcp-server-git"), &["--repository", here]);
    let outcome = call(&tools, "git_status", json!({ "repo_path": here }));
    assert_eq!(outcome.status, CallStatus::Ok, "{}", outcome.text);
    assert!(outcome.text.contains("new.txt"), "{}", outcome.text);
    let elsewhere = call(&tools, "git_status", json!({ "repo_path": "/" }));
    assert_eq!((elsewhere.status, elsewhere.fault), (CallStatus::Error, None));
}

const EVERYTHING: &str = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";

fn try_everything(tools: &[ListedTool]) {
    let echo = call(tools, "echo", json!({ "message": "hi" }));
    assert_eq!((echo.status, echo.text.as_str()), (CallStatus::Ok, "Echo: hi"));
    let image = call(tools, "get-tiny-image", json!({}));
    assert!(image.text.contains("(an image is left out)"), "{}", image.text);
    let wrong = call(tools, "echo", json!({ "message": 3 }));
    assert_eq!((wrong.status, wrong.fault), (CallStatus::Error, None), "{}", wrong.text);
}

#[test]
#[cfg_attr(not(with_mcp_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name published servers")]
fn the_server_of_everything_answers_over_its_streams() {
    let script = published(EVERYTHING);
    try_everything(&of_program("node".into(), &[script.to_str().unwrap(), "stdio"]));
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[cfg_attr(not(with_mcp_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name published servers")]
fn the_server_of_everything_answers_by_http() {
    // a port that nobody has now
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut command = Command::new("node");
    command.arg(published(EVERYTHING)).arg("streamableHttp").env("PORT", port.to_string());
    let _server = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let url = format!("http://127.0.0.1:{port}/mcp");
    let server = Some(ServerConfig::new(url));
    try_everything(&started(McpConfig { server, ..McpConfig::default() }));
}
