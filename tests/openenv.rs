//! Environments that were made with OpenEnv's own tools, and one of reasoning-gym's families of
//! tasks: by hand, and in whole runs. They need a Python environment that has both, which
//! `PARETOPO_OPENENV` names (`just test-openenv` makes one); listed as ignored where there is none.
//! One run is with a server of this file that fails now and then.

use crate::checkout;
use paretopo_environments::{
    OpenEnvConfig, OpenEnvReward, Partner, Resources, RewardOver, ToolEnvironment, environment,
    usual_objectives,
};
use paretopo_tools::CallContext;
use paretopo_trajectory::{CallStatus, Reply, Split, ToolCall, Trajectory, TrajectoryId};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::Message;

/// A server that ends with the test.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python() -> PathBuf {
    let folder = std::env::var_os("PARETOPO_OPENENV").expect("it was there at compile time");
    PathBuf::from(folder).join("bin/python")
}

fn serve(name: &str) -> Server {
    serve_with(name, None)
}

fn serve_with(name: &str, argument: Option<&Path>) -> Server {
    let script = checkout("tests/fixtures/openenv").join(name);
    let mut command = Command::new(python());
    command.arg(script).args(argument).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = format!("http://127.0.0.1:{}", line.trim());
    Server { child, url }
}

fn built(config: OpenEnvConfig) -> Result<ToolEnvironment, String> {
    let chosen = environment("openenv", config);
    let objectives = &usual_objectives()[..1];
    ToolEnvironment::build(&chosen, &[], objectives, &Resources::default(), &mut ())
        .map_err(|error| error.to_string())
}

/// The game with numbers up to 99.
fn game(server: &Server) -> OpenEnvConfig {
    let mut config = OpenEnvConfig {
        url: server.url.clone(),
        observation: Some("text".into()),
        train: 6,
        validation: 1,
        test: 1,
        sessions: 4,
        ..OpenEnvConfig::default()
    };
    config.reset.insert("most".into(), json!(99));
    config
}

struct Played<'a> {
    environment: &'a ToolEnvironment,
    partner: Arc<dyn Partner>,
    id: TrajectoryId,
    replies: Vec<Reply>,
}

impl<'a> Played<'a> {
    fn begin(environment: &'a ToolEnvironment, place: usize) -> Self {
        let partner = environment.partner().unwrap();
        let id = TrajectoryId::new("test", place as u64, 0);
        partner.begin(&environment.tasks(Split::Train)[place], &id);
        Self { environment, partner, id, replies: Vec::new() }
    }

    fn context(&self) -> CallContext {
        CallContext::new(self.id.clone(), Instant::now() + Duration::from_secs(20))
    }

    fn say(&mut self, said: &str) -> Reply {
        let reply = self.partner.answer(said, &self.context());
        self.replies.push(reply.clone());
        reply
    }

    fn is_larger(&self, than: i64) -> (CallStatus, String) {
        let arguments = json!({ "than": than });
        let call = ToolCall { name: "larger".into(), arguments };
        let outcome = self.environment.tools[0].tool.call(&call, &self.context());
        (outcome.status, outcome.text)
    }
}

impl Drop for Played<'_> {
    fn drop(&mut self) {
        self.partner.end(&self.id);
    }
}

#[test]
#[cfg_attr(not(with_openenv), ignore = "`PARETOPO_OPENENV` is to name a Python with openenv")]
fn an_environment_of_openenvs_own_classes_is_played() {
    let server = serve("guess.py");
    let mut config = game(&server);
    let closeness = OpenEnvReward {
        from: "observation.closeness".into(),
        over: RewardOver::Last,
        ..OpenEnvReward::default()
    };
    config.rewards.insert("r_close".into(), closeness);
    let environment = built(config).unwrap();
    let task = &environment.tasks(Split::Train)[3];
    assert_eq!(task.question, "Guess a number from 1 to 99. Riddle 3.");
    assert_eq!(environment.tools[0].spec().description, "Whether the number is larger.");

    // the tool is asked in the session of the episode: by halves the number is found
    let mut played = Played::begin(&environment, 3);
    let (mut low, mut high) = (1, 99);
    while low < high {
        let middle = (low + high) / 2;
        match played.is_larger(middle) {
            (CallStatus::Ok, text) if text == "yes" => low = middle + 1,
            (CallStatus::Ok, text) if text == "no" => high = middle,
            other => panic!("{other:?}"),
        }
    }
    let wrong = if low > 50 { low - 10 } else { low + 10 };
    let reply = played.say(&wrong.to_string());
    assert_eq!(reply.text, if low > 50 { "too low" } else { "too high" });
    let trajectory = |played: &Played<'_>| Trajectory {
        replies: played.replies.clone(),
        ..Trajectory::empty(played.id.clone(), &task.id, 0)
    };
    let close = environment.reward("r_close", task, &trajectory(&played)).unwrap();
    assert!((close - (1.0 - 10.0 / 99.0)).abs() < 1e-12, "{close}");
    // longer than the server waits for an answer to its pings
    std::thread::sleep(Duration::from_secs(12));
    assert!(played.say(&low.to_string()).done);
    assert!(environment.succeeded(task, &trajectory(&played)));
    assert_eq!(environment.task_reward(task, &trajectory(&played)), 1.0);
}

#[test]
#[cfg_attr(not(with_openenv), ignore = "`PARETOPO_OPENENV` is to name a Python with openenv")]
fn sessions_are_closed_whatever_ends_an_episode() {
    let server = serve("guess.py");
    let config = game(&server);
    let environment = built(config.clone()).unwrap();
    let played = Played::begin(&environment, 3);
    assert_eq!(played.is_larger(0).1, "yes");
    // an exception of the environment's ends its episode alone
    let mut broken = Played::begin(&environment, 0);
    let error = broken.say("break").error.unwrap();
    assert!(error.contains("the game is broken"), "{error}");
    let mut others = [1, 2, 4, 5].map(|place| Played::begin(&environment, place));
    drop(played);
    drop(broken);
    for other in &mut others {
        let reply = other.say("1");
        assert_eq!(reply.error, None, "all four sessions are free again");
    }
    drop(others);
    // a server that bears fewer sessions than a run wants is found out before it
    let full = built(OpenEnvConfig { sessions: 6, ..config }).err().unwrap();
    assert!(full.contains("hint: start the server with a larger `max_concurrent_envs`"), "{full}");
}

/// What `openenv init` makes: it says what it is told, for a tenth a character, in one session.
#[test]
#[cfg_attr(not(with_openenv), ignore = "`PARETOPO_OPENENV` is to name a Python with openenv")]
fn an_environment_that_openenv_has_made_is_played() {
    let folder = tempfile::tempdir().unwrap();
    let mut init = Command::new(python().with_file_name("openenv"));
    let made = init.args(["init", "words"]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let server = serve_with("scaffolded.py", Some(&folder.path().join("words")));
    let config =
        OpenEnvConfig { observation: Some("echoed_message".into()), sessions: 1, ..game(&server) };
    // what `reset` is told besides the seed is for environments that take it
    let environment = built(OpenEnvConfig { reset: Default::default(), ..config }).unwrap();
    assert!(environment.tools.is_empty());
    let task = &environment.tasks(Split::Train)[0];
    assert_eq!(task.question, "Words environment ready!");
    for place in 0..2 {
        let mut played = Played::begin(&environment, place);
        let reply = played.say("hello");
        assert_eq!((reply.text.as_str(), reply.done, reply.error), ("hello", false, None));
        assert_eq!(reply.rewards.get("reward"), Some(0.5));
        // their sum
        let reply = played.say("four");
        assert!((reply.rewards.get("reward").unwrap() - 0.9).abs() < 1e-9, "{reply:?}");
    }
}

fn paretopo(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(arguments).current_dir(folder).env("RAYON_NUM_THREADS", "1");
    command.stdin(Stdio::null()).output().unwrap()
}

/// A server in words of the shipped policy. A session of which `fails` says so ends where it is asked
/// to act.
fn failing(fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fails = Arc::new(fails);
    std::thread::spawn(move || {
        for (session, stream) in listener.incoming().enumerate() {
            let fails = fails.clone();
            std::thread::spawn(move || sums(stream.unwrap(), fails(session)));
        }
    });
    url
}

/// One that never fails.
pub(crate) fn sums_server() -> String {
    failing(|_| false)
}

fn sums(mut stream: TcpStream, fails: bool) {
    let mut first = [0; 11];
    while stream.peek(&mut first).unwrap_or(0) < first.len() {}
    if &first == b"GET /schema" {
        let _ = stream.read(&mut [0; 4096]);
        let body = r#"{"action":{"properties":{"text":{"type":"string"}},"required":["text"]}}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all((head + body).as_bytes());
        return;
    }
    let mut line = tungstenite::accept(stream).unwrap();
    let mut seed = 0;
    while let Ok(Message::Text(text)) = line.read() {
        let request: serde_json::Value = serde_json::from_str(&text).unwrap();
        let data = &request["data"];
        let (text, reward, done) = match request["type"].as_str().unwrap() {
            "reset" => {
                seed = data["seed"].as_u64().unwrap();
                (format!("What is {}+5?", seed + 10), json!(null), false)
            }
            "step" if fails => return,
            "step" => {
                let wanted = (seed + 15).to_string();
                let is_right = data["text"] == wanted;
                (String::new(), json!(is_right), true)
            }
            _ => return,
        };
        let data = json!({ "observation": { "text": text }, "reward": reward, "done": done });
        let answer = json!({ "type": "observation", "data": data });
        if line.send(Message::text(answer.to_string())).is_err() {
            return;
        }
    }
}

#[test]
fn a_run_goes_on_where_a_server_fails_some_of_its_episodes() {
    // eight sessions open the tasks; then every ninth fails, but for the evaluation of the end
    let url = failing(|session| session > 8 && session < 36 && session % 9 == 0);
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("config.toml"), REASONING).unwrap();
    let url = format!("environment.url={url}");
    let settings =
        ["--set", &url, "--set", "environment.tools=false", "--set", "train.validate_every=0"];
    let steps = ["--set", "train.steps=4"];
    let train = [&["train", "config.toml", "--run", "run"], &settings[..], &steps].concat();
    let output = paretopo(here, &train);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the environment failed an episode: it closed the session"), "{said}");
    let metrics = std::fs::read_to_string(here.join("run/metrics.jsonl")).unwrap();
    let steps: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.len(), 4, "{metrics}");
    let lost: f64 = steps.iter().map(|step| step["lost_groups"].as_f64().unwrap()).sum();
    let skipped: f64 = steps.iter().map(|step| step["skipped_groups"].as_f64().unwrap()).sum();
    assert!(lost >= 2.0 && lost == skipped && lost < 8.0, "{metrics}");
    for step in &steps {
        // a lost group has one such episode of the eight of a step, or more
        let is_lost = step["lost_groups"] != 0.0;
        for name in ["failed", "environment/lost"] {
            assert_eq!(step[name].as_f64().unwrap() > 0.0, is_lost, "{name}: {step}");
        }
    }
    let kept = std::fs::read_dir(here.join("run/trajectories")).unwrap().flatten();
    let names = kept.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let put_aside = names.filter(|name| name.starts_with("lost-step-")).count();
    assert_eq!(put_aside as f64, lost);
}

const REASONING: &str = r#"
workers = 1

[environment]
type = "openenv"
observation = "text"
action = { type = "text", part = "answer" }
train = 24
validation = 8
test = 24
sessions = 8

[[tools]]
type = "python"

[train]
steps = 2
prompts_per_step = 2
rollouts_per_prompt = 4
validate_every = 1
refill_rounds = 0

[evaluation]
tasks = 16
"#;

#[test]
#[cfg_attr(not(with_openenv), ignore = "`PARETOPO_OPENENV` is to name a Python with openenv")]
fn a_family_of_reasoning_gym_trains_the_shipped_policy() {
    let server = serve("reasoning.py");
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("config.toml"), REASONING).unwrap();
    let url = format!("environment.url={}", server.url);
    let train = |run: &str| {
        let output = paretopo(here, &["train", "config.toml", "--run", run, "--set", &url]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = |name: &str| std::fs::read(here.join(run).join(name)).unwrap();
        let evaluation: serde_json::Value =
            serde_json::from_slice(&file("evaluation.json")).unwrap();
        (evaluation, file("policy/model.safetensors"))
    };
    let (evaluation, policy) = train("one");
    // the shipped policy adds numbers of two digits
    assert!(evaluation["em"].as_f64().unwrap() > 0.5, "{evaluation}");
    assert_eq!(evaluation["environment"]["lost"], 0.0, "{evaluation}");
    let played = std::fs::read_to_string(here.join("one/trajectories/evaluation.jsonl")).unwrap();
    let episodes: Vec<Trajectory> =
        played.lines().map(|line| Trajectory::from_line(line.as_bytes()).unwrap()).collect();
    assert!(episodes.iter().all(|one| !one.replies.is_empty()));
    // whatever the clock says, a run repeats itself
    assert_eq!(train("two").1, policy);
}
