//! A server of one page of code: what it answers is a function of the request, raw on the wire.

use sha1::Digest;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: String,
    /// The first byte that is asked for.
    pub(crate) from: usize,
    pub(crate) token: Option<String>,
}

impl Request {
    /// The end of what is asked for.
    pub(crate) fn to(&self, size: usize) -> usize {
        let end = self.range.rsplit('-').next().unwrap_or_default();
        end.parse::<usize>().map_or(size, |end| (end + 1).min(size))
    }
}

pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every request with `answer`, one a connection.
    pub(crate) fn start(
        answer: impl Fn(&Request, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    let Ok(request) = read(&stream) else { return };
                    seen.lock().unwrap().push(request.clone());
                    // a client may hang up
                    let _ = answer(&request, &mut stream);
                    finish(&stream);
                });
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = Request::default();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    request.path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = value.to_owned(),
            "authorization" => {
                request.token = value.strip_prefix("Bearer ").map(str::to_owned);
            }
            _ => {}
        }
    }
    let from = request.range.trim_start_matches("bytes=").split('-').next().unwrap_or_default();
    request.from = from.parse().unwrap_or(0);
    Ok(request)
}

/// Hangs up in a way that lets what was sent arrive.
fn finish(mut stream: &TcpStream) {
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = stream.read_to_end(&mut Vec::new());
}

/// The name that git gives a content.
pub(crate) fn git_hash(content: &[u8]) -> String {
    let mut digest = sha1::Sha1::new();
    digest.update(format!("blob {}\0", content.len()));
    digest.update(content);
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The head of an honest answer with the range that was asked for.
pub(crate) fn announce(content: &[u8], request: &Request) -> String {
    let (from, to) = (request.from.min(content.len()), request.to(content.len()));
    format!(
        "HTTP/1.1 206 Partial Content\r\nx-repo-commit: {COMMIT}\r\netag: \"{}\"\r\n\
         Content-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        git_hash(content),
        to.max(1) - 1,
        content.len(),
        to - from
    )
}

/// A whole answer; its length is said unless `headers` do.
pub(crate) fn reply(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let length = match headers.contains("Content-Length") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    write!(stream, "HTTP/1.1 {status}\r\n{headers}{length}Connection: close\r\n\r\n")?;
    stream.write_all(body)
}
