//! A search server among clients that mean it harm, and how it ends. `Was` says what the same did
//! to the server that was here before, `axum::serve` (seen on 2026-11-25).
//!
//! The server is a process of its own, this very program: [`serve_as_a_process`], with times that
//! are short enough for a test.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use paretopo_retrieval::server::{Limits, serve};
use paretopo_retrieval::{Passage, PassageIndex};
use rustix::process::{Pid, Resource, Rlimit};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

const CHILD: &str = "PARETOPO_TEST_SERVER";
/// What a client that sends nothing needs to be sure that it was hung up on.
const LONG: Duration = Duration::from_secs(10);

fn limits() -> Limits {
    Limits {
        memory_bytes: 24 << 20,
        connections: 1000,
        idle_time: Duration::from_secs(4),
        head_time: Duration::from_millis(1000),
        body_time: Duration::from_millis(1000),
        write_time: Duration::from_millis(1000),
        ..Limits::default()
    }
}

/// Not a test: the server, when a test starts it.
#[test]
fn serve_as_a_process() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // long ones about Kora, short ones about Tarn
    let passage = |id: usize| Passage {
        id: id.to_string(),
        title: String::new(),
        text: match id < 300 {
            true => format!("kora {}", "-".repeat(45_000)),
            false => format!("tarn is a town, {id}"),
        },
    };
    let index = PassageIndex::in_memory(&(0..600).map(passage).collect::<Vec<_>>()).unwrap();
    let ready = |address| println!("\nat {address}");
    let stop = async {
        signal(SignalKind::terminate()).unwrap().recv().await;
    };
    if let Err(error) = serve(index, "127.0.0.1:0", 3, limits(), ready, stop) {
        println!("\nerror {error}");
    }
    std::process::exit(0);
}

struct Server {
    process: Child,
    address: String,
    /// Sockets that it has open without a client.
    own_sockets: usize,
}

impl Server {
    /// A server that may have so many open files.
    fn start(files: usize) -> Self {
        Self::try_start(files).unwrap()
    }

    fn try_start(files: usize) -> Result<Self, String> {
        let mut process = Command::new("sh")
            .args(["-c", "ulimit -n $1 && exec \"$0\" --exact serve_as_a_process --nocapture"])
            .arg(std::env::current_exe().unwrap())
            .arg(files.to_string())
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines =
            BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let found = lines.find_map(|line| {
            let address = line.strip_prefix("at ").map(|address| Ok(address.to_owned()));
            address.or_else(|| line.strip_prefix("error ").map(|error| Err(error.to_owned())))
        });
        match found {
            Some(Ok(address)) => {
                // whatever it still says does not fill the pipe
                std::thread::spawn(move || lines.count());
                let mut server = Self { process, address, own_sockets: 0 };
                server.query();
                std::thread::sleep(Duration::from_millis(200));
                server.own_sockets = server.sockets();
                Ok(server)
            }
            other => {
                process.wait().unwrap();
                Err(other.map_or("it ended".to_owned(), |error| error.unwrap_err()))
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// A connection with `bytes` sent.
    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream
    }

    /// An ordinary query on a connection of its own; how long it took.
    #[track_caller]
    fn query(&self) -> Duration {
        let started = Instant::now();
        let mut answer = String::new();
        self.send(&post(r#"{"queries":["tarn"],"topk":1}"#, "close"))
            .read_to_string(&mut answer)
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("tarn"), "{answer}");
        started.elapsed()
    }

    /// Sockets that it has open.
    fn sockets(&self) -> usize {
        let links = std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
        let links = links.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Seconds of processor time that it has taken.
    fn processor_seconds(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
        f64::from(ticks) / 100.0
    }

    fn resident_mebibytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
    }

    /// Waits for it to hold no connection.
    #[track_caller]
    fn assert_lets_go(&self) {
        let started = Instant::now();
        while self.sockets() > self.own_sockets {
            assert!(started.elapsed() < LONG, "{} sockets are open", self.sockets());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn terminate(&self) {
        let process = Pid::from_child(&self.process);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    }

    /// Ends it as a service manager does; how long that took.
    #[track_caller]
    fn stop(&mut self) -> Duration {
        let started = Instant::now();
        self.terminate();
        while self.process.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(5), "it has not ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        started.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn post(body: &str, connection: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /retrieve HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Room for many connections of this process; how many there can be.
fn room_for(connections: u64) -> usize {
    let now = rustix::process::getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX).min(connections + 500);
    let wanted = Rlimit { current: Some(most), maximum: now.maximum };
    rustix::process::setrlimit(Resource::Nofile, wanted).unwrap();
    usize::try_from(most.min(connections + 500).saturating_sub(500)).unwrap()
}

/// Whether the other end has hung up.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match (&mut &*stream).read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// Was: open after 70 seconds, and for good.
#[test]
fn headers_come_in_time() {
    let server = Server::start(1024);
    let mut slow: Vec<TcpStream> =
        (0..50).map(|_| server.send(b"POST /retrieve HTTP/1.1\r\nX")).collect();
    let silent: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    let started = Instant::now();
    while !slow.iter().all(is_closed) {
        for stream in &mut slow {
            let _ = stream.write_all(b"x");
        }
        server.query();
        assert!(started.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(started.elapsed() > Duration::from_millis(900), "{:?}", started.elapsed());
    // who has begun nothing has longer
    assert!(!silent.iter().any(is_closed));
    server.assert_lets_go();
    // too many headers, and too long ones
    let long = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(5000));
    for head in [long, many] {
        let mut stream = server.connect();
        let _ = stream.write_all(head.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    }
    server.query();
}

/// Was: the same (by its code) but for the memory, which was 8 MiB for every connection.
#[test]
fn bodies_come_in_time_and_share_their_memory() {
    let server = Server::start(1024);
    let mut answer = String::new();
    server
        .send(b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"queries\"")
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("in time"), "{answer}");
    server.assert_lets_go();
    let before = server.resident_mebibytes();
    let head = "POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n";
    let large = [head.as_bytes(), &vec![b' '; 7_900_000]].concat();
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| {
                let mut stream = server.connect();
                // it may be hung up on
                if stream.write_all(&large).is_ok() {
                    let _ = stream.read(&mut [0; 64]);
                }
            });
        }
        let mut highest = 0;
        for _ in 0..10 {
            server.query();
            highest = highest.max(server.resident_mebibytes());
            std::thread::sleep(Duration::from_millis(50));
        }
        // 24 MiB are allowed, 240 would have come; a vector that grows has twice its size
        assert!(highest < before + 110, "{before} MiB grew to {highest} MiB");
    });
    server.assert_lets_go();
}

/// Was: open after 70 seconds, and for good.
#[test]
fn answers_are_taken_in_time() {
    let server = Server::start(1024);
    let request = post(r#"{"queries":["kora"],"topk":300}"#, "keep-alive");
    // each answer has 14 MB, of which the system's buffers take a part
    let readers: Vec<TcpStream> = (0..6).map(|_| server.send(&request)).collect();
    for _ in 0..5 {
        server.query();
    }
    server.assert_lets_go();
    drop(readers);
    // who reads has the whole of it
    let mut answer = Vec::new();
    let request = post(r#"{"queries":["kora"],"topk":300}"#, "close");
    server.send(&request).read_to_end(&mut answer).unwrap();
    assert!(answer.len() > 10_000_000 && answer.ends_with(b"]]}"), "{} bytes", answer.len());
}

/// Was: with 256 files nobody else was answered; with many, all 5,000 stayed open for good.
#[test]
fn thousands_of_idle_connections_do_not_matter() {
    let many = room_for(5000);
    for files in [256, 4096, 1 << 20] {
        let Ok(mut server) = Server::try_start(files) else {
            eprintln!("skipped: this process may not allow {files} open files");
            continue;
        };
        let mut slowest = Duration::ZERO;
        let mut idle = Vec::new();
        let mut most = 0;
        for number in 0..many {
            idle.push(server.connect());
            if number % 250 == 249 {
                slowest = slowest.max(server.query());
                most = most.max(server.sockets());
            }
        }
        // and one that waits for its place
        let allowed = limits().connections.min(files) + server.own_sockets + 1;
        assert!(most <= allowed, "{most} sockets");
        assert!(most > files.min(limits().connections) / 2, "{most} sockets");
        let before = server.processor_seconds();
        std::thread::sleep(Duration::from_millis(500));
        let busy = server.processor_seconds() - before;
        assert!(busy < 0.25, "{busy} seconds of processor time in half a second of nothing");
        eprintln!("{files} files: {most} sockets, slowest query {slowest:?}");
        // one that is used stays, the oldest ones went
        assert!(slowest < Duration::from_secs(3), "{slowest:?}");
        assert!(idle[..idle.len() / 2].iter().all(is_closed));
        assert!(!is_closed(idle.last().unwrap()));
        eprintln!("ended after {:?}", server.stop());
    }
}

/// Was: no core was busy either; nothing was accepted, for a second at a time, until clients left.
#[test]
fn a_process_without_descriptors_waits_and_goes_on() {
    let server = Server::start(1024);
    let process = Some(Pid::from_child(&server.process));
    let set = |files: u64| {
        let limit = Rlimit { current: Some(files), maximum: Some(1024) };
        rustix::process::prlimit(process, Resource::Nofile, limit).unwrap();
    };
    let kept = server.connect();
    server.query();
    set(4);
    let refused: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    let before = server.processor_seconds();
    std::thread::sleep(Duration::from_secs(1));
    let busy = server.processor_seconds() - before;
    assert!(busy < 0.2, "{busy} seconds of processor time in a second");
    // to make room
    assert!(is_closed(&kept));
    set(1024);
    drop(refused);
    server.query();
}

#[test]
fn too_few_files_are_an_error_in_words() {
    let error = Server::try_start(24).err().unwrap();
    assert!(error.contains("may open 24 files and has"), "{error}");
}

/// Was: it did not end while headers were begun or an answer was not taken; idle ones were closed.
#[test]
fn sigterm_ends_whatever_clients_do() {
    let mut server = Server::start(1024);
    let idle: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    let heads: Vec<TcpStream> = (0..20).map(|_| server.send(b"POST /retr")).collect();
    let body = b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    let bodies: Vec<TcpStream> = (0..20).map(|_| server.send(body)).collect();
    let large = post(r#"{"queries":["kora"],"topk":300}"#, "keep-alive");
    let readers: Vec<TcpStream> = (0..2).map(|_| server.send(&large)).collect();
    let mut used = server.send(&post(r#"{"queries":["tarn"],"topk":1}"#, "keep-alive"));
    used.read_exact(&mut [0; 16]).unwrap();
    // a request under way: thousands of searches
    let queries = vec!["\"tarn is a town\""; 4000].join(",");
    let request = post(&format!(r#"{{"queries":[{queries}],"topk":30}}"#), "keep-alive");
    let mut under_way = server.send(&request);
    std::thread::sleep(Duration::from_millis(100));
    let ended = std::thread::spawn(move || server.stop());
    let mut answer = Vec::new();
    under_way.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{} bytes", answer.len());
    assert!(answer.ends_with(b"]]}"), "{} bytes", answer.len());
    eprintln!("ended after {:?}", ended.join().unwrap());
    drop((idle, heads, bodies, readers));
}

/// Was (by its code): all queries of a request stood in one row, in front of whatever came later.
#[test]
fn a_long_request_does_not_stand_in_front_of_a_short_one() {
    let server = Server::start(1024);
    let query = format!("\"{}\"", "tarn is a town, ".repeat(60));
    let request =
        post(&format!(r#"{{"queries":[{}],"topk":30}}"#, vec![query; 4000].join(",")), "close");
    // a fast machine may have answered before we look; what stands behind is never answered before
    let overtakes = || {
        let before = server.processor_seconds();
        let mut long = server.send(&request);
        while server.processor_seconds() < before + 0.05 && !has_answer(&long) {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.query();
        let overtaken = !has_answer(&long);
        let mut answer = [0; 15];
        long.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        overtaken
    };
    assert!((0..10).any(|_| overtakes()), "every short request was answered behind the long one");
}

/// Whether something has come that was not read yet.
fn has_answer(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match peeked {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
            false
        }
    }
}

/// What is allowed is allowed as before: several requests on one connection, one after the other
/// and one behind the other.
#[test]
fn a_connection_serves_many_requests() {
    let server = Server::start(1024);
    let mut stream = server.connect();
    let request = post(r#"{"queries":["tarn"],"topk":1}"#, "keep-alive");
    let read = |stream: &mut TcpStream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        assert!(head.starts_with("http/1.1 200") && body.ends_with(b"]]}"));
    };
    for _ in 0..3 {
        stream.write_all(&request).unwrap();
        read(&mut stream);
        // a pause is no reason to hang up
        std::thread::sleep(Duration::from_millis(1200));
    }
    stream.write_all(&request.repeat(20)).unwrap();
    for _ in 0..20 {
        read(&mut stream);
    }
}
