//! How many requests a second a search server answers (`just bench-serve`):
//! `search_load ADDRESS CONNECTIONS SECONDS QUERIES`, the last in one request. A connection is used
//! again and again; with `QUERIES = 0` each request has one of its own, and one query.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One answer, whose length is said.
fn read(reader: &mut impl BufRead, body: &mut Vec<u8>) {
    let mut length = 0;
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    body.resize(length, 0);
    reader.read_exact(body).unwrap();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = &arguments[0];
    let numbers: Vec<usize> = arguments[1..].iter().map(|text| text.parse().unwrap()).collect();
    let (connections, seconds, queries) = (numbers[0], numbers[1], numbers[2]);
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..connections {
            let (stop, count) = (&stop, &count);
            scope.spawn(move || {
                let connect = || BufReader::new(TcpStream::connect(address).unwrap());
                let (mut reader, mut body) = (connect(), Vec::new());
                for round in number * 1000.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let texts: Vec<String> = (0..queries.max(1))
                        .map(|query| format!("\"w{} w{}\"", (round * 7 + query) % 997, round % 89))
                        .collect();
                    let text = format!("{{\"queries\":[{}],\"topk\":3}}", texts.join(","));
                    if queries == 0 {
                        reader = connect();
                    }
                    let head = "POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: ";
                    let request = format!("{head}{}\r\n\r\n{text}", text.len());
                    reader.get_mut().write_all(request.as_bytes()).unwrap();
                    read(&mut reader, &mut body);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(seconds as u64));
        stop.store(true, Ordering::Relaxed);
    });
    let rate = count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0}");
}
