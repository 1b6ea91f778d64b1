//! The generator: each row that draws has a thread that listens to a stream of its tokens.
//!
//! A step gives streams to rows that have none, waits a few milliseconds for what they bring, and
//! looks at their deadlines. A stream whose row was paused or released is told to end and never
//! waited for; what it still brings has a number that nobody knows any more.

use crate::error::{Failure, FailureKind};
use crate::protocol::{Finished, Turn};
use crate::rows::{HeldRow, Patience, Stream};
use crate::server::Trouble;
use crate::servers::Fleet;
use paretopo_generation::{
    Drawn, Event, GenerationError, GenerationSettings, GenerationStatistics, Generator, Row, RowKey,
};
use paretopo_trajectory::TokenId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long a step waits for something to come.
const WAITED: Duration = Duration::from_millis(5);
/// The longest pause before a row is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Rows whose tokens servers draw.
pub(crate) struct RemoteGenerator {
    fleet: Arc<Fleet>,
    settings: GenerationSettings,
    rows: BTreeMap<RowKey, HeldRow>,
    streams: u64,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    statistics: GenerationStatistics,
}

/// What a stream brings to its row.
struct Message {
    row: RowKey,
    /// Of the stream.
    number: u64,
    news: News,
}

enum News {
    Sent,
    Tokens(Vec<(TokenId, f32)>),
    Ended,
    Failed(Failure),
}

/// What a thread needs for a turn.
struct Asking {
    fleet: Arc<Fleet>,
    settings: GenerationSettings,
    server: usize,
    ids: Vec<TokenId>,
    budget: usize,
    seed: u64,
    avoiding: Vec<TokenId>,
    cancelled: Arc<AtomicBool>,
}

impl RemoteGenerator {
    pub(crate) fn new(fleet: Arc<Fleet>, settings: GenerationSettings) -> Self {
        let (sender, receiver) = channel();
        Self {
            fleet,
            settings,
            rows: BTreeMap::new(),
            streams: 0,
            sender,
            receiver,
            statistics: GenerationStatistics::default(),
        }
    }

    /// Gives streams to rows that draw and have none.
    fn begin_streams(&mut self) -> Result<(), GenerationError> {
        let now = Instant::now();
        let is_due = |row: &HeldRow| {
            row.draws && row.stream.is_none() && row.not_before.is_none_or(|time| time <= now)
        };
        let due: Vec<RowKey> =
            self.rows.iter().filter(|(_, row)| is_due(row)).map(|(key, _)| *key).collect();
        for key in due {
            let Some(row) = self.rows.get_mut(&key) else { continue };
            let Some(server) = self.fleet.enter(row.avoided) else { return Ok(()) };
            self.streams += 1;
            let (number, cancelled) = (self.streams, Arc::new(AtomicBool::new(false)));
            let avoiding = row.avoiding().to_vec();
            let asking = Asking {
                fleet: self.fleet.clone(),
                settings: self.settings.clone(),
                server,
                ids: row.ids.clone(),
                budget: if avoiding.is_empty() { row.left } else { 1 },
                seed: row.seed(),
                avoiding,
                cancelled: cancelled.clone(),
            };
            self.statistics.tokens_read += asking.ids.len() as u64;
            row.stream = Some(Stream {
                number,
                server,
                began: now,
                heard: now,
                is_sent: false,
                tokens: 0,
                cancelled,
            });
            let sender = self.sender.clone();
            let tell = move |news| sender.send(Message { row: key, number, news }).is_ok();
            let thread = std::thread::Builder::new().name("row".into());
            if let Err(error) = thread.spawn(move || asking.listen(&tell)) {
                return Err(GenerationError::Refused(format!(
                    "no thread for a row that a server draws for: {error}\nhint: lower \
                     `generator.concurrency`"
                )));
            }
        }
        Ok(())
    }

    /// What has come, after waiting for it if anything may.
    fn receive(&self) -> Vec<Message> {
        if self.rows.values().all(|row| !row.draws) {
            return Vec::new();
        }
        let first = self.receiver.recv_timeout(WAITED).ok();
        first.into_iter().chain(self.receiver.try_iter()).collect()
    }

    fn hear(&mut self, message: Message, events: &mut Vec<Event>) -> Result<(), GenerationError> {
        let Message { row: key, number, news } = message;
        let Some(row) = self.rows.get_mut(&key) else { return Ok(()) };
        let Some(stream) = row.stream.as_mut().filter(|own| own.number == number) else {
            return Ok(());
        };
        stream.heard = Instant::now();
        match news {
            News::Sent => stream.is_sent = true,
            News::Tokens(tokens) => {
                stream.tokens += tokens.len();
                self.take(key, tokens, events);
            }
            News::Ended if stream.tokens == 0 => {
                let failure = Failure::nonsense("a turn ended without a token");
                return self.fail(key, failure);
            }
            News::Ended => self.end_stream(key),
            News::Failed(failure) => return self.fail(key, failure),
        }
        Ok(())
    }

    fn take(&mut self, key: RowKey, tokens: Vec<(TokenId, f32)>, events: &mut Vec<Event>) {
        let greedy = self.settings.sampling.temperature.get() == 0.0;
        for (id, logprob) in tokens {
            let Some(row) = self.rows.get_mut(&key).filter(|row| row.draws) else { break };
            if !row.push(id, self.settings.end_ids.contains(&id)) {
                self.end_stream(key);
                return;
            }
            (row.failures, row.avoided) = (0, None);
            events.push(Event::Drawn(Drawn {
                row: key,
                id,
                logprob,
                // a server tells one number a token
                sampling_logprob: if greedy { 0.0 } else { logprob },
                entropy: None,
                alternatives: Vec::new(),
                experts: None,
            }));
        }
        if self.rows.get(&key).is_some_and(|row| !row.draws) {
            self.end_stream(key);
        }
    }

    fn end_stream(&mut self, key: RowKey) {
        if let Some(stream) = self.rows.get_mut(&key).and_then(|row| row.stream.take()) {
            self.fleet.leave(stream.server);
        }
    }

    /// A row's stream has failed: it gets another one after a pause, elsewhere if there is another.
    ///
    /// # Errors
    /// When that would change nothing, or was tried too often.
    fn fail(&mut self, key: RowKey, failure: Failure) -> Result<(), GenerationError> {
        let config = &self.fleet.config;
        let Some(row) = self.rows.get_mut(&key) else { return Ok(()) };
        row.avoided = row.stream.as_ref().map(|stream| stream.server);
        row.failures += 1;
        let is_last = failure.kind == FailureKind::Final || row.failures > config.retries;
        if is_last {
            let message = match failure.kind {
                FailureKind::Final => failure.message,
                _ => format!(
                    "servers failed a row {} times in a row without a token between; the last time \
                     {}",
                    row.failures, failure.message
                ),
            };
            return Err(GenerationError::Refused(message));
        }
        let doubled = 1 << (row.failures - 1).min(16);
        let pause = config.backoff_seconds.duration().saturating_mul(doubled).min(LONGEST_PAUSE);
        row.not_before = Some(Instant::now() + pause);
        self.end_stream(key);
        Ok(())
    }

    /// Ends streams that are silent for too long.
    fn look_at_deadlines(&mut self) -> Result<(), GenerationError> {
        let config = &self.fleet.config;
        let patience = Patience {
            // an update has a handful of steps
            before: config.update_seconds.duration().saturating_mul(6),
            first: config.first_token_seconds.duration(),
            next: config.token_seconds.duration(),
            all: config.request_seconds.duration(),
        };
        let overdue = |(key, row): (&RowKey, &HeldRow)| {
            let stream = row.stream.as_ref()?;
            Some((*key, stream.server, stream.overdue(patience)?))
        };
        let late: Vec<(RowKey, usize, String)> = self.rows.iter().filter_map(overdue).collect();
        for (key, server, reason) in late {
            let server = &self.fleet.servers[server];
            server.suspect();
            server.breaker.report(false);
            let failure = Failure::away(reason).of(&server.url);
            self.fail(key, failure)?;
        }
        Ok(())
    }
}

impl Generator for RemoteGenerator {
    fn admit(&mut self, waiting: &[Row]) -> Result<usize, GenerationError> {
        let room = self.settings.batch_size.saturating_sub(self.rows.len());
        let taken = room.min(waiting.len());
        for row in &waiting[..taken] {
            self.rows.insert(row.key, HeldRow::new(row));
        }
        Ok(taken)
    }

    fn step(&mut self) -> Result<Vec<Event>, GenerationError> {
        let started = Instant::now();
        self.begin_streams()?;
        let mut events = Vec::new();
        for message in self.receive() {
            self.hear(message, &mut events)?;
        }
        self.look_at_deadlines()?;
        self.statistics.decode_seconds += started.elapsed().as_secs_f64();
        Ok(events)
    }

    fn pause(&mut self, row: RowKey, length: usize) {
        self.end_stream(row);
        if let Some(row) = self.rows.get_mut(&row) {
            row.cut(length);
        }
    }

    fn extend(&mut self, row: RowKey, ids: &[TokenId]) {
        if let Some(row) = self.rows.get_mut(&row) {
            row.ids.extend_from_slice(ids);
            row.draws = row.left > 0;
        }
    }

    fn release(&mut self, row: RowKey) {
        self.end_stream(row);
        self.rows.remove(&row);
    }

    fn statistics(&self) -> GenerationStatistics {
        self.statistics
    }
}

impl Drop for RemoteGenerator {
    fn drop(&mut self) {
        let keys: Vec<RowKey> = self.rows.keys().copied().collect();
        keys.into_iter().for_each(|key| self.end_stream(key));
    }
}

impl Asking {
    /// Listens to the turn's stream to its end, or until nobody waits for it.
    fn listen(self, tell: &dyn Fn(News) -> bool) {
        let server = &self.fleet.servers[self.server];
        let heard = self.converse(tell);
        if self.cancelled.load(Ordering::Relaxed) {
            // what ends a stream that nobody waits for says nothing about its server
            return;
        }
        // a refusal of this one request is an answer, too
        let away = matches!(&heard, Err(failure) if failure.kind != FailureKind::Final);
        server.breaker.report(!away);
        if away {
            server.suspect();
        }
        let news = match heard {
            Ok(()) => News::Ended,
            Err(failure) => News::Failed(failure.of(&server.url)),
        };
        tell(news);
    }

    fn converse(&self, tell: &dyn Fn(News) -> bool) -> Result<(), Failure> {
        let fleet = &*self.fleet;
        let server = &fleet.servers[self.server];
        let held = fleet.held();
        if let Some(held) = held.as_ref().filter(|_| server.is_suspect()) {
            server.restore(held).map_err(|trouble| match trouble {
                Trouble::Failure(failure) => failure,
                Trouble::Stale(error) => Failure::last_word(error.to_string()),
            })?;
        }
        tell(News::Sent);
        let turn = Turn {
            ids: &self.ids,
            budget: self.budget,
            seed: self.seed,
            sampling: &self.settings.sampling,
            end_ids: &self.settings.end_ids,
            forbidden: &self.avoiding,
        };
        let (route, body) = server.turn(&turn, held.as_ref().map(|held| &held.weights));
        let limit = fleet.config.request_seconds.duration();
        let mut events = server.client.stream(&route, &body, limit)?;
        let mut count = 0;
        while let Some(event) = events.next()? {
            if self.cancelled.load(Ordering::Relaxed) {
                return Ok(());
            }
            let heard = fleet.protocol.heard(&event, count).map_err(Failure::nonsense)?;
            count += heard.tokens.len();
            self.require_possible(&heard.tokens, count)?;
            if !heard.tokens.is_empty() && !tell(News::Tokens(heard.tokens)) {
                return Ok(());
            }
            match heard.finished {
                None => {}
                Some(Finished::Whole) => return Ok(()),
                Some(Finished::GivenUp(said)) => {
                    return Err(Failure::away(format!("a turn was given up ({said})")));
                }
            }
        }
        Err(Failure::away("a stream of tokens ended before its turn"))
    }

    /// # Errors
    /// When there are more tokens than were asked for, or one is of another vocabulary.
    fn require_possible(&self, tokens: &[(TokenId, f32)], count: usize) -> Result<(), Failure> {
        if count > self.budget {
            let message = format!("{count} tokens come where {} are allowed", self.budget);
            return Err(Failure::nonsense(message));
        }
        let size = self.fleet.vocab_size;
        match tokens.iter().find(|(id, _)| *id as usize >= size) {
            None => Ok(()),
            Some((id, _)) => Err(Failure::last_word(format!(
                "the id {id} is drawn, but the policy knows {size} tokens (`vocab_size`)\nhint: \
                 serve the checkpoint of `policy`"
            ))),
        }
    }
}
