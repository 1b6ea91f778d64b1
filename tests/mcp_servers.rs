//! MCP servers that others have published, by their streams, by HTTP, and behind walls. They are in the
//! folder that `PARETOPO_MCP_SERVERS` names (`just test-mcp` makes one), a Python environment and a
//! place of npm at once; listed as ignored where there is none.

use crate::Killed;
use crate::enclosed::has_walls;
use paretopo_tools::{
    CallContext, EnclosureConfig, ListedTool, McpConfig, McpScope, ProgramConfig, Resources,
    ServerConfig, ToolEntry, ToolSurroundings,
};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, TrajectoryId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What was published by others, under the folder that the variable names.
fn published(path: &str) -> PathBuf {
    let folder = std::env::var_os("PARETOPO_MCP_SERVERS").expect("it was there at compile time");
    PathBuf::from(folder).join(path)
}

/// The script of a server of npm's.
fn script(name: &str) -> String {
    let path = published(&format!("node_modules/@modelcontextprotocol/{name}/dist/index.js"));
    path.to_str().unwrap().to_owned()
}

fn started(config: McpConfig) -> Vec<ListedTool> {
    let resources = Resources { python_worker: crate::python_worker(), ..Resources::default() };
    let mut surroundings =
        ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
    ToolEntry::new("mcp", config).start(&mut surroundings).unwrap()
}

fn of_program(command: PathBuf, args: &[&str]) -> Vec<ListedTool> {
    let program = Some(ProgramConfig::new(command, args));
    started(McpConfig { program, ..McpConfig::default() })
}

/// Walls through which a server reads these folders, or writes to those.
fn walls(readable: &[&Path], writable: &[&Path]) -> Option<EnclosureConfig> {
    let owned = |places: &[&Path]| places.iter().map(|place| place.to_path_buf()).collect();
    let (readable, writable) = (owned(readable), owned(writable));
    Some(EnclosureConfig { readable, writable, ..EnclosureConfig::default() })
}

fn context(trajectory: usize, seconds: u64) -> CallContext {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    CallContext::new(TrajectoryId::new("test", 0, trajectory), deadline)
}

#[track_caller]
fn call_in(
    tools: &[ListedTool],
    name: &str,
    arguments: Value,
    context: &CallContext,
) -> ToolOutcome {
    let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let tool = tools.iter().find(|tool| tool.name == name);
    let tool = tool.unwrap_or_else(|| panic!("no `{name}` in {known:?}"));
    tool.tool.call(&ToolCall { name: name.into(), arguments }, context)
}

#[track_caller]
fn call(tools: &[ListedTool], name: &str, arguments: Value) -> ToolOutcome {
    call_in(tools, name, arguments, &context(0, 20))
}

/// The text of a call that is answered well.
#[track_caller]
fn text(tools: &[ListedTool], name: &str, arguments: Value) -> String {
    let outcome = call(tools, name, arguments);
    assert_eq!(outcome.status, CallStatus::Ok, "{}", outcome.text);
    outcome.text
}

/// The text of a call that the server has refused, which is not its fault.
#[track_caller]
fn refusal(tools: &[ListedTool], name: &str, arguments: Value) -> String {
    let outcome = call(tools, name, arguments);
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Error, None), "{}", outcome.text);
    outcome.text
}

fn try_times(tools: &[ListedTool]) {
    let arguments =
        json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo" });
    let said = text(tools, "convert_time", arguments);
    assert!(said.contains("T21:00:00+09:00"), "{said}");
    refusal(tools, "get_current_time", json!({ "timezone": "Nowhere" }));
}

#[test]
#[cfg_attr(not(with_mcp_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name published servers")]
fn the_server_of_times_tells_one() {
    try_times(&of_program(published("bin/mcp-server-time"), &["--local-timezone", "UTC"]));
}

#[test]
#[cfg_attr(not(with_mcp_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name published servers")]
fn the_server_of_times_tells_one_behind_walls() {
    if !has_walls() {
        return;
    }
    // the environment, and the installation that its interpreter is of
    let ask = ["-c", "import sys; print(sys.base_prefix)"];
    let base = Command::new(published("bin/python")).args(ask).output().unwrap();
    let base = PathBuf::from(String::from_utf8(base.stdout).unwrap().trim());
    let server = published("bin/mcp-server-time");
    let program = Some(ProgramConfig::new(server, &["--local-timezone", "UTC"]));
    let walls = walls(&[&published(""), &base], &[]);
    try_times(&started(McpConfig { program, walls, ..McpConfig::default() }));
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
    let said = text(&tools, "git_status", json!({ "repo_path": here }));
    assert!(said.contains("new.txt"), "{said}");
    refusal(&tools, "git_status", json!({ "repo_path": "/" }));
}

fn try_everything(tools: &[ListedTool]) {
    assert_eq!(text(tools, "echo", json!({ "message": "hi" })), "Echo: hi");
    let sum = text(tools, "get-sum", json!({ "a": 2, "b": 3 }));
    assert_eq!(sum, "The sum of 2 and 3 is 5.");
    let wrong = refusal(tools, "echo", json!({ "message": 3 }));
    assert!(wrong.contains("expected string"), "{wrong}");
    // what is no text is named and left out
    let image = text(tools, "get-tiny-image", json!({}));
    assert_eq!(image.lines().nth(1), Some("(an image is left out)"), "{image}");
    let annotated = json!({ "messageType": "error", "includeImage": true });
    let annotated = text(tools, "get-annotated-message", annotated);
    assert_eq!(annotated, "Error: Operation failed\n(an image is left out)");
    let resource = json!({ "resourceType": "Text", "resourceId": 1 });
    let resource = text(tools, "get-resource-reference", resource);
    assert_eq!(resource.lines().nth(1), Some("(a resource is left out)"), "{resource}");
    let links = text(tools, "get-resource-links", json!({ "count": 2 }));
    assert_eq!(links.matches("(the link of a resource is left out)").count(), 2, "{links}");
    let weather = text(tools, "get-structured-content", json!({ "location": "New York" }));
    assert!(weather.contains(r#""conditions":"Cloudy""#), "{weather}");
    // it tells how far it is, which nobody needs, and then its result
    let long = json!({ "duration": 1, "steps": 4 });
    let long = text(tools, "trigger-long-running-operation", long);
    assert!(long.starts_with("Long running operation completed."), "{long}");
    // a call that is given up is cancelled, and the server goes on
    let begun = Instant::now();
    let long = json!({ "duration": 30, "steps": 30 });
    let late = call_in(tools, "trigger-long-running-operation", long, &context(0, 1));
    assert_eq!((late.status, late.fault), (CallStatus::Timeout, Some(Fault::Tool)));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(text(tools, "echo", json!({ "message": "on" })), "Echo: on");
    // it has tools that ask a person or a model, which it lists for clients that say they can be
    // asked; we say that we cannot
    let asking = ["trigger-sampling-request", "trigger-elicitation-request", "get-roots-list"];
    assert!(tools.iter().all(|tool| !asking.contains(&tool.name.as_str())));
}

#[test]
#[cfg_attr(not(with_npm_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name servers of npm's")]
fn the_server_of_everything_answers_over_its_streams() {
    let tools = of_program("node".into(), &[&script("server-everything"), "stdio"]);
    try_everything(&tools);
    let environment = text(&tools, "get-env", json!({}));
    assert!(environment.contains("PATH") && !environment.contains("HOME"), "{environment}");
}

#[test]
#[cfg_attr(not(with_npm_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name servers of npm's")]
fn the_server_of_everything_answers_behind_walls() {
    if !has_walls() {
        return;
    }
    let program = Some(ProgramConfig::new("node", &[&script("server-everything"), "stdio"]));
    let walls = walls(&[&published("node_modules")], &[]);
    let tools = started(McpConfig { program, walls, ..McpConfig::default() });
    try_everything(&tools);
    // one of its tools fetches from anywhere, but has no network
    let elsewhere =
        json!({ "name": "x.gz", "data": "https://example.com/", "outputType": "resource" });
    let elsewhere = refusal(&tools, "gzip-file-as-resource", elsewhere);
    assert!(elsewhere.contains("fetch"), "{elsewhere}");
}

#[test]
#[cfg_attr(not(with_npm_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name servers of npm's")]
fn the_server_of_everything_answers_by_http() {
    // a port that nobody has now
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut command = Command::new("node");
    command.arg(script("server-everything")).arg("streamableHttp").env("PORT", port.to_string());
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

#[test]
#[cfg_attr(not(with_npm_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name servers of npm's")]
fn the_server_of_files_keeps_to_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| folder.path().join(name));
    for place in [&own, &other] {
        std::fs::create_dir(place).unwrap();
        std::fs::write(place.join("text"), "secret").unwrap();
    }
    std::os::unix::fs::symlink(other.join("text"), own.join("link")).unwrap();
    let place = |path: PathBuf| json!({ "path": path });
    let program =
        ProgramConfig::new("node", &[&script("server-filesystem"), own.to_str().unwrap()]);
    let bare = McpConfig { program: Some(program), ..McpConfig::default() };
    let inside = McpConfig { walls: walls(&[&published("node_modules")], &[&own]), ..bare.clone() };
    let mut servers = vec![bare];
    servers.extend(has_walls().then_some(inside));
    for config in servers {
        let tools = started(config);
        let new = json!({ "path": own.join("new"), "content": "hello" });
        text(&tools, "write_file", new);
        assert_eq!(std::fs::read_to_string(own.join("new")).unwrap(), "hello");
        assert_eq!(text(&tools, "read_text_file", place(own.join("new"))), "hello");
        let listed = text(&tools, "list_directory", place(own.clone()));
        assert!(listed.contains("[FILE] new"), "{listed}");
        std::fs::write(own.join("image.png"), b"\x89PNG").unwrap();
        let image = text(&tools, "read_media_file", place(own.join("image.png")));
        assert_eq!(image, "(an image is left out)");
        for outside in
            [other.join("text"), own.join("../other/text"), own.join("link"), "/etc/passwd".into()]
        {
            let said = refusal(&tools, "read_text_file", place(outside.clone()));
            let words = ["Access denied", "ENOENT", "does not exist"];
            let is_refused = words.iter().any(|word| said.contains(word));
            assert!(is_refused, "{}: {said}", outside.display());
        }
        std::fs::remove_file(own.join("new")).unwrap();
    }
}

/// What a server of npm's remembers is in a file: of the package, unless a variable names another.
/// Behind walls the same name is another file for each server.
#[test]
#[cfg_attr(not(with_npm_servers), ignore = "`PARETOPO_MCP_SERVERS` is to name servers of npm's")]
fn trajectories_do_not_see_each_others_memory() {
    if !has_walls() {
        return;
    }
    let mut program = ProgramConfig::new("node", &[&script("server-memory")]);
    program.env.insert("MEMORY_FILE_PATH".into(), "/scratch/memory.jsonl".into());
    let tools = started(McpConfig {
        program: Some(program),
        walls: walls(&[&published("node_modules")], &[]),
        scope: McpScope::Trajectory,
        ..McpConfig::default()
    });
    let entity = |name: &str| json!({ "entities": [{ "name": name, "entityType": "person", "observations": ["x"] }] });
    let in_one = |trajectory: usize, name: &str, arguments: Value| {
        let outcome = call_in(&tools, name, arguments, &context(trajectory, 20));
        assert_eq!(outcome.status, CallStatus::Ok, "{}", outcome.text);
        outcome.text
    };
    in_one(1, "create_entities", entity("Ada"));
    in_one(2, "create_entities", entity("Bob"));
    let [ada, bob] = [1, 2].map(|trajectory| in_one(trajectory, "read_graph", json!({})));
    assert!(ada.contains("Ada") && !ada.contains("Bob"), "{ada}");
    assert!(bob.contains("Bob") && !bob.contains("Ada"), "{bob}");
    // with the trajectory its memory ends, and the next of that name has none
    let first = context(1, 20).trajectory;
    tools.iter().for_each(|tool| tool.tool.end(&first));
    let next = in_one(1, "read_graph", json!({}));
    assert!(!next.contains("Ada"), "{next}");
}
