//! From a socket to requests and back: accepts, watches what every connection does, and stops.
//!
//! hyper reads and writes HTTP; here is what its ready-made servers leave to others: a bound on
//! connections, times for every phase of one, errors of `accept` that do not keep a core busy, and
//! an end that no client can put off.

use super::Limits;
use super::connections::{Connection, Connections, Open, Phase};
use axum::Router;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How often connections are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// How long nothing is accepted after the system had nothing left for a connection.
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes that are read ahead, headers and parts of a body.
const BUFFER: usize = 64 << 10;
const HEAD_BYTES: usize = 16 << 10;

/// Serves until `stop` is done, and a little longer for requests that are under way.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    most: usize,
    stop: impl Future<Output = ()>,
) {
    let connections = Connections::new(limits, most);
    let (stopping, stopped) = watch::channel(false);
    let accepting = accept(&listener, &connections, &router, &stopped);
    let sweeping = async {
        loop {
            tokio::time::sleep(SWEEP).await;
            connections.sweep();
        }
    };
    tokio::select! {
        () = stop => {}
        () = accepting => {}
        () = sweeping => {}
    }
    drop(listener);
    // whoever holds the other end has ended already
    let _ = stopping.send(true);
    connections.drained(limits.stop_time).await;
}

/// Accepts without end.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Connections>,
    router: &Router,
    stopped: &watch::Receiver<bool>,
) {
    for number in 0.. {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_of_the_client(&error) => continue,
            Err(_) => {
                // no descriptor or no memory is left
                connections.close_oldest(|_| true);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // an answer goes out as it is, in one piece
        let _ = stream.set_nodelay(true);
        let open = connections.admit(number).await;
        tokio::spawn(serve(stream, open, router.clone(), stopped.clone()));
    }
}

/// Whether an error is about one client that has gone.
fn is_of_the_client(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

async fn serve(stream: TcpStream, open: Open, router: Router, mut stopped: watch::Receiver<bool>) {
    let connection = open.0.clone();
    let router = TowerToHyperService::new(router);
    let service = {
        let connection = connection.clone();
        service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            connection.enter(Phase::Body);
            request.extensions_mut().insert(connection.clone());
            let answer = router.call(request);
            let connection = connection.clone();
            async move {
                let answer = answer.await;
                connection.enter(Phase::Write);
                answer
            }
        })
    };
    let io = Watched { io: TokioIo::new(stream), connection: connection.clone() };
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER).max_header_size(HEAD_BYTES).header_read_timeout(None);
    let mut serving = std::pin::pin!(http.serve_connection(io, service));
    tokio::select! {
        // whatever ended it, there is nobody to tell
        _ = serving.as_mut() => return,
        () = connection.told_to_end() => return,
        _ = stopped.wait_for(|stopped| *stopped) => serving.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = serving => {}
        () = connection.told_to_end() => {}
    }
}

/// A socket that says what happens on it.
struct Watched {
    io: TokioIo<TcpStream>,
    connection: Arc<Connection>,
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        if self.connection.phase() == Phase::Idle {
            self.connection.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    /// Called when all of an answer was written: answers are in one piece.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        if self.connection.phase() == Phase::Write {
            self.connection.give_back();
            self.connection.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
