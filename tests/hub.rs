//! Models and data sets by name, from a server on this machine that speaks the protocol of the
//! Hugging Face hub.

use crate::{checkout, write_shards};
use sha2::Digest;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server does wrong, for one file at a time.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Sends half of the content and hangs up, once.
    HangUp,
    /// Announces the checksum of other content, always.
    Damage,
}

#[derive(Default)]
struct State {
    /// Contents by `models/owner/name/path` or `datasets/...`.
    files: BTreeMap<String, Vec<u8>>,
    fault: Option<(String, Fault)>,
    /// The byte ranges that were asked for, with the file.
    requests: Vec<(String, String)>,
}

struct Hub {
    endpoint: String,
    state: Arc<Mutex<State>>,
    cache: tempfile::TempDir,
}

impl Hub {
    fn start(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state =
            Arc::new(Mutex::new(State { files: files.into_iter().collect(), ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || {
                    // a client may hang up
                    let _ = answer(stream, &state);
                });
            }
        });
        Self { endpoint, state, cache: tempfile::tempdir().unwrap() }
    }

    fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
        command
            .args(arguments)
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HOME", self.cache.path())
            .env_remove("HF_HUB_CACHE");
        command
            .env_remove("HF_TOKEN")
            .env_remove("HF_HUB_OFFLINE")
            .envs(more.iter().copied())
            .output()
            .unwrap()
    }

    fn ranges(&self, file: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state
            .requests
            .iter()
            .filter(|(name, _)| name.ends_with(file))
            .map(|(_, range)| range.clone())
            .collect()
    }
}

/// `GET /api/{models,datasets}/NAME/revision/REV` and `GET /[datasets/]NAME/resolve/REV/PATH` with
/// a range.
fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut line, mut range) = (String::new(), String::new());
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("range")
            {
                range = value.trim().to_owned();
            }
        }
        let mut state = state.lock().unwrap();
        if let Some(rest) = path.strip_prefix("api/") {
            let repository = rest.split("/revision/").next().unwrap().to_owned() + "/";
            let names: Vec<_> =
                state.files.keys().filter_map(|name| name.strip_prefix(&repository)).collect();
            let siblings: Vec<_> =
                names.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
            let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
            let status = if names.is_empty() { "404 Not Found" } else { "200 OK" };
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            continue;
        }
        let Some((repository, file)) = path.split_once("/resolve/") else { return Ok(()) };
        let repository = if repository.starts_with("datasets/") {
            repository.to_owned()
        } else {
            format!("models/{repository}")
        };
        let name = format!("{repository}/{}", file.split_once('/').unwrap().1);
        state.requests.push((name.clone(), range.clone()));
        let Some(content) = state.files.get(&name).cloned() else {
            write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let fault = state
            .fault
            .clone()
            .filter(|(faulty, _)| name.ends_with(faulty.as_str()))
            .map(|(_, fault)| fault);
        let digest: String =
            sha2::Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        let announced =
            if fault == Some(Fault::Damage) { digest.replace(['0', '1'], "2") } else { digest };
        let bounds = range.trim_start_matches("bytes=");
        let (from, to) = bounds.split_once('-').unwrap_or(("0", ""));
        let from: usize = from.parse().unwrap_or(0);
        let to = to.parse::<usize>().map_or(content.len(), |to| (to + 1).min(content.len()));
        if from >= content.len() && !content.is_empty() {
            write!(stream, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let part = &content[from..to];
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nx-repo-commit: {COMMIT}\r\nx-linked-etag: \"{announced}\"\r\netag: \"x\"\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
            to.max(1) - 1,
            content.len(),
            part.len()
        )?;
        // the one byte that a client asks for first is its question for size and checksum
        if fault == Some(Fault::HangUp) && part.len() > 1 {
            state.fault = None;
            stream.write_all(&part[..part.len() / 2])?;
            stream.flush()?;
            return stream.shutdown(std::net::Shutdown::Both);
        }
        stream.write_all(part)?;
    }
}

/// The shipped policy as `models/tiny/math`, its weights in two shards.
fn sharded_policy() -> Vec<(String, Vec<u8>)> {
    let folder = checkout("models/tiny-math");
    let named = |name: &str| format!("models/tiny/math/{name}");
    let mut files = Vec::new();
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    {
        files.push((named(name), std::fs::read(folder.join(name)).unwrap()));
    }
    let tensors = paretopo_models::load_tensors(&folder.join("model.safetensors")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for name in write_shards(scratch.path(), &tensors.into_values().collect::<Vec<_>>()) {
        files.push((named(&name), std::fs::read(scratch.path().join(&name)).unwrap()));
    }
    files.push((named("README.md"), b"not needed".to_vec()));
    files
}

/// GSM8K's and MATH-500's forms, three rows each.
fn data_sets() -> Vec<(String, Vec<u8>)> {
    let gsm8k = "{\"question\":\"What is 2+3?\",\"answer\":\"It is 5.\\n#### 5\"}\n{\"question\":\"What is 7-3?\",\"answer\":\"#### 4\"}\n{\"question\":\"What is 8+1?\",\"answer\":\"#### 9\"}\n";
    let math = "{\"problem\":\"What is 4+4?\",\"solution\":\"\\\\boxed{8}\",\"answer\":\"8\",\"level\":\"Level 1\",\"unique_id\":\"a\"}\n{\"problem\":\"What is 9-4?\",\"solution\":\"\\\\boxed{5}\",\"answer\":\"5\",\"level\":\"Level 2\",\"unique_id\":\"b\"}\n";
    // the files of MATH's subjects have the same names
    let subject = "{\"problem\":\"What is 6-2?\",\"level\":\"Level 5\",\"type\":\"Algebra\",\"solution\":\"$6-2=\\\\boxed{4}$\"}\n";
    vec![
        ("datasets/openai/gsm8k/main/test-0.jsonl".into(), gsm8k.into()),
        (
            "datasets/openai/gsm8k/main/train-0.jsonl".into(),
            gsm8k.replace("What is", "Compute").into(),
        ),
        ("datasets/openai/gsm8k/socratic/test-0.jsonl".into(), b"not this one".to_vec()),
        ("datasets/HuggingFaceH4/MATH-500/test.jsonl".into(), math.into()),
        ("datasets/EleutherAI/hendrycks_math/algebra/test-0.jsonl".into(), subject.into()),
        ("datasets/EleutherAI/hendrycks_math/geometry/test-0.jsonl".into(), subject.into()),
        ("datasets/EleutherAI/hendrycks_math/algebra/train-0.jsonl".into(), subject.into()),
        (
            "datasets/some/rows/data/test.jsonl".into(),
            format!("{}{{\"q\":\"broken\"}}\nnot json\n", gsm8k.replace("question", "q")).into(),
        ),
    ]
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn line_with<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines()
        .find(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no `{start}` in {text}"))
}

#[test]
fn a_model_and_benchmarks_by_name_are_fetched_once_evaluated_and_tabulated() {
    let hub = Hub::start(sharded_policy().into_iter().chain(data_sets()));
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let evaluate = [
        "-q",
        "evaluate",
        "--model",
        "tiny/math",
        "--benchmarks",
        "gsm8k,math-500,math",
        "--out",
        folder,
        "--set",
        "evaluation.samples=2",
    ];
    let table = succeeded(&hub.run(&evaluate, &[]));
    assert!(
        line_with(&table, "| benchmark").contains("avg@2 | +- | pass@2 | +- | #Tool"),
        "{table}"
    );
    assert!(
        line_with(&table, "| gsm8k").starts_with("| gsm8k | 3 |")
            && line_with(&table, "| math-500").starts_with("| math-500 | 2 |")
    );
    assert!(line_with(&table, "| math |").starts_with("| math | 2 |"), "{table}");
    let csv = std::fs::read_to_string(out.path().join("benchmarks.csv")).unwrap();
    assert!(line_with(&csv, "mean").starts_with("mean,7,"), "{csv}");
    let trajectories =
        std::fs::read_to_string(out.path().join("gsm8k/trajectories.jsonl")).unwrap();
    assert_eq!(trajectories.lines().count(), 6);
    // each file is fetched once, and nothing that is not needed
    let fetched = hub.state.lock().unwrap().requests.len();
    assert!(hub.ranges("README.md").is_empty() && hub.ranges("socratic/test-0.jsonl").is_empty());
    // the results are there: nothing is played or fetched again, also without a network
    assert_eq!(succeeded(&hub.run(&evaluate, &[("HF_HUB_OFFLINE", "1")])), table);
    assert_eq!(hub.state.lock().unwrap().requests.len(), fetched);
    // the same weights as the binary's own, so the same numbers
    let own = tempfile::tempdir().unwrap();
    let shipped = [
        "-q",
        "evaluate",
        "--benchmarks",
        "gsm8k,math-500,math",
        "--out",
        own.path().to_str().unwrap(),
        "--set",
        "evaluation.samples=2",
    ];
    assert_eq!(succeeded(&hub.run(&shipped, &[])), table);
    // another configuration does not take the folder for its own
    let other = refused(&hub.run(&[&evaluate[..], &["--set", "seed=9"]].concat(), &[]));
    assert!(other.contains("another configuration"), "{other}");
}

#[test]
fn a_listing_that_leads_out_of_its_repository_is_refused() {
    let outside = "model-/../../../../outside.safetensors";
    let evil = (format!("models/tiny/math/{outside}"), b"x".to_vec());
    let hub = Hub::start(sharded_policy().into_iter().chain([evil]));
    let error = refused(&hub.run(&["-q", "evaluate", "--model", "tiny/math"], &[]));
    assert!(error.contains("`tiny/math` lists `") && error.contains(outside), "{error}");
}

#[test]
fn the_prompts_of_all_benchmarks_are_looked_at_before_the_first_is_played() {
    // more tokens than the 256 of the shipped policy's context
    let question = format!("What is {}1?", "1+".repeat(200));
    let row = serde_json::json!({ "problem": question, "answer": "201", "unique_id": "long" });
    let long = "datasets/HuggingFaceH4/MATH-500/test.jsonl";
    let mut files: BTreeMap<String, Vec<u8>> = data_sets().into_iter().collect();
    assert!(files.contains_key(long), "{:?}", files.keys());
    files.insert(long.into(), (row.to_string() + "\n").into_bytes());
    let hub = Hub::start(files);
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let evaluate = ["-q", "evaluate", "--benchmarks", "gsm8k,math-500", "--out", folder];
    let error = refused(&hub.run(&evaluate, &[]));
    assert!(error.contains("math-500: 1 of 1 test tasks") && error.contains("`long` ("), "{error}");
    assert!(!out.path().join("gsm8k").exists(), "something was played");
}

#[test]
fn questions_by_name_bring_their_passages() {
    let row = |id: &str| {
        let context = serde_json::json!({ "title": ["Kalobar", "Tarwick"], "sentences": [["Kalobar was born in Tarwick."], ["Tarwick is a town."]] });
        let facts = serde_json::json!({ "title": ["Kalobar"], "sent_id": [0] });
        let question = "Where was Kalobar born?";
        serde_json::json!({ "id": id, "question": question, "answer": "Tarwick", "supporting_facts": facts, "context": context })
            .to_string()
    };
    let file = |split: &str, id: &str| {
        (
            format!("datasets/hotpotqa/hotpot_qa/distractor/{split}-0.jsonl"),
            (row(id) + "\n").into_bytes(),
        )
    };
    let hub = Hub::start([file("train", "t"), file("validation", "v")]);
    let out = tempfile::tempdir().unwrap();
    let (folder, config) = (out.path().to_str().unwrap(), checkout("experiments/qa/paretopo.toml"));
    let passages = "environment.passages={ type = \"contexts\" }";
    let config = config.to_str().unwrap();
    let table = succeeded(&hub.run(
        &["-q", "evaluate", config, "--benchmarks", "hotpotqa", "--set", passages, "--out", folder],
        &[],
    ));
    assert!(line_with(&table, "| hotpotqa").starts_with("| hotpotqa | 1 |"), "{table}");
    let text = std::fs::read_to_string(out.path().join("hotpotqa/evaluation.json")).unwrap();
    let evaluation: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(
        evaluation["environment"]["support_retrieved"].is_number()
            && evaluation["environment"]["f1"].is_number(),
        "{text}"
    );
}

#[test]
fn an_evaluation_that_was_cut_off_plays_only_what_is_missing() {
    let hub = Hub::start(data_sets());
    let out = tempfile::tempdir().unwrap();
    let arguments =
        ["-q", "evaluate", "--benchmarks", "gsm8k", "--out", out.path().to_str().unwrap()];
    let table = succeeded(&hub.run(&arguments, &[]));
    // as a kill during the second episode leaves it
    let folder = out.path().join("gsm8k");
    let lines = std::fs::read_to_string(folder.join("trajectories.jsonl")).unwrap();
    let first = lines.lines().next().unwrap();
    let marked = first.replacen("\"response\":\"", "\"response\":\"kept ", 1);
    std::fs::write(
        folder.join("finished.jsonl"),
        format!("{marked}\n{}", &first[..first.len() / 2]),
    )
    .unwrap();
    std::fs::remove_file(folder.join("evaluation.json")).unwrap();
    std::fs::remove_file(folder.join("trajectories.jsonl")).unwrap();
    assert_eq!(succeeded(&hub.run(&arguments, &[])), table);
    let again = std::fs::read_to_string(folder.join("trajectories.jsonl")).unwrap();
    assert!(again.lines().next().unwrap().contains("\"response\":\"kept "), "{again}");
    assert_eq!(again.lines().count(), 3);
}

#[test]
fn an_interrupted_download_goes_on_and_a_damaged_one_is_refused() {
    let hub = Hub::start(sharded_policy());
    hub.state.lock().unwrap().fault =
        Some(("model-00001-of-00002.safetensors".into(), Fault::HangUp));
    let evaluate = ["-q", "evaluate", "--model", "tiny/math", "--set", "evaluation.tasks=1"];
    succeeded(&hub.run(&evaluate, &[]));
    let size =
        hub.state.lock().unwrap().files["models/tiny/math/model-00001-of-00002.safetensors"].len();
    let ranges = hub.ranges("model-00001-of-00002.safetensors");
    assert_eq!(ranges[..2], ["bytes=0-0", "bytes=0-"]);
    let resumed: usize =
        ranges[2].trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!(resumed > size / 4 && resumed < size, "{ranges:?}");

    let damaged = Hub::start(sharded_policy());
    damaged.state.lock().unwrap().fault = Some(("tokenizer.json".into(), Fault::Damage));
    let error = refused(&damaged.run(&evaluate, &[]));
    assert!(error.contains("`tokenizer.json` of `tiny/math` arrived damaged twice"), "{error}");
    // nothing of it is left to be taken for good
    damaged.state.lock().unwrap().fault = None;
    succeeded(&damaged.run(&evaluate, &[]));
}

#[test]
fn what_is_not_there_is_named() {
    let hub = Hub::start(data_sets());
    let missing = refused(&hub.run(&["-q", "evaluate", "--model", "no/such"], &[]));
    assert!(missing.contains("has no `*` in `no/such`"), "{missing}");
    let offline =
        refused(&hub.run(&["-q", "evaluate", "--benchmarks", "gsm8k"], &[("HF_HUB_OFFLINE", "1")]));
    assert!(
        offline.contains("`openai/gsm8k` is not in the cache")
            && offline.contains("HF_HUB_OFFLINE"),
        "{offline}"
    );
    let unreachable =
        refused(&hub.run(
            &["-q", "evaluate", "--model", "no/such"],
            &[("HF_ENDPOINT", "http://127.0.0.1:9")],
        ));
    assert!(
        unreachable.contains("cannot fetch `*` of `no/such` from `http://127.0.0.1:9`"),
        "{unreachable}"
    );
    let kind = refused(&hub.run(&["-q", "evaluate", "--benchmarks", "nq"], &[]));
    assert!(kind.contains("`nq` is a data set for `environment.type = \"qa\"`"), "{kind}");
    for (model, hint) in [
        ("a/b@../../x", "`../../x` is not a revision\nhint: a branch, tag or commit"),
        ("a/b@", "`` is not a revision\nhint: a branch, tag or commit"),
        ("a/../b", "there is no such folder\nhint: give a checkpoint folder"),
    ] {
        let error = refused(&hub.run(&["-q", "evaluate", "--model", model], &[]));
        assert!(error.contains(hint), "{error}");
    }
    // the same in a configuration, before anything is asked of a server
    for (policy, hint) in [
        ("{ type = \"hub\", name = \"a/b\", revision = \"../x\" }", "`../x` is not a revision"),
        ("{ type = \"hub\", name = \"../b\" }", "`../b` is not the name of a repository"),
    ] {
        let policy = format!("policy={policy}");
        let error = refused(&hub.run(&["-q", "evaluate", "--set", &policy], &[]));
        assert!(error.contains(hint) && error.contains("hint: "), "{error}");
    }
    assert!(hub.state.lock().unwrap().requests.is_empty());
    let name = refused(&hub.run(&["-q", "evaluate", "--model", "./nowhere"], &[]));
    assert!(name.contains("there is no such folder"), "{name}");
}

#[test]
fn bad_rows_stop_the_run_or_are_left_out_and_said() {
    let hub = Hub::start(data_sets());
    let source = |bad_rows: &str| {
        let columns = "columns = { question = \"q\", answer_form = \"hashes\" }";
        format!(
            "environment.problems={{ type = \"dataset\", name = \"some/rows\", test = \"data/test*\", {columns}, bad_rows = \"{bad_rows}\" }}"
        )
    };
    let stopped = refused(&hub.run(&["-q", "evaluate", "--set", &source("stop")], &[]));
    assert!(stopped.contains("test.jsonl` line 4: no `answer`"), "{stopped}");
    let skipped = hub.run(&["evaluate", "--set", &source("skip")], &[]);
    assert!(succeeded(&skipped).contains("3 episodes on 3 tasks"));
    let said = String::from_utf8(skipped.stderr).unwrap();
    assert!(said.contains("line 4: no `answer`") && said.contains("line 5: expected"), "{said}");
}

#[test]
fn a_local_file_may_have_columns_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.json");
    std::fs::write(
        &path,
        r#"[{"text":{"body":"What is 2+2?"},"gold":4},{"text":{"body":"What is 5-2?"},"gold":3}]"#,
    )
    .unwrap();
    let problems = format!(
        "environment.problems={{ type = \"file\", path = \"{}\", test = 2, validation = 0, columns = {{ question = \"text.body\", answer = \"gold\" }} }}",
        path.display()
    );
    let output = Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(["-q", "evaluate", "--set", &problems])
        .output()
        .unwrap();
    assert!(succeeded(&output).contains("2 episodes on 2 tasks"));
    assert!(Path::new(&path).exists());
}
