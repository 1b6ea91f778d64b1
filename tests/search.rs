//! The retrieval server as its own process, met by a plain HTTP client, by hostile input, and by
//! our client.

use crate::{checkout, shared};
use paretopo_environments::Resources;
use paretopo_retrieval::{RemoteConfig, RemoteRetriever, RetrieveError, Retriever};
use paretopo_training::RunConfig;
use paretopo_trajectory::Split;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CORPUS: &str = "{\"id\":\"1\",\"title\":\"Kora\",\"text\":\"Kora was born in Tarn.\"}\n{\"id\":2,\"contents\":\"\\\"Tarn\\\"\\nTarn is a town.\"}\n";

/// `paretopo serve-search` over [`CORPUS`], killed when dropped.
struct Server {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("corpus.jsonl"), CORPUS).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_paretopo"))
            .args(["-q", "serve-search", "corpus.jsonl", "--address", "127.0.0.1:0"])
            .env("PARETOPO_CACHE", folder.path().join("cache"))
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { process, address, _folder: folder }
    }

    fn send(&self, head: &str, body: &[u8]) -> (u16, serde_json::Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        // a server may refuse before it has read everything
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            serde_json::from_str(body).unwrap_or(serde_json::Value::Null),
        )
    }

    fn post(&self, body: &str) -> (u16, serde_json::Value) {
        self.send("POST /retrieve", body.as_bytes())
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_server_speaks_the_protocol_of_search_r1() {
    let server = Server::start();
    let (status, answer) =
        server.post(r#"{"queries":["kora","nothing"],"topk":1,"return_scores":true}"#);
    assert_eq!(status, 200);
    assert_eq!(
        answer["result"][0][0]["document"],
        serde_json::json!({ "id": "1", "contents": "\"Kora\"\nKora was born in Tarn." })
    );
    assert!(answer["result"][0][0]["score"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (answer["result"][0].as_array().unwrap().len(), &answer["result"][1]),
        (1, &serde_json::json!([]))
    );
    // without scores the documents stand alone; both passages know the town
    let (_, answer) = server.post(r#"{"queries":["tarn"]}"#);
    assert_eq!(
        answer["result"][0][0],
        serde_json::json!({ "id": "2", "contents": "\"Tarn\"\nTarn is a town." })
    );
    assert_eq!(answer["result"][0].as_array().unwrap().len(), 2);
    // what its own server takes: 0 and null for the default, a whole number with a point, fields
    // that it does not know, and a byte-order mark
    for (rest, count) in [
        (r#","topk":0"#, 2),
        (r#","topk":null"#, 2),
        (r#","topk":2.0"#, 2),
        (r#","topk":1.0"#, 1),
        (r#","extra":{"a":[1]},"topk":1"#, 1),
    ] {
        let body = format!("\u{feff}{{\"queries\":[\"tarn\"],\"return_scores\":true{rest}}}");
        let (status, answer) = server.post(&body);
        assert_eq!((status, answer["result"][0].as_array().unwrap().len()), (200, count), "{rest}");
    }
    assert_eq!(
        server.send("GET /health", b""),
        (200, serde_json::json!({ "status": "ok", "passages": 2 }))
    );
}

#[test]
fn hostile_requests_are_refused_in_words_and_leave_nothing_behind() {
    let server = Server::start();
    let many = serde_json::json!({ "queries": vec!["x"; 10_000] }).to_string();
    let long = serde_json::json!({ "queries": ["x".repeat(10 << 20)] }).to_string();
    let medium = serde_json::json!({ "queries": ["x".repeat(100_000)] }).to_string();
    // each may be asked for, all together may not
    let passages = serde_json::json!({ "queries": vec!["x"; 4000], "topk": 1000 }).to_string();
    let cases: [(&str, u16); 16] = [
        (&passages, 413),
        (r#"{"queries":[]}"#, 400),
        (&many, 413),
        (&long, 413),
        (&medium, 413),
        (r#"{"queries":"x"}"#, 400),
        (r#"{"queries":[1]}"#, 400),
        (r#"{"queries":[null]}"#, 400),
        (r#"{"queries":["x"],"topk":"3"}"#, 400),
        (r#"{"queries":["x"],"topk":-1}"#, 400),
        (r#"{"queries":["x"],"topk":2.5}"#, 400),
        (r#"{"queries":["x"],"topk":1000000}"#, 400),
        (r#"{"queries":["x"],"topk":1e999}"#, 400),
        (r#"{"topk":1}"#, 400),
        ("[[[[[[[[", 400),
        ("", 400),
    ];
    let round = || {
        for (body, expected) in &cases {
            let (status, answer) = server.post(body);
            assert_eq!(status, *expected, "{}", &body[..body.len().min(80)]);
            assert!(answer["error"].as_str().is_some_and(|text| text.len() > 10), "{answer}");
        }
        assert_eq!(server.send("POST /retrieve", b"{\"queries\":[\"\xff\"]}").0, 400);
        assert_eq!(
            (server.send("GET /retrieve", b"").0, server.send("POST /other", b"{}").0),
            (405, 404)
        );
    };
    for _ in 0..3 {
        round();
    }
    let before = server.memory();
    for _ in 0..30 {
        round();
    }
    // 30 rounds carry 400 MB of bodies; what was not given back would show
    assert!(server.memory() < before + 50_000, "{before} KiB grew to {} KiB", server.memory());
    // a connection that sends nothing does not hold up others
    let _idle = TcpStream::connect(&server.address).unwrap();
    assert_eq!(server.post(r#"{"queries":["kora"]}"#).0, 200);
}

/// Was: it did not end; more of the kind in `crates/retrieval/tests/walls.rs`.
#[cfg(unix)]
#[test]
fn sigterm_ends_the_server_among_clients_that_stay() {
    let mut server = Server::start();
    let connect = || TcpStream::connect(&server.address).unwrap();
    let idle: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    let mut begun: Vec<TcpStream> = (0..50).map(|_| connect()).collect();
    for stream in &mut begun {
        stream.write_all(b"POST /retrieve HTTP/1.1\r\nX-").unwrap();
    }
    assert_eq!(server.post(r#"{"queries":["kora"]}"#).0, 200);
    let started = Instant::now();
    let id = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let status = loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "it has not ended");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
    drop((idle, begun));
}

fn client(url: String) -> RemoteRetriever {
    let config = format!("url = \"{url}\"\nbackoff_seconds = 0.01\nrequest_seconds = 2.0");
    RemoteRetriever::new(&toml::from_str::<RemoteConfig>(&config).unwrap())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn our_client_and_our_server_agree_with_the_index() {
    let server = Server::start();
    let client = Arc::new(client(format!("http://{}/retrieve", server.address)));
    // queries of many threads share requests, and each gets its own answer
    let threads: Vec<_> = (0..32)
        .map(|index| {
            let client = client.clone();
            std::thread::spawn(move || {
                let (query, id) = if index % 2 == 0 { ("kora", "1") } else { ("a town", "2") };
                let hits = client.retrieve(query, 1, soon()).unwrap();
                assert_eq!((hits.len(), hits[0].passage.id.as_str()), (1, id));
                (hits[0].passage.title.clone(), hits[0].passage.text.clone())
            })
        })
        .collect();
    let found: Vec<(String, String)> =
        threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(found[0], ("Kora".to_owned(), "Kora was born in Tarn.".to_owned()));
    assert_eq!(found[1], ("Tarn".to_owned(), "Tarn is a town.".to_owned()));
}

/// A server that answers its n-th request with what `reply` says.
fn scripted(
    reply: impl Fn(usize) -> Option<String> + Send + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            match reply(count.fetch_add(1, Ordering::SeqCst)) {
                Some(reply) => {
                    let _ = stream.write_all(reply.as_bytes());
                }
                // never answers
                None => std::mem::forget(stream),
            }
        }
    });
    (format!("http://{address}/retrieve"), requests)
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_busy_server_is_asked_again_and_a_refusing_one_is_not() {
    let good = http(
        "200 OK",
        r#"{"result":[[{"document":{"id":"1","contents":"\"A\"\nb"},"score":1.0}]]}"#,
    );
    let (url, requests) = scripted(move |number| {
        Some(if number < 2 { http("503 Service Unavailable", "{}") } else { good.clone() })
    });
    assert_eq!(client(url).retrieve("x", 3, soon()).unwrap()[0].passage.title, "A");
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    let (url, requests) = scripted(|_| Some(http("400 Bad Request", "{\"error\":\"no\"}")));
    let error = client(url).retrieve("x", 3, soon()).unwrap_err();
    assert!(
        matches!(&error, RetrieveError::Failed(text) if text.contains("400") && text.contains("no")),
        "{error}"
    );
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

/// Without `return_scores`, and from servers that never have scores.
#[test]
fn answers_without_scores_are_read() {
    for body in [
        r#"{"result":[[{"id":"1","contents":"\"A\"\nb"}]]}"#,
        r#"{"result":[[{"document":{"contents":"\"A\"\nb"}}]]}"#,
        r#"{"result":[[{"document":{"title":"A","text":"b"},"score":null}]],"took":3}"#,
    ] {
        let (url, _) = scripted(move |_| Some(http("200 OK", body)));
        let hits = client(url).retrieve("x", 3, soon()).unwrap();
        assert_eq!((hits[0].passage.title.as_str(), hits[0].passage.text.as_str()), ("A", "b"));
    }
}

#[test]
fn a_server_does_not_send_a_client_elsewhere() {
    let (url, requests) = scripted(|_| {
        Some("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into())
    });
    let error = client(url).retrieve("x", 3, soon()).unwrap_err();
    assert!(matches!(&error, RetrieveError::Failed(text) if text.contains("302")), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[test]
fn nonsense_silence_and_absence_become_errors_by_the_deadline() {
    for nonsense in
        ["", "{", "[]", r#"{"result":[]}"#, r#"{"result":[[{"id":1}]]}"#, r#"{"result":[["x"]]}"#]
    {
        let body = nonsense.to_owned();
        let (url, requests) = scripted(move |_| Some(http("200 OK", &body)));
        let error = client(url).retrieve("x", 3, soon()).unwrap_err();
        assert!(matches!(error, RetrieveError::Failed(_)), "{nonsense}: {error}");
        // the first attempt and three more
        assert_eq!(requests.load(Ordering::SeqCst), 4);
    }
    let (url, _) = scripted(|_| None);
    let started = Instant::now();
    assert_eq!(
        client(url).retrieve("x", 3, started + Duration::from_millis(300)),
        Err(RetrieveError::Timeout)
    );
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let error = client("http://127.0.0.1:1/retrieve".into()).retrieve("x", 3, soon()).unwrap_err();
    assert!(matches!(error, RetrieveError::Failed(_)), "{error}");
}

#[test]
fn a_server_that_keeps_failing_is_left_alone() {
    let (url, requests) = scripted(|_| Some(http("503 Service Unavailable", "{}")));
    let client = client(url);
    for query in ["a", "b"] {
        assert!(client.retrieve(query, 3, soon()).is_err());
    }
    // four attempts each make eight failures in a row
    assert_eq!(requests.load(Ordering::SeqCst), 8);
    let started = Instant::now();
    let error = client.retrieve("c", 3, soon()).unwrap_err();
    assert!(error.to_string().contains("not asked, since its last 8 requests failed"), "{error}");
    assert!(requests.load(Ordering::SeqCst) == 8 && started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_remote_environment_plays_with_a_server() {
    let server = Server::start();
    let config = RunConfig::parse(
        &format!(
            "[environment]\ntype = \"qa\"\npassages = {{ type = \"remote\", url = \"http://{}/retrieve\" }}",
            server.address
        ),
        "test",
        &[],
    );
    let environment = config.unwrap().build_environment(&Resources::default(), &mut ()).unwrap();
    assert_eq!(environment.tools.len(), 1);
    assert!(!environment.tasks(Split::Train).is_empty());
}

#[test]
fn published_parquet_files_are_read() {
    let questions = paretopo_environments::qa::read_questions(&checkout(
        "tests/fixtures/questions/hotpotqa.parquet",
    ))
    .unwrap();
    let first = &questions[0];
    assert_eq!(
        (first.task.id.as_str(), first.task.answers.as_slice()),
        ("h1", &["yes".to_owned()][..])
    );
    assert_eq!(first.task.supporting, ["A", "B"]);
    assert_eq!((first.context.len(), first.context[0].text.as_str()), (2, "One. Two."));
    let questions =
        paretopo_environments::qa::read_questions(&checkout("tests/fixtures/questions/nq.parquet"))
            .unwrap();
    assert_eq!(questions[1].task.answers, ["c", "d"]);
}

/// Both were found by fuzzing: the parquet reader panics at the first and asks for 12 GiB at the
/// second.
#[test]
fn damaged_parquet_files_are_errors() {
    let cases = [
        ("start", "column start and length should not be negative"),
        ("dictionary", "a dictionary of 402653174 values"),
    ];
    for (name, reason) in cases {
        let path = checkout(&format!("tests/fixtures/questions/damaged_{name}.parquet"));
        let error = paretopo_environments::qa::read_questions(&path).unwrap_err().to_string();
        assert!(error.contains("not a readable parquet file") && error.contains(reason), "{error}");
    }
}

/// All 885 cases, with exact match and F1 from the official HotpotQA script.
#[test]
#[cfg_attr(not(beside_shared), ignore = "compares with data in `../shared`, which is not there")]
fn answers_are_graded_as_the_official_script_does() {
    let text = std::fs::read_to_string(shared("data/demo/grader_cases_qa_dev.jsonl")).unwrap();
    let mut cases = 0;
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let (gold, pred) = (case["gold"].as_str().unwrap(), case["pred"].as_str().unwrap());
        assert_eq!(
            Some(paretopo_environments::qa::exact_match(gold, pred)),
            case["em"].as_bool(),
            "{line}"
        );
        assert!(
            (paretopo_environments::qa::f1(gold, pred) - case["f1"].as_f64().unwrap()).abs() < 1e-9,
            "{line}"
        );
        cases += 1;
    }
    assert_eq!(cases, 885);
}
