//! A server that does what it is called with: it answers, hangs, dies, floods and lies.

use super::*;
use crate::{CallContext, ListedTool, Resources, ToolEntry};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, TrajectoryId};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HOSTILE: &str = include_str!("hostile.py");

/// A folder in which servers leave their numbers.
struct Marks(PathBuf);

impl Marks {
    /// Of a test's own name. The server is a script, so that these tests need a `python3`.
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("paretopo-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    fn live(&self) -> usize {
        let is_alive = |name: &String| {
            std::fs::read_to_string(Path::new("/proc").join(name).join("stat"))
                .is_ok_and(|text| !text.rsplit(')').next().unwrap().starts_with(" Z"))
        };
        self.names().iter().filter(|name| is_alive(name)).count()
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn started(settings: &str) -> Result<Vec<ListedTool>, String> {
    let entry: ToolEntry = toml::from_str(settings).unwrap();
    entry.tool.check()?;
    let resources = Resources::default();
    let mut surroundings =
        ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
    entry.start(&mut surroundings)
}

/// The settings of a server of this mode.
fn settings(mode: &str, marks: &Marks, more: &str) -> String {
    let mut program = toml::Table::new();
    program.insert("command".into(), "python3".into());
    let args = ["-c", HOSTILE, mode, marks.0.to_str().unwrap()];
    program.insert("args".into(), args.map(str::to_owned).to_vec().into());
    let program = toml::Value::Table(program);
    format!("type = \"mcp\"\nprogram = {program}\nstart_seconds = 5.0\n{more}\n")
}

fn say(tools: &[ListedTool], what: &str, seconds: f64) -> ToolOutcome {
    say_in(tools, what, seconds, 0)
}

fn say_in(tools: &[ListedTool], what: &str, seconds: f64, trajectory: usize) -> ToolOutcome {
    let call = ToolCall { name: "say".into(), arguments: serde_json::json!({ "a": what }) };
    let deadline = Instant::now() + Seconds::literal(seconds).duration();
    let id = TrajectoryId::new("test", 0, trajectory);
    tools[0].tool.call(&call, &CallContext::new(id, deadline))
}

/// The number of the process that answers.
fn pid(tools: &[ListedTool]) -> String {
    let outcome = say(tools, "pid", 10.0);
    assert_eq!(outcome.status, CallStatus::Ok, "{outcome:?}");
    outcome.text.rsplit(' ').next().unwrap().to_owned()
}

#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_servers_tools_are_listed_and_called() {
    let marks = Marks::new("mcp-listed");
    let tools = started(&settings("plain", &marks, "price = 2.0")).unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["say", "other"]);
    assert!(tools.iter().all(|tool| tool.price == 2.0));
    let spec = tools[0].spec();
    assert_eq!(spec.description, "Does it.");
    assert_eq!(spec.parameters["properties"]["a"]["type"], "string");
    let first = pid(&tools);
    assert_eq!(pid(&tools), first);
    let said = |what: &str| say(&tools, what, 10.0);
    let of = |outcome: ToolOutcome| (outcome.status, outcome.text, outcome.fault);
    assert_eq!(of(said("error")), (CallStatus::Error, "it went wrong".into(), None));
    let refused = "ToolError: no such argument".to_owned();
    assert_eq!(of(said("refuse")), (CallStatus::Error, refused, None));
    assert_eq!(said("image").text, "look\n(an image is left out)");
    assert_eq!(said("structured").text, r#"{"b":1}"#);
    assert!(!said("environment").text.contains("HOME"), "{:?}", said("environment"));
    let context = CallContext::new(TrajectoryId::new("test", 0, 0), Instant::now());
    let list = ToolCall { name: "say".into(), arguments: serde_json::json!([1]) };
    assert_eq!(tools[0].tool.call(&list, &context).fault, Some(Fault::Call));
    drop(tools);
    until(|| marks.live() == 0);
}

#[test]
fn tools_are_chosen_and_named() {
    let marks = Marks::new("mcp-chosen");
    let chosen = started(&settings("plain", &marks, "tools = ['other']\nname = 'mine'")).unwrap();
    assert_eq!((chosen.len(), chosen[0].name.as_str()), (1, "mine"));
    // the server knows it by its own name
    assert!(say(&chosen, "x", 10.0).text.starts_with("other x "));
    let error = started(&settings("plain", &marks, "tools = ['third']")).err().unwrap();
    assert_eq!(error, "`tools.mcp`: `tools`: the server offers no `third`; it has `say`, `other`");
    let error = started(&settings("plain", &marks, "name = 'mine'")).err().unwrap();
    assert!(
        error.starts_with("`tools.mine`: `name` is for one tool, but it stands for `say`, `other`")
    );
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let marks = Marks::new("mcp-start");
    let error = |mode: &str, more: &str| started(&settings(mode, &marks, more)).err().unwrap();
    let late = error("mute", "");
    assert_eq!(late, "`tools.mcp`: it did not greet and list its tools within 5 s");
    let dead = error("dies", "");
    assert!(dead.contains("does not greet: ") && dead.ends_with(": no licence"), "{dead}");
    assert!(error("endless", "").ends_with("it lists more than 1000 tools"));
    until(|| marks.live() == 0);
    let missing = "type = 'mcp'\nprogram = { command = 'no-such-program-of-paretopo' }";
    assert!(started(missing).err().unwrap().contains("cannot start `no-such-program"));
    for (settings, reason) in [
        ("", "`program` or `server` is missing\nhint: "),
        ("server = { url = 'ftp://x' }", "`server.url`: "),
        ("server = { url = 'http://x', ca_file = 'own.pem' }", "`server.ca_file`: `http://x` has"),
        ("server = { url = 'https://x', ca_file = '/no/file' }", "`tools.mcp`: `server.ca_file`: "),
        ("program = { command = 'x' }\nserver = { url = 'http://x' }", "`program` and `server` ex"),
    ] {
        let error = started(&format!("type = 'mcp'\n{settings}")).err().unwrap();
        assert!(error.starts_with(reason), "{error}");
    }
}

#[test]
fn a_call_that_hangs_costs_its_deadline_and_its_server() {
    let marks = Marks::new("mcp-hang");
    let tools = started(&settings("plain", &marks, "")).unwrap();
    let first = pid(&tools);
    let begun = Instant::now();
    let outcome = say(&tools, "hang", 0.5);
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Timeout, Some(Fault::Tool)));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // it answers no ping, and the next calls find another
    until(|| marks.live() == 0);
    assert_ne!(pid(&tools), first);
}

#[test]
fn a_call_without_an_answer_is_cancelled_and_its_server_lives() {
    let marks = Marks::new("mcp-silence");
    let tools = started(&settings("plain", &marks, "")).unwrap();
    let first = pid(&tools);
    for what in ["silence", "lie", "flood"] {
        assert_eq!(say(&tools, what, 1.0).status, CallStatus::Timeout, "{what}");
    }
    until(|| marks.names().contains(&"cancelled".to_owned()));
    // nonsense in between, and an answer that comes twice
    assert!(say(&tools, "junk", 10.0).text.starts_with("say junk "));
    assert_eq!(say(&tools, "twice", 10.0).text, "first");
    assert_eq!(pid(&tools), first);
}

#[test]
fn a_server_that_dies_is_named_and_started_anew() {
    let marks = Marks::new("mcp-die");
    let tools = started(&settings("plain", &marks, "")).unwrap();
    let first = pid(&tools);
    let outcome = say(&tools, "die", 10.0);
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Error, Some(Fault::Tool)));
    assert!(outcome.text.starts_with("ToolError: "), "{}", outcome.text);
    assert_ne!(pid(&tools), first);
    // or it comes back as another
    for (mode, reason) in [
        ("forgets", "ToolError: the server does not offer `say` any more"),
        (
            "changes",
            "ToolError: the server offers `say` with other arguments than at its first start",
        ),
    ] {
        let marks = Marks::new(&format!("mcp-{mode}"));
        let tools = started(&settings(mode, &marks, "")).unwrap();
        assert_eq!(say(&tools, "die", 10.0).status, CallStatus::Error);
        let outcome = say(&tools, "x", 10.0);
        assert_eq!((outcome.text.as_str(), outcome.fault), (reason, Some(Fault::Tool)));
    }
}

#[test]
fn each_trajectory_may_have_a_server_of_its_own() {
    let marks = Marks::new("mcp-scope");
    let scope = "scope = 'trajectory'\nmost_servers = 2";
    let tools = started(&settings("plain", &marks, scope)).unwrap();
    // the one that was asked for its tools is gone
    until(|| marks.live() == 0);
    let id = |trajectory| TrajectoryId::new("test", 0, trajectory);
    let text = |trajectory| say_in(&tools, "x", 10.0, trajectory).text;
    let (one, other) = (text(1), text(2));
    assert_ne!(one, other);
    assert_eq!(text(1), one);
    // there is no room for a third until one ends
    assert_eq!(say_in(&tools, "x", 0.5, 3).status, CallStatus::Timeout);
    tools[0].tool.end(&id(1));
    assert!(text(3).starts_with("say x "));
    tools.iter().for_each(|tool| (1..4).for_each(|trajectory| tool.tool.end(&id(trajectory))));
    until(|| marks.live() == 0);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_by_http_is_asked_with_its_token() {
    let marks = Marks::new("mcp-http");
    let mut command = Command::new("python3");
    let token = std::env::var("PATH").unwrap();
    command.args(["-c", HOSTILE, "http"]).arg(&marks.0).arg(token).stdout(Stdio::piped());
    let mut server = Killed(command.spawn().unwrap());
    let mut port = String::new();
    let output = server.0.stdout.take().unwrap();
    std::io::BufReader::new(output).read_line(&mut port).unwrap();
    let url = format!("http://127.0.0.1:{}/mcp", port.trim());
    let without = format!("type = 'mcp'\nserver = {{ url = '{url}' }}");
    let refused = started(&without).err().unwrap();
    assert!(refused.contains("does not greet: "), "{refused}");
    let token = "bearer_from = 'PATH'";
    let tools = started(&format!("type = 'mcp'\nserver = {{ url = '{url}', {token} }}")).unwrap();
    assert!(say(&tools, "x", 10.0).text.starts_with("say x "));
    assert_eq!(say(&tools, "hang", 0.5).status, CallStatus::Timeout);
    // the others of its threads answer
    assert!(say(&tools, "x", 10.0).text.starts_with("say x "));
    drop(server);
    let outcome = say(&tools, "x", 10.0);
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Error, Some(Fault::Tool)));
    let gone = started(&without).err().unwrap();
    assert!(gone.contains("does not greet: "), "{gone}");
}
