//! Objects of JSON over a WebSocket (RFC 6455), encrypted or not, by the crate `tungstenite`. Whatever the other side
//! does, reading and writing end by a deadline: connecting, the handshake, a message that trickles in
//! byte by byte, and one that nobody reads.

use super::address::Address;
use super::server::unasked;
use paretopo_retrieval::{Encrypted, why_untrusted};
use serde_json::{Map, Value};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{ClientRequestBuilder, Error, Message, WebSocket, client::client_with_config};

/// Bytes of a message; more is nonsense.
const MOST: usize = 16 << 20;
/// Messages that are not answers (pings) between a request and its answer.
const MOST_BETWEEN: usize = 1000;
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_millis(200);
/// Characters of what the other side said that are told.
const TOLD: usize = 300;

/// A stream whose operations end by a deadline.
struct Timed {
    stream: TcpStream,
    until: Instant,
    /// Whether nothing is waited for at all.
    looks: bool,
}

impl Timed {
    /// The time that is left.
    ///
    /// # Errors
    /// When there is none.
    fn left(&self) -> io::Result<Duration> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// What messages go through.
enum Line {
    Plain(Timed),
    Encrypted(Box<Encrypted<Timed>>),
}

impl Line {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Self::Plain(stream) => stream,
            Self::Encrypted(line) => line.stream(),
        }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Encrypted(line) => line.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Encrypted(line) => line.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Encrypted(line) => line.flush(),
        }
    }
}

/// A system says of a time that has passed that it would have to wait.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        if self.looks {
            self.stream.set_nonblocking(true)?;
            let read = self.stream.read(buffer);
            self.stream.set_nonblocking(false)?;
            return read;
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer).map_err(late)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        self.stream.set_write_timeout(Some(left))?;
        self.stream.write(bytes).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The addresses of a host. Asking for a name takes as long as the system likes, so it is asked on a
/// thread that may be left behind.
///
/// # Errors
/// When there is none by then.
pub(super) fn addresses(host: &str, until: Instant) -> Result<Vec<SocketAddr>, String> {
    let (tell, told) = channel();
    let asked = host.to_owned();
    std::thread::spawn(move || {
        let found = asked.to_socket_addrs().map(|found| found.collect::<Vec<_>>());
        let _ = tell.send(found.map_err(|error| error.to_string()));
    });
    match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(Ok(found)) if !found.is_empty() => Ok(found),
        Ok(Ok(_)) => Err(format!("`{host}` has no address")),
        Ok(Err(error)) => Err(format!("`{host}`: {error}")),
        Err(_) => Err(format!("`{host}`: its address was not found in time")),
    }
}

/// A connection.
pub(super) struct Socket {
    socket: WebSocket<Line>,
}

impl Socket {
    /// Connects and shakes hands; `route` begins with a slash.
    ///
    /// # Errors
    /// Why not, by the deadline at the latest.
    pub(super) fn open(
        addresses: &[SocketAddr],
        server: &Address,
        route: &str,
        until: Instant,
    ) -> Result<Self, String> {
        let mut refused = "it has no address".to_owned();
        for place in addresses {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                refused = "it did not take a connection in time".into();
                break;
            }
            match TcpStream::connect_timeout(place, left) {
                Ok(stream) => return Self::shake_hands(stream, server, route, until),
                Err(error) => refused = format!("it takes no connection: {error}"),
            }
        }
        Err(refused)
    }

    fn shake_hands(
        stream: TcpStream,
        server: &Address,
        route: &str,
        until: Instant,
    ) -> Result<Self, String> {
        // answers are small, and each is waited for
        let _ = stream.set_nodelay(true);
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(MOST))
            .max_frame_size(Some(MOST));
        let stream = Timed { stream, until, looks: false };
        let line = match server.is_encrypted {
            false => Line::Plain(stream),
            true => {
                let begun = Encrypted::begin(&server.trust, server.name(), stream);
                let said = |error: io::Error| {
                    why_untrusted(&error).unwrap_or_else(|| words(&Error::Io(error)))
                };
                Line::Encrypted(Box::new(begun.map_err(said)?))
            }
        };
        let url = server.socket(route);
        let url = url.parse().map_err(|error| format!("`{url}` is no address: {error}"))?;
        let request =
            server.headers.iter().fold(ClientRequestBuilder::new(url), |request, (name, value)| {
                request.with_header(name, value)
            });
        match client_with_config(request, line, Some(config)) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(error) => Err(format!("no handshake: {}", cut(&error.to_string()))),
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// Why there is none, by the deadline at the latest. The connection is of no use afterwards.
    pub(super) fn ask(
        &mut self,
        request: &Value,
        until: Instant,
    ) -> Result<Map<String, Value>, String> {
        // an answer that nobody asked for would be taken for the next one's
        self.look()?;
        let stream = self.socket.get_mut().timed();
        stream.until = until;
        stream.looks = false;
        self.socket.send(Message::text(request.to_string())).map_err(|error| words(&error))?;
        for _ in 0..MOST_BETWEEN {
            match self.socket.read().map_err(|error| words(&error))? {
                Message::Text(text) => {
                    return serde_json::from_str(&text).map_err(|_| {
                        format!("it answered what is no object of JSON: {}", cut(&text))
                    });
                }
                Message::Binary(bytes) => {
                    return Err(format!("it answered {} bytes that are no text", bytes.len()));
                }
                Message::Close(_) => return Err("it closed the session".into()),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Err(format!("it sent {MOST_BETWEEN} pings in place of an answer"))
    }

    /// Answers pings that have come, so that the other side does not take the session for dead.
    ///
    /// # Errors
    /// When it has closed the session, or has sent what nobody asked for.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let stream = self.socket.get_mut().timed();
        stream.until = Instant::now() + FAREWELL;
        stream.looks = true;
        for _ in 0..MOST_BETWEEN {
            match self.socket.read() {
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Text(text)) => return Err(unasked(&text)),
                Ok(Message::Binary(_)) => return Err(unasked("")),
                Ok(Message::Close(_)) => return Err("it closed the session".into()),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return self.socket.flush().map_err(|error| words(&error));
                }
                Err(error) => return Err(words(&error)),
            }
        }
        Err("it sends one ping after the other".into())
    }
}

impl Drop for Socket {
    /// Ends the session on the other side, as its own client does. Who does not hear it sees the
    /// connection end.
    fn drop(&mut self) {
        let stream = self.socket.get_mut().timed();
        stream.until = Instant::now() + FAREWELL;
        stream.looks = false;
        let _ = self.socket.send(Message::text(r#"{"type":"close"}"#));
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }
}

/// What went wrong, for people.
fn words(error: &Error) -> String {
    match error {
        Error::Io(error) if error.kind() == ErrorKind::TimedOut => {
            "it did not answer in time".to_owned()
        }
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "it closed the session".to_owned()
        }
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "it closed the session".to_owned()
        }
        Error::Capacity(_) => format!("it answered more than {MOST} bytes"),
        error => cut(&format!("the connection broke: {error}")),
    }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(TOLD).collect()
}
