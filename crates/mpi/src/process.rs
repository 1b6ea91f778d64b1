//! One MPI process, as a rank.

use mpi::point_to_point::Status;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, MatchedReceiveVec, Source};
use mpi::{Rank, Threading};
use paretopo_collective::{Collective, CollectiveError};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of a message's piece.
const PIECE: usize = 1 << 30;
/// So long it is looked again and again, and then after pauses.
const EAGER: Duration = Duration::from_micros(500);
const PAUSE: Duration = Duration::from_micros(100);

/// A process of an MPI job.
#[derive(Debug)]
pub struct Mpi {
    rank: usize,
    ranks: usize,
    calls: Mutex<Sender<Call>>,
    thread: JoinHandle<()>,
}

/// What the thread that talks to the library is asked for.
enum Call {
    Send { to: usize, bytes: Vec<u8>, sent: Sender<()> },
    Receive { from: usize, received: Sender<Vec<u8>> },
    Abort(i32),
    End,
}

impl Mpi {
    /// Joins the job that started this process.
    ///
    /// # Errors
    /// When the library does not start.
    pub fn join() -> Result<Self, String> {
        let (calls, called) = channel();
        let (tell, told) = channel();
        let work = move || {
            let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
                return;
            };
            let world = universe.world();
            let place = (world.rank() as usize, world.size() as usize);
            if tell.send(place).is_ok() {
                serve(&world, &called);
            }
        };
        let thread = std::thread::Builder::new().name("mpi".into()).spawn(work);
        let thread = thread.map_err(|error| format!("cannot start a thread for MPI: {error}"))?;
        let (rank, ranks) = told.recv().map_err(|_| "the MPI library does not start".to_owned())?;
        Ok(Self { rank, ranks, calls: Mutex::new(calls), thread })
    }

    /// Leaves the job in good order; waits until all ranks do.
    pub fn leave(self) {
        if self.call(Call::End).is_ok() {
            // one that panicked has left as well
            let _ = self.thread.join();
        }
    }

    /// Ends the whole job with this exit code.
    pub fn abort(&self, code: i32) {
        if self.call(Call::Abort(code)).is_ok() {
            // the job's end is this process's
            std::thread::sleep(Duration::from_secs(10));
        }
    }

    fn call(&self, call: Call) -> Result<(), ()> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.send(call).map_err(drop)
    }

    fn lost(rank: usize) -> CollectiveError {
        CollectiveError::Lost { rank, reason: "the MPI library has ended".into() }
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn send(&self, to: usize, bytes: Vec<u8>) -> Result<(), CollectiveError> {
        let (sent, done) = channel();
        self.call(Call::Send { to, bytes, sent }).map_err(|()| Self::lost(to))?;
        done.recv().map_err(|_| Self::lost(to))
    }

    fn receive(&self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        let (received, done) = channel();
        self.call(Call::Receive { from, received }).map_err(|()| Self::lost(from))?;
        done.recv().map_err(|_| Self::lost(from))
    }
}

/// Makes calls until there are no more. The library itself ends the job when a process is lost.
fn serve(world: &SimpleCommunicator, calls: &Receiver<Call>) {
    for call in calls {
        match call {
            Call::Send { to, bytes, sent } => {
                send(world, to as Rank, &bytes);
                // who asked may be gone
                let _ = sent.send(());
            }
            Call::Receive { from, received } => {
                let _ = received.send(receive(world, from as Rank));
            }
            Call::Abort(code) => world.abort(code),
            Call::End => return,
        }
    }
}

fn send(world: &SimpleCommunicator, to: Rank, bytes: &[u8]) {
    let length = (bytes.len() as u64).to_le_bytes();
    send_piece(world, to, &length);
    bytes.chunks(PIECE).for_each(|piece| send_piece(world, to, piece));
}

fn send_piece(world: &SimpleCommunicator, to: Rank, piece: &[u8]) {
    mpi::request::scope(|scope| {
        let mut request = Some(world.process_at_rank(to).immediate_send(scope, piece));
        wait_for(|| match request.take()?.test() {
            Ok(_) => Some(()),
            Err(pending) => {
                request = Some(pending);
                None
            }
        });
    });
}

fn receive(world: &SimpleCommunicator, from: Rank) -> Vec<u8> {
    let header = receive_piece(world, from);
    let length = header.try_into().map_or(0, u64::from_le_bytes) as usize;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        bytes.append(&mut receive_piece(world, from));
    }
    bytes
}

fn receive_piece(world: &SimpleCommunicator, from: Rank) -> Vec<u8> {
    let found = wait_for(|| world.process_at_rank(from).immediate_matched_probe());
    let (piece, _): (Vec<u8>, Status) = found.matched_receive_vec();
    piece
}

/// Looks until there is something, at first without a pause.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        match started.elapsed() < EAGER {
            true => std::thread::yield_now(),
            false => std::thread::sleep(PAUSE),
        }
    }
}
