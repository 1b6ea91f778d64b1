//! Bytes on the wire. The first says to whom: to our search server as a request, or as an answer to
//! our clients of search and SandboxFusion, behind a proper HTTP head or as they are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_retrieval::server::{Limits, serve};
use paretopo_retrieval::{
    BreakerConfig, Passage, PassageIndex, RemoteConfig, RemoteRetriever, Retriever,
};
use paretopo_settings::Pause;
use paretopo_tools::{PythonConfig, PythonInterpreter, PythonTool, SandboxFusionConfig};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// Longer than any of this may take.
const LIMIT: Duration = Duration::from_secs(5);

static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let passage = |id: usize| Passage {
            id: id.to_string(),
            title: format!("Title {id}"),
            text: "Tarwick was founded in 1204.".into(),
        };
        let index =
            PassageIndex::in_memory(&(0..3).map(passage).collect::<Vec<_>>()).expect("an index");
        let ready = move |address| sender.send(address).expect("somebody waits");
        serve(index, "127.0.0.1:0", 3, Limits::default(), ready, std::future::pending())
            .expect("a server");
    });
    receiver.recv().expect("an address")
});

static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A server that answers every request with `ANSWER`.
static PUPPET: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // both clients send a JSON object
            while !request.ends_with(b"}") && !request.ends_with(b"\r\n0\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&buffer[..count]),
                }
            }
            let _ = stream.write_all(&ANSWER.lock().expect("nobody panics with it"));
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    address
});

const BREAKER: BreakerConfig = BreakerConfig { failures: 0, seconds: Pause::literal(0.0) };

static SEARCH: LazyLock<RemoteRetriever> = LazyLock::new(|| {
    let config = serde_json::json!({ "url": format!("http://{}/retrieve", *PUPPET), "retries": 0, "concurrency": 1, "batch_wait_seconds": 0.0, "breaker": BREAKER });
    RemoteRetriever::new(&serde_json::from_value::<RemoteConfig>(config).expect("a configuration"))
});

static PYTHON: LazyLock<PythonTool> = LazyLock::new(|| {
    let server =
        SandboxFusionConfig { url: format!("http://{}", *PUPPET), retries: 0, breaker: BREAKER };
    let config = PythonConfig {
        interpreter: PythonInterpreter::SandboxFusion,
        sandbox_fusion: Some(server),
        ..PythonConfig::default()
    };
    PythonTool::new(config, Vec::new()).expect("a tool")
});

fn request(bytes: &[u8]) {
    let mut stream = TcpStream::connect(*SERVER).expect("the server is there");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert!(
            error.kind() != std::io::ErrorKind::WouldBlock,
            "the server neither answers nor hangs up"
        );
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    if kind % 4 == 0 {
        return request(bytes);
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
    *ANSWER.lock().expect("nobody panics with it") =
        if kind % 4 == 1 { bytes.to_vec() } else { [head.as_bytes(), bytes].concat() };
    let started = Instant::now();
    if kind & 4 == 0 {
        if let Ok(hits) = SEARCH.retrieve("q", 2, started + LIMIT) {
            assert!(hits.len() <= 2);
        }
    } else {
        let _ = PYTHON.run("print(1)", started + LIMIT);
    }
    assert!(
        started.elapsed() < LIMIT,
        "a client waits for its deadline though the connection is closed"
    );
});
