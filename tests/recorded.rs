//! Runs against what a real vLLM has answered: `tests/fixtures/vllm`, recorded by `just record-vllm`.
//!
//! A request is answered with what the server said to the same one, in the order of the recording.
//! Places of weights and names of adapters differ from run to run and are told apart by their
//! version alone. The answers are whole and unaltered, but for the descriptions of routes, of which
//! the names are kept. With `PARETOPO_RECORD`, the address of a server, requests are passed on to it
//! and its answers are written down.

use crate::serving::server::{Served, answer, read_request};
use crate::{checkout, metrics};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// What a recording begins with.
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    server: String,
    version: String,
    date: String,
    policy: String,
}

/// A request, and what became of it.
#[derive(Debug, Serialize, Deserialize)]
struct Exchange {
    /// [`asked`] of it.
    asked: String,
    status: u16,
    kind: String,
    body: String,
}

/// Who answers a run.
struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// Of a server that is recorded.
    real: Option<String>,
    kept: Mutex<Vec<Exchange>>,
    left: Mutex<HashMap<String, VecDeque<Exchange>>>,
    /// Requests that nobody has recorded.
    unknown: Mutex<Vec<String>>,
}

/// What a request is known by.
fn asked(route: &str, body: &Value) -> String {
    let mut body = body.clone();
    let last = |text: &str, by: char| text.rsplit(by).next().unwrap_or_default().to_owned();
    for place in ["/kwargs/weights_path", "/lora_path"] {
        if let Some(found) = body.pointer_mut(place) {
            *found = last(found.as_str().unwrap(), '/').into();
        }
    }
    for place in ["/lora_name", "/model"] {
        let name = body.pointer(place).and_then(Value::as_str).map(ToOwned::to_owned);
        if let Some(name) = name.filter(|name| name.starts_with("paretopo-")) {
            *body.pointer_mut(place).unwrap() = format!("adapter-{}", last(&name, '-')).into();
        }
    }
    format!("{route} {body}")
}

impl Server {
    fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                // whoever hangs up is served no more
                std::thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Self { address, state }
    }

    fn recorded(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut left: HashMap<String, VecDeque<Exchange>> = HashMap::new();
        for line in text.lines().skip(1) {
            let one: Exchange = serde_json::from_str(line).unwrap();
            left.entry(one.asked.clone()).or_default().push_back(one);
        }
        let left = Mutex::new(left);
        let (kept, unknown) = (Mutex::default(), Mutex::default());
        Self::start(State { real: None, kept, left, unknown })
    }

    fn recording(real: &str) -> Self {
        let real = Some(real.trim_end_matches('/').to_owned());
        let (kept, left, unknown) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self::start(State { real, kept, left, unknown })
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) -> Served {
        let (route, body, _) = read_request(&stream)?;
        let asked = asked(&route, &body);
        let found = match &self.real {
            Some(real) => Some(self.pass_on(real, &route, &body, asked.clone())),
            None => self.left.lock().unwrap().get_mut(&asked).and_then(VecDeque::pop_front),
        };
        let Some(Exchange { status, kind, body, .. }) = found else {
            self.unknown.lock().unwrap().push(asked);
            let said = json!({ "error": "this was not asked when the server was recorded" });
            return answer(&mut stream, 400, &said);
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: ");
        write!(stream, "{head}{}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    fn pass_on(&self, real: &str, route: &str, body: &Value, asked: String) -> Exchange {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent = ureq::Agent::from(agent);
        let url = format!("{real}{route}");
        let sent = match body {
            Value::Null if !route.starts_with("/pause") && !route.starts_with("/res") => {
                agent.get(url).call()
            }
            body => agent.post(url).send_json(body),
        };
        let mut answer = sent.unwrap();
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap());
        let kind = kind.unwrap_or("text/plain").to_owned();
        let status = answer.status().as_u16();
        let mut body = answer.body_mut().read_to_string().unwrap();
        if route == "/openapi.json" {
            let described: Value = serde_json::from_str(&body).unwrap();
            let paths = described["paths"].as_object().unwrap().keys();
            let paths: serde_json::Map<String, Value> =
                paths.map(|path| (path.clone(), json!({}))).collect();
            body = json!({ "paths": paths }).to_string();
        }
        let one = |asked| Exchange { asked, status, kind: kind.clone(), body: body.clone() };
        self.kept.lock().unwrap().push(one(asked.clone()));
        one(asked)
    }

    /// Writes down what was asked and answered.
    fn write(&self, path: &Path) {
        let agent = ureq::Agent::new_with_defaults();
        let url = format!("{}/version", self.real.as_ref().unwrap());
        let told: Value = agent.get(url).call().unwrap().body_mut().read_json().unwrap();
        let origin = Origin {
            server: "vLLM".into(),
            version: told["version"].as_str().unwrap().into(),
            date: std::env::var("PARETOPO_RECORD_DATE").unwrap(),
            policy: "models/graded-math, its head untied".into(),
        };
        let mut text = serde_json::to_string(&origin).unwrap() + "\n";
        for one in &*self.kept.lock().unwrap() {
            writeln!(text, "{}", serde_json::to_string(one).unwrap()).unwrap();
        }
        std::fs::write(path, text).unwrap();
    }
}

/// Trains two steps on the recorded server, and on the real one where it is recorded.
fn check(name: &str, settings: &[&str]) {
    let path = checkout("tests/fixtures/vllm").join(format!("{name}.jsonl"));
    let real = std::env::var("PARETOPO_RECORD").ok();
    let server = real.as_deref().map_or_else(|| Server::recorded(&path), Server::recording);
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let generator = format!("generator={{ type = 'vllm', urls = ['http://{}'] }}", server.address);
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    child.args(["--quiet", "train"]).arg(checkout("experiments/math/paretopo.toml"));
    let small = [
        "train.steps=2",
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=2",
        "train.optimizer.learning_rate=1e-3",
        "train.save_trajectories_every=1",
        "evaluation.tasks=2",
        "evaluation.head_skill=false",
        "rollout.max_sampled_tokens=40",
        "workers=1",
    ];
    for setting in small.iter().chain(settings).copied().chain([generator.as_str()]) {
        child.args(["--set", setting]);
    }
    let output = child.arg("--run").arg(&run).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let unknown = server.state.unknown.lock().unwrap().clone();
    let hint = "record the server anew with `just record-vllm`";
    assert_eq!(unknown, Vec::<String>::new(), "{hint}");
    assert!(output.status.success(), "{said}");
    if real.is_some() {
        server.state.write(&path);
    }
    check_numbers(&run);
    let left: Vec<String> = server.state.left.lock().unwrap().drain().flat_map(not_asked).collect();
    assert_eq!(left, Vec::<String>::new(), "{hint}");
}

fn not_asked((asked, left): (String, VecDeque<Exchange>)) -> Option<String> {
    (!left.is_empty()).then_some(asked)
}

/// The server's numbers are those of the trainer, of each version of the weights.
fn check_numbers(run: &Path) {
    let metrics = metrics(run);
    assert_eq!(metrics.len(), 2);
    for step in &metrics {
        let number = |name: &str| step[name].as_f64().unwrap();
        // other processors round otherwise
        assert!(number("logprob_mismatch") < 1e-4, "{step}");
        assert!(number("generator/difference") < 1e-4, "{step}");
    }
    let sampled: PathBuf = run.join("trajectories/step-000001.jsonl");
    let text = std::fs::read_to_string(sampled).unwrap();
    let sampled: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sampled.len(), 4);
}

#[test]
fn a_run_gives_a_recorded_vllm_all_weights_and_agrees_with_it() {
    check("weights", &[]);
}

#[test]
fn a_run_gives_a_recorded_vllm_adapters_and_agrees_with_it() {
    check("adapters", &["lora={ rank = 4, alpha = 8.0 }"]);
}

#[test]
fn requests_are_told_apart_by_what_they_ask_alone() {
    let full = |place: &str| json!({ "kwargs": { "weights_path": place }, "method": "m" });
    let own = asked("/collective_rpc", &full("/tmp/a/served/version-3"));
    assert_eq!(own, asked("/collective_rpc", &full("/b/version-3")));
    assert_ne!(own, asked("/collective_rpc", &full("/b/version-4")));
    let adapter = |name: &str| json!({ "lora_name": name, "lora_path": "/x/version-1" });
    let own = asked("/v1/load_lora_adapter", &adapter("paretopo-17-abc-1"));
    assert_eq!(own, asked("/v1/load_lora_adapter", &adapter("paretopo-18-abd-1")));
    assert_ne!(own, asked("/v1/load_lora_adapter", &adapter("paretopo-18-abd-2")));
    assert!(asked("/v1/completions", &json!({ "model": "policy" })).contains("\"policy\""));
}
