//! Numbered messages over a socket, where the other side may be hostile.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | number of the exchange, little endian |
//! | 4 | length of the body in bytes, little endian |
//! | length | body |
//!
//! The length comes before the body and is held against a bound before anything is read, so that
//! the reader's memory does not depend on what is sent. Every message has a deadline, in both
//! directions. A socket and not a pipe: it cannot be opened a second time through `/proc`.

use crate::conversation::WorkerFailure;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Bytes before a body.
pub(crate) const HEADER: usize = 12;
/// Descriptors that one message may carry.
const MOST_DESCRIPTORS: usize = 4;
/// How much room is made for a body before any of it has arrived.
const PIECE: usize = 64 * 1024;

/// The bytes before a body.
///
/// # Errors
/// When the body is longer than a header can say (4 GiB).
pub(crate) fn header(number: u64, body: usize) -> std::io::Result<[u8; HEADER]> {
    let length = u32::try_from(body).map_err(std::io::Error::other)?;
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&number.to_le_bytes());
    header[8..].copy_from_slice(&length.to_le_bytes());
    Ok(header)
}

/// The number and the length that a header says.
pub(crate) fn parsed(header: [u8; HEADER]) -> (u64, usize) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = header;
    let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    (number, u32::from_le_bytes([i, j, k, l]) as usize)
}

/// Sends a message, and descriptors with it (at most four).
pub(crate) fn send(
    stream: &UnixStream,
    number: u64,
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
    deadline: Instant,
) -> Result<(), WorkerFailure> {
    let header = header(number, body.len()).map_err(|_| WorkerFailure::Misbehaved)?;
    let message = [&header[..], body].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(WorkerFailure::Misbehaved);
    }
    stream.set_write_timeout(Some(left(deadline)?)).map_err(|_| WorkerFailure::Died)?;
    let first = [IoSlice::new(&message)];
    let sent = loop {
        match sendmsg(stream, &first, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => break sent.map_err(|error| failure(&error.into()))?,
        }
    };
    // the rest, if the socket's buffer was too small for all of it
    let mut rest = &message[sent..];
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?)).map_err(|_| WorkerFailure::Died)?;
        match (&mut &*stream).write(rest) {
            Ok(0) => return Err(WorkerFailure::Died),
            Ok(sent) => rest = &rest[sent..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failure(&error)),
        }
    }
    Ok(())
}

/// The next message: its number and its body, of at most `most` bytes.
pub(crate) fn receive(
    stream: &UnixStream,
    most: usize,
    deadline: Instant,
) -> Result<(u64, Vec<u8>), WorkerFailure> {
    let mut header = [0; HEADER];
    fill(stream, &mut header, deadline)?;
    let (number, length) = parsed(header);
    if length > most {
        return Err(WorkerFailure::Misbehaved);
    }
    let mut body = Vec::new();
    while body.len() < length {
        let have = body.len();
        body.resize(length.min(have + PIECE), 0);
        fill(stream, &mut body[have..], deadline)?;
    }
    Ok((number, body))
}

fn fill(stream: &UnixStream, mut room: &mut [u8], deadline: Instant) -> Result<(), WorkerFailure> {
    while !room.is_empty() {
        stream.set_read_timeout(Some(left(deadline)?)).map_err(|_| WorkerFailure::Died)?;
        match (&mut &*stream).read(room) {
            Ok(0) => return Err(WorkerFailure::Died),
            Ok(read) => room = &mut room[read..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failure(&error)),
        }
    }
    Ok(())
}

/// Time until a deadline, which a socket can be given: at least a microsecond.
fn left(deadline: Instant) -> Result<Duration, WorkerFailure> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < Duration::from_micros(1) { Err(WorkerFailure::Late) } else { Ok(left) }
}

fn failure(error: &std::io::Error) -> WorkerFailure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => WorkerFailure::Late,
        _ => WorkerFailure::Died,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let body = vec![7; 300_000];
        std::thread::scope(|scope| {
            scope.spawn(|| send(&ours, u64::MAX - 1, &body, &[], soon()).unwrap());
            let (number, received) = receive(&theirs, 300_000, soon()).unwrap();
            assert_eq!(number, u64::MAX - 1);
            assert!(received == body);
        });
    }

    /// 2^32 - 1 bytes are announced, none is sent: nothing is read, no room is made.
    #[test]
    fn an_announced_length_beyond_the_bound_is_refused_unread() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&[1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]).unwrap();
        assert_eq!(receive(&theirs, 1 << 20, soon()).unwrap_err(), WorkerFailure::Misbehaved);
    }

    /// One byte each 20 ms: the deadline is of the whole message, not of the next byte.
    #[test]
    fn a_message_that_trickles_is_late() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let trickle = std::thread::spawn(move || {
            for byte in header(1, 1 << 20).unwrap().into_iter().chain([0; 1000]) {
                if ours.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let deadline = Instant::now() + Duration::from_millis(400);
        assert_eq!(receive(&theirs, 1 << 20, deadline).unwrap_err(), WorkerFailure::Late);
        drop(theirs);
        trickle.join().unwrap();
    }

    /// The socket's buffer holds less than 8 MiB, and nobody reads.
    #[test]
    fn a_message_that_nobody_reads_is_late() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_millis(100);
        let sent = send(&ours, 1, &vec![0; 8 << 20], &[], deadline);
        assert_eq!(sent.unwrap_err(), WorkerFailure::Late);
    }
}
