//! Dashboards of others that hear of real runs: small servers of the protocols of trackio and
//! MLflow, which remember what they are told, and such as behave badly. A run must come to the same
//! end beside each.

use crate::checkout;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request: its route with the query, its headers in lower case, its body.
struct Asked {
    route: String,
    headers: String,
    body: Value,
}

/// What is answered: a status and a body; `None` for no answer at all.
type Answer = Box<dyn Fn(&Asked) -> Option<(u16, String)> + Send + Sync>;

struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let all = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, answer) = (all.clone(), answer.clone());
                std::thread::spawn(move || converse(stream.unwrap(), &all, &answer));
            }
        });
        Self { url, asked }
    }

    /// The bodies that came to a route.
    fn bodies(&self, route: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|one| one.route.starts_with(route))
            .map(|one| one.body.clone())
            .collect()
    }
}

fn converse(stream: TcpStream, all: &Mutex<Vec<Asked>>, answer: &Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut route, mut headers, mut length) = (String::new(), String::new(), 0);
        if reader.read_line(&mut route).unwrap_or(0) == 0 {
            return;
        }
        let route = route.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            headers.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let asked = Asked { route, headers, body };
        let answered = answer(&asked);
        all.lock().unwrap().push(asked);
        let Some((status, body)) = answered else {
            // as long as the run has patience, and longer
            std::thread::sleep(Duration::from_secs(120));
            return;
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = &stream;
        if stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .is_err()
        {
            return;
        }
    }
}

/// As trackio's server answers.
fn trackio() -> Server {
    Server::start(Box::new(|asked| {
        Some(match asked.route.as_str() {
            "version" => (200, json!({ "version": "0.43.0", "api_version": 1 }).to_string()),
            "api/bulk_log" if asked.headers.contains("x-trackio-write-token: secret-7") => {
                (200, json!({ "data": null }).to_string())
            }
            // which says what it was sent, to see who repeats it
            "api/bulk_log" => (400, json!({ "error": asked.headers }).to_string()),
            _ => (404, json!({ "error": "Unknown API" }).to_string()),
        })
    }))
}

/// As MLflow's server answers, with the runs that it holds.
fn mlflow() -> Server {
    #[derive(Default)]
    struct Held {
        experiment: bool,
        /// By the value of its tag: the last step that it was told.
        runs: BTreeMap<String, Option<u64>>,
    }
    let held = Mutex::new(Held::default());
    Server::start(Box::new(move |asked| {
        let mut held = held.lock().unwrap();
        let route = asked.route.trim_start_matches("api/2.0/mlflow/");
        let body = &asked.body;
        let answer = match route.split('?').next().unwrap() {
            "experiments/get-by-name" if held.experiment => {
                json!({ "experiment": { "experiment_id": "7" } })
            }
            "experiments/get-by-name" => {
                return Some((404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST" }).to_string()));
            }
            "experiments/create" => {
                held.experiment = true;
                json!({ "experiment_id": "7" })
            }
            "runs/search" => {
                let filter = body["filter"].as_str().unwrap();
                let tag = filter.split('\'').nth(1).unwrap();
                match held.runs.get(tag) {
                    None => json!({}),
                    Some(step) => json!({ "runs": [{
                        "info": { "run_id": format!("run-{tag}") },
                        // numbers of 64 bits are texts there
                        "data": { "metrics": step.map(|step| {
                            json!([{ "key": "em", "step": step.to_string() }])
                        }) },
                    }] }),
                }
            }
            "runs/create" => {
                let tag = body["tags"][0]["value"].as_str().unwrap().to_owned();
                let made = json!({ "run": { "info": { "run_id": format!("run-{tag}") } } });
                held.runs.insert(tag, None);
                made
            }
            "runs/log-batch" => {
                let tag = body["run_id"].as_str().unwrap().trim_start_matches("run-").to_owned();
                let steps = body["metrics"].as_array().into_iter().flatten();
                let last = steps.filter_map(|metric| metric["step"].as_u64()).max();
                let known = held.runs.get_mut(&tag).unwrap();
                *known = last.max(*known);
                json!({})
            }
            "runs/update" => json!({ "run_info": {} }),
            _ => return Some((404, "{}".into())),
        };
        Some((200, answer.to_string()))
    }))
}

fn train(run: &Path, steps: u64, settings: &[String]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    child.arg("train").arg(checkout("experiments/math/paretopo.toml")).arg("--run").arg(run);
    child.env("PARETOPO_TEST_TOKEN", "secret-7");
    let small = [
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=4",
        "train.save_trajectories_every=2",
        "train.checkpoint_every=2",
        "evaluation.tasks=4",
        "evaluation.head_skill=false",
        "rollout.max_sampled_tokens=40",
        "dashboards.flush_seconds=3.0",
        "dashboards.request_seconds=1.0",
    ];
    let steps = format!("train.steps={steps}");
    let small = small.iter().map(|setting| (*setting).to_owned());
    for setting in small.chain([steps]).chain(settings.iter().cloned()) {
        child.args(["--set", &setting]);
    }
    child.output().unwrap()
}

fn with_trackio(url: &str) -> String {
    format!(
        "dashboards.trackio={{ url = '{url}', traces = 3, write_token_variable = \
         'PARETOPO_TEST_TOKEN' }}"
    )
}

fn with_mlflow(url: &str) -> String {
    format!("dashboards.mlflow={{ url = '{url}', token_variable = 'PARETOPO_TEST_TOKEN' }}")
}

#[track_caller]
fn require_success(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Entries of one kind that trackio was told.
fn entries(server: &Server, kind: &str) -> Vec<Value> {
    let bodies = server.bodies("api/bulk_log").into_iter();
    let all = bodies.flat_map(|body| body["kwargs"]["logs"].as_array().unwrap().clone());
    all.filter(|entry| entry["log_id"].as_str().unwrap().contains(kind)).collect()
}

fn steps(entries: &[Value]) -> Vec<u64> {
    entries.iter().map(|entry| entry["step"].as_u64().unwrap()).collect()
}

#[test]
fn metrics_traces_and_the_evaluation_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("mine");
    let (trackio, mlflow) = (trackio(), mlflow());
    let settings = [with_trackio(&trackio.url), with_mlflow(&mlflow.url)];
    let said = require_success(&train(&run, 4, &settings));
    assert!(!said.contains("warning"), "{said}");
    let metrics = entries(&trackio, "-metrics-");
    assert_eq!(steps(&metrics), [0, 1, 2, 3]);
    let lines = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(metrics[2]["metrics"]["em"], lines[2]["em"]);
    assert_eq!((&metrics[0]["run"], &metrics[0]["project"]), (&json!("mine"), &json!("paretopo")));
    // once, with what comes first
    let all = entries(&trackio, "-");
    assert_eq!(all[0]["config"]["train.steps"], 4);
    assert!(all[1..].iter().all(|entry| entry["config"].is_null()));
    let traces = entries(&trackio, "-traces-");
    assert_eq!(steps(&traces), [0, 2]);
    let rollouts = traces[0]["metrics"]["rollouts"].as_array().unwrap();
    assert_eq!((rollouts.len(), &rollouts[0]["_type"]), (3, &json!("trackio.trace")));
    assert_eq!(rollouts[0]["messages"][0]["role"], "user");
    assert!(!rollouts[0]["messages"][0]["content"].as_str().unwrap().is_empty());
    let evaluation = crate::json(&run.join("evaluation.json"));
    let told = &entries(&trackio, "-evaluation-")[0]["metrics"];
    assert_eq!(told["evaluation/em"], evaluation["em"]);
    // the same of MLflow, which has one run that is at its end
    let batches = mlflow.bodies("api/2.0/mlflow/runs/log-batch");
    let ems: Vec<&Value> = batches
        .iter()
        .flat_map(|batch| batch["metrics"].as_array().map(Vec::as_slice).unwrap_or_default())
        .filter(|metric| metric["key"] == "em")
        .collect();
    assert_eq!(ems.iter().map(|em| em["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(ems[3]["value"], lines[3]["em"]);
    let update = mlflow.bodies("api/2.0/mlflow/runs/update");
    assert_eq!(update.last().unwrap()["status"], "FINISHED");
    // what is secret stands nowhere
    for name in ["config.toml", "log.txt", "run.json", "dashboards.json"] {
        let text = std::fs::read_to_string(run.join(name)).unwrap();
        assert!(!text.contains("secret-7"), "{name}: {text}");
    }
    let bodies = format!("{:?}", trackio.bodies("")) + &format!("{:?}", mlflow.bodies(""));
    assert!(!bodies.contains("secret-7"));
}

#[test]
fn a_run_that_was_killed_goes_on_in_the_same_place() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("mine");
    let (trackio, mlflow) = (trackio(), mlflow());
    let settings = [with_trackio(&trackio.url), with_mlflow(&mlflow.url)];
    require_success(&train(&run, 4, &settings));
    // as a kill between step 2's checkpoint and the end leaves it
    for name in ["policy", "checkpoints/step-000004"] {
        std::fs::remove_dir_all(run.join(name)).unwrap();
    }
    std::fs::remove_file(run.join("evaluation.json")).unwrap();
    require_success(&train(&run, 4, &settings));
    let metrics = entries(&trackio, "-metrics-");
    assert_eq!(steps(&metrics), [0, 1, 2, 3, 2, 3]);
    // by which the server knows that it has them already
    assert_eq!(
        (&metrics[2]["log_id"], &metrics[2]["run_id"]),
        (&metrics[4]["log_id"], &metrics[5]["run_id"])
    );
    let made = mlflow.bodies("api/2.0/mlflow/runs/create").len();
    let batches = mlflow.bodies("api/2.0/mlflow/runs/log-batch");
    let ems = batches
        .iter()
        .flat_map(|batch| batch["metrics"].as_array().map(Vec::as_slice).unwrap_or_default())
        .filter(|metric| metric["key"] == "em")
        .count();
    assert_eq!((made, ems), (1, 4));
}

#[test]
fn servers_that_behave_badly_change_nothing_and_are_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    require_success(&train(&plain, 4, &[]));
    let weights = |run: &Path| std::fs::read(run.join("policy/model.safetensors")).unwrap();
    let version = || json!({ "api_version": 1 }).to_string();
    let bad: [(&str, Answer, &str); 6] = [
        ("hangs", Box::new(|_| None), "timeout"),
        ("fails", Box::new(|_| Some((500, "<html>\nbroken".into()))), "status 500"),
        ("nonsense", Box::new(|_| Some((200, "no JSON".into()))), "no JSON"),
        ("another", Box::new(|_| Some((200, "{}".into()))), "answered"),
        (
            "refuses",
            Box::new(move |asked: &Asked| match asked.route.as_str() {
                "version" => Some((200, version())),
                // it repeats what it was sent, and writes to the terminal
                _ => Some((
                    403,
                    json!({ "error": format!("\u{1b}[2J{}", asked.headers) }).to_string(),
                )),
            }),
            "status 403",
        ),
        ("floods", Box::new(|_| Some((200, "[1,".repeat(3 << 20)))), "more than"),
    ];
    for (name, answer, reason) in bad {
        let server = Server::start(answer);
        let run = folder.path().join(name);
        let settings = [with_trackio(&server.url), with_mlflow(&server.url)];
        let started = Instant::now();
        let output = train(&run, 4, &settings);
        let said = require_success(&output);
        // the flush of 3 seconds, and a run of less than that
        assert!(started.elapsed() < Duration::from_secs(60), "{name}: {:?}", started.elapsed());
        assert_eq!(weights(&run), weights(&plain), "{name}");
        for who in ["trackio", "MLflow"] {
            let told = format!("warning: {who} at `{}` is not told of this run", server.url);
            assert!(said.matches(&told).count() <= 1, "{name}: {said}");
            // four steps, two of traces, the evaluation; MLflow has no traces
            let given = if who == "trackio" { 7 } else { 5 };
            let lost = format!(
                "warning: {who} at `{}` was not told {given} of {given} reports of this run",
                server.url
            );
            assert_eq!(said.matches(&lost).count(), 1, "{name}: {said}");
        }
        assert!(said.contains(reason), "{name}: {said}");
        assert!(!said.contains("secret-7") && !said.contains("\u{1b}[2J"), "{name}: {said}");
        let log = std::fs::read_to_string(run.join("log.txt")).unwrap();
        assert!(!log.contains("secret-7"), "{name}: {log}");
    }
}

#[test]
fn mistakes_are_known_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, said) in [
        ("dashboards.trackio={ url = 'http://a?write_token=hidden-9' }", "no user, query or"),
        ("dashboards.mlflow={ url = 'a:5000' }", "begins with `http://`"),
        ("dashboards.mlflow={ url = 'http://a', token = 'hidden-9' }", "unknown field `token`"),
        (
            "dashboards.mlflow={ url = 'http://127.0.0.1:9', token_variable = 'PARETOPO_NONE' }",
            "the variable `PARETOPO_NONE` is not set",
        ),
    ] {
        let output = train(&folder.path().join("mine"), 2, &[setting.to_owned()]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(said), "{error}");
    }
}
