//! The generator of this process.
//!
//! A step reads one token of every row (or, where insertions are long, these in one block) and
//! draws a token for each row that has read all it holds. Rows that are paused keep their places;
//! places of rows that are over are given up when they are a quarter of the batch, or wanted by
//! others.
//!
//! **Memory.** `r` rows that share `c` columns hold `r (c t + s)` bytes, where `t` are a model's
//! bytes a token and `s` its bytes a row ([`StateSize`]). Where that is bounded, rows wait until
//! there is room; and when those inside grow beyond it, the youngest gives up its place, waits in
//! front of all others, and is read again from its ids. What it draws does not change, on some
//! backends but for rounding. A backend that keeps rows in blocks holds less where they share some,
//! and more for blocks that are begun.

use crate::batch::Engine;
use crate::device_sampling::{DeviceDraw, DrawnRow, draw_on_device};
use crate::read_back::read_back;
use crate::rows::{HeldRow, HeldRows};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use paretopo_generation::{
    Drawn, Event, GenerationError, GenerationSettings, GenerationStatistics, Generator, Generators,
    Points, Row, RowKey, entropy, likeliest, sample_allowed,
};
use paretopo_models::{CausalLm, bytes_sent, first_overflow, select_rows};
use paretopo_trajectory::TokenId;
use rayon::prelude::*;
use std::time::Instant;

/// Insertions longer than this are read in one block instead of one token a step.
const BLOCK_FROM: usize = 16;

/// Rows that a thread draws for at a time.
const DRAWN_TOGETHER: usize = 4;

/// Rows and the logits behind what each has read, `[rows, vocab_size]`.
type Read<B> = (Vec<RowKey>, Tensor<B, 2>);

/// Where tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplingPlace {
    /// Row by row in the host's memory, which is where a CPU backend has its logits.
    Host,
    /// By operations of the backend over all rows, so that logits stay on the device.
    Device,
}

/// What layers remember of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Bytes for each token.
    pub per_token: u64,
    /// Bytes however many tokens.
    pub per_row: u64,
}

impl StateSize {
    /// Bytes of `rows` that share `columns`.
    fn of(self, rows: usize, columns: usize) -> u64 {
        rows as u64 * (columns as u64 * self.per_token + self.per_row)
    }
}

/// Opens [`LocalGenerator`]s on one model.
#[derive(Debug)]
pub struct LocalGenerators<'a, B: Backend, M> {
    /// The policy.
    pub model: &'a M,
    /// Where it computes.
    pub device: &'a B::Device,
    /// Where tokens are drawn.
    pub place: SamplingPlace,
    /// What its layers remember.
    pub state_size: StateSize,
}

impl<B: Backend, M: CausalLm<B>> Generators for LocalGenerators<'_, B, M> {
    fn open(
        &self,
        settings: &GenerationSettings,
    ) -> Result<Box<dyn Generator + '_>, GenerationError> {
        Ok(Box::new(LocalGenerator {
            engine: match settings.recorded.experts {
                true => Engine::new(self.model, self.device).recording_experts(),
                false => Engine::new(self.model, self.device),
            },
            place: self.place,
            state_size: self.state_size,
            settings: settings.clone(),
            rows: HeldRows::new(),
            read: None,
            admitted: 0,
            statistics: GenerationStatistics::default(),
        }))
    }
}

/// A model in this process that draws tokens for the rows of one batch.
pub struct LocalGenerator<'a, B: Backend, M: CausalLm<B>> {
    engine: Engine<'a, B, M>,
    place: SamplingPlace,
    state_size: StateSize,
    settings: GenerationSettings,
    rows: HeldRows,
    /// Logits that are there already since their rows have just been admitted,
    /// `[keys, vocab_size]`.
    read: Option<Read<B>>,
    /// Rows admitted so far.
    admitted: u64,
    statistics: GenerationStatistics,
}

impl<B: Backend, M: CausalLm<B>> LocalGenerator<'_, B, M> {
    fn row(&mut self, key: RowKey) -> &mut HeldRow {
        self.rows.get_mut(&key).expect("the turn loop names rows that it had admitted")
    }

    /// Gives up the places of rows that are over, when they are many or others want them.
    fn forget_released(&mut self, waiting: usize) {
        let places = self.engine.keys();
        let over = places.iter().filter(|key| self.rows[*key].released).count();
        if over * 4 >= places.len() || (waiting > 0 && over * 8 >= self.settings.batch_size) {
            self.retire_released();
        }
    }

    fn retire_released(&mut self) {
        let rows = &mut self.rows;
        self.engine.retire(|key| rows[&key].released);
        rows.retain(|_, row| !row.released);
    }

    /// Whether one more row of `tokens` has room beside `rows` others.
    fn has_room(&self, rows: usize, columns: usize, tokens: usize) -> bool {
        let size = self.state_size.of(rows + 1, columns.max(tokens + 1));
        rows == 0 || self.settings.memory.is_none_or(|allowed| size <= allowed)
    }

    /// How many of the waiting rows, given by their lengths, there is room for.
    fn room_for(&self, lengths: impl Iterator<Item = usize>) -> usize {
        let places = self.engine.keys().len();
        let mut columns = self.engine.columns();
        let mut taken = 0;
        for tokens in lengths.take(self.settings.batch_size.max(1).saturating_sub(places)) {
            if !self.has_room(places + taken, columns, tokens) {
                break;
            }
            columns = columns.max(tokens + 1);
            taken += 1;
        }
        taken
    }

    /// # Errors
    /// When a row has no room even alone.
    fn require_room(&self, tokens: usize) -> Result<(), GenerationError> {
        let needed = self.state_size.of(1, tokens);
        match self.settings.memory {
            Some(allowed) if needed > allowed => {
                Err(GenerationError::NoRoom { tokens, needed, allowed })
            }
            _ => Ok(()),
        }
    }

    /// Reads rows that begin, or begin again.
    fn place(&mut self, keys: Vec<RowKey>) {
        let new: Vec<(RowKey, &[TokenId])> =
            keys.iter().map(|key| (*key, self.rows[key].ids.as_slice())).collect();
        let logits = self.engine.admit(&new);
        for key in &keys {
            let row = self.row(*key);
            row.read = row.ids.len();
            row.placed = true;
        }
        self.read = Some((keys, logits));
    }

    /// Makes room for `columns` more by taking the places of the youngest rows.
    fn evict_for(&mut self, columns: usize) -> Result<(), GenerationError> {
        let Some(allowed) = self.settings.memory else { return Ok(()) };
        loop {
            let places = self.engine.keys().len();
            let needed = self.state_size.of(places, self.engine.columns() + columns);
            if needed <= allowed || places == 0 {
                return Ok(());
            }
            // a row that is over costs nobody anything
            if self.engine.keys().iter().any(|key| self.rows[key].released) {
                self.retire_released();
                continue;
            }
            if places == 1 {
                let key = self.engine.keys()[0];
                self.require_room(self.rows[&key].ids.len())?;
                return Ok(());
            }
            let youngest = self.engine.keys().iter().max_by_key(|key| self.rows[*key].order);
            let youngest = *youngest.expect("there are at least two rows");
            self.engine.retire(|key| key == youngest);
            let row = self.row(youngest);
            row.placed = false;
            row.read = 0;
            self.statistics.evicted_rows += 1;
        }
    }

    /// Lets the model read what is unread. Returns rows and the logits behind what each has read,
    /// `[rows, vocab_size]`; `None` if nothing was to be read.
    fn advance(&mut self) -> Result<Option<Read<B>>, GenerationError> {
        let is_long = |row: &HeldRow| !row.released && row.unread().len() > BLOCK_FROM;
        let placed = self.engine.keys().iter().map(|key| &self.rows[key]);
        let longest = placed.filter(|row| is_long(row)).map(|row| row.unread().len()).max();
        self.evict_for(longest.unwrap_or(1))?;
        let long: Vec<RowKey> =
            self.engine.keys().iter().copied().filter(|key| is_long(&self.rows[key])).collect();
        if !long.is_empty() {
            let blocks: Vec<(RowKey, &[TokenId])> =
                long.iter().map(|key| (*key, self.rows[key].unread())).collect();
            let logits = self.engine.extend(&blocks);
            for key in &long {
                let row = self.row(*key);
                row.read = row.ids.len();
            }
            return Ok(Some((long, logits)));
        }
        let keys = self.engine.keys().to_vec();
        let next = |key: &RowKey| {
            let row = &self.rows[key];
            if row.released { None } else { row.unread().first().copied() }
        };
        let tokens: Vec<Option<TokenId>> = keys.iter().map(next).collect();
        if tokens.iter().all(Option::is_none) {
            return Ok(None);
        }
        let logits = self.engine.step(&tokens);
        let fed: Vec<usize> = (0..keys.len()).filter(|place| tokens[*place].is_some()).collect();
        let logits = select_rows(logits, &fed);
        let keys: Vec<RowKey> = fed.into_iter().map(|place| keys[place]).collect();
        for key in &keys {
            self.row(*key).read += 1;
        }
        Ok(Some((keys, logits)))
    }

    /// Does `work`, and counts what it sends to the device.
    fn counted<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let sent = bytes_sent();
        let done = work(self);
        self.statistics.bytes_to_device += bytes_sent() - sent;
        done
    }

    /// Gives places to rows that were evicted, then to waiting ones. How many of these.
    fn take_in(&mut self, waiting: &[Row]) -> Result<usize, GenerationError> {
        let mut evicted: Vec<RowKey> =
            self.rows.iter().filter(|(_, row)| !row.placed).map(|(key, _)| *key).collect();
        self.rows.retain(|_, row| row.placed || !row.released);
        evicted.retain(|key| self.rows.contains_key(key));
        evicted.sort_by_key(|key| self.rows[key].order);
        self.forget_released(waiting.len() + evicted.len());
        let lengths = evicted.iter().map(|key| self.rows[key].ids.len());
        let again = self.room_for(lengths.chain(waiting.iter().map(|row| row.ids.len())));
        if again == 0 {
            return Ok(0);
        }
        let first = again.min(evicted.len());
        let taken = again - first;
        let mut keys: Vec<RowKey> = evicted[..first].to_vec();
        for row in &waiting[..taken] {
            self.require_room(row.ids.len() + 1)?;
            self.rows.insert(row.key, HeldRow::new(row, self.admitted));
            self.admitted += 1;
            keys.push(row.key);
        }
        self.place(keys);
        Ok(taken)
    }

    /// A step: reads, and draws for the rows that have read all they hold.
    fn read_and_draw(&mut self) -> Result<Vec<Event>, GenerationError> {
        let read = match self.read.take() {
            Some(read) => Some(read),
            None => self.advance()?,
        };
        let held = self.state_size.of(self.engine.keys().len(), self.engine.columns());
        self.statistics.most_memory = self.statistics.most_memory.max(held);
        match read {
            Some((keys, logits)) => self.draw(keys, logits),
            None => Ok(Vec::new()),
        }
    }

    /// Draws a token for each row that has read all it holds and may draw.
    fn draw(
        &mut self,
        keys: Vec<RowKey>,
        logits: Tensor<B, 2>,
    ) -> Result<Vec<Event>, GenerationError> {
        let started = Instant::now();
        let ready = |key: &RowKey| {
            let row = &self.rows[key];
            row.draws && !row.released && row.unread().is_empty()
        };
        let places: Vec<usize> = (0..keys.len()).filter(|place| ready(&keys[*place])).collect();
        let keys: Vec<RowKey> = places.iter().map(|place| keys[*place]).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let logits = select_rows(logits, &places);
        let found = match self.place {
            SamplingPlace::Host => self.draw_here(&keys, logits),
            SamplingPlace::Device => self.draw_there(&keys, logits),
        };
        let mut events = Vec::with_capacity(found.len());
        for (key, drawn) in keys.into_iter().zip(found) {
            let sampled = self.require_sound(key, drawn.sampled, drawn.are_equal)?;
            let is_end = self.settings.end_ids.contains(&sampled.id);
            let row = self.row(key);
            row.push_drawn(sampled.id);
            row.left = row.left.saturating_sub(1);
            row.draws = !is_end && row.left > 0;
            events.push(Event::Drawn(Drawn {
                row: key,
                id: sampled.id,
                logprob: sampled.logprob,
                sampling_logprob: sampled.sampling_logprob,
                entropy: drawn.entropy,
                alternatives: drawn.alternatives,
                experts: self.engine.take_experts(key),
            }));
        }
        self.statistics.sampling_seconds += started.elapsed().as_secs_f64();
        Ok(events)
    }

    fn draw_here(&mut self, keys: &[RowKey], logits: Tensor<B, 2>) -> Vec<DrawnRow> {
        let vocab_size = logits.dims()[1];
        let values = read_back(logits, &mut self.statistics.bytes_to_host);
        let GenerationSettings { sampling, recorded, .. } = self.settings;
        let draw = |(key, logits): (&RowKey, &[f32])| {
            let row = &self.rows[key];
            let mut points = row.points.clone();
            let drawn = DrawnRow {
                sampled: sample_allowed(
                    logits,
                    row.ids.iter().copied(),
                    row.forbidden(),
                    &sampling,
                    &mut points,
                ),
                // where activations are too large, norms make zeros of them, and all logits are
                // equal
                are_equal: logits.iter().all(|logit| *logit == logits[0]),
                entropy: recorded.entropy.then(|| entropy(logits)),
                alternatives: likeliest(logits, recorded.alternatives),
            };
            (drawn, points)
        };
        // another thread is not asked for what this one does while it would wake up
        let drawn: Vec<(DrawnRow, Points)> =
            if keys.len() <= DRAWN_TOGETHER || rayon::current_num_threads() == 1 {
                keys.iter().zip(values.chunks(vocab_size)).map(draw).collect()
            } else {
                let rows = keys.par_iter().zip(values.par_chunks(vocab_size));
                rows.with_min_len(DRAWN_TOGETHER).map(draw).collect()
            };
        let keep = |(key, (drawn, points)): (&RowKey, (DrawnRow, Points))| {
            self.row(*key).points = points;
            drawn
        };
        keys.iter().zip(drawn).map(keep).collect()
    }

    fn draw_there(&mut self, keys: &[RowKey], logits: Tensor<B, 2>) -> Vec<DrawnRow> {
        let greedy = self.settings.sampling.temperature.get() == 0.0;
        let points: Vec<f32> = keys
            .iter()
            .map(|key| if greedy { 0.0 } else { self.row(*key).points.draw() })
            .collect();
        let earlier: Vec<&[TokenId]> =
            keys.iter().map(|key| self.rows[key].ids.as_slice()).collect();
        let forbidden: Vec<&[TokenId]> =
            keys.iter().map(|key| self.rows[key].forbidden()).collect();
        let settings = DeviceDraw {
            sampling: &self.settings.sampling,
            recorded: self.settings.recorded,
            earlier: &earlier,
            forbidden: &forbidden,
            points: &points,
        };
        draw_on_device(logits, &settings, &mut self.statistics.bytes_to_host)
    }

    /// # Errors
    /// When there is no token since logits are no numbers, or they are all equal by overflow.
    fn require_sound<T>(
        &self,
        key: RowKey,
        drawn: Option<T>,
        are_equal: bool,
    ) -> Result<T, GenerationError> {
        let ids = &self.rows[&key].ids;
        let place = (drawn.is_none() || are_equal)
            .then(|| first_overflow(self.engine.model, ids, &self.engine.device))
            .flatten();
        let what = if drawn.is_none() { "not finite" } else { "all equal by overflow" };
        match drawn {
            Some(drawn) if place.is_none() => Ok(drawn),
            _ => Err(GenerationError::NotFinite { row: key, what, tokens: ids.len(), place }),
        }
    }
}

impl<B: Backend, M: CausalLm<B>> Generator for LocalGenerator<'_, B, M> {
    fn expect(&mut self, rows: &[Row]) {
        self.counted(|generator| generator.engine.share(rows.iter().map(|row| &*row.ids)));
    }

    fn admit(&mut self, waiting: &[Row]) -> Result<usize, GenerationError> {
        self.counted(|generator| generator.take_in(waiting))
    }

    fn step(&mut self) -> Result<Vec<Event>, GenerationError> {
        self.counted(Self::read_and_draw)
    }

    fn pause(&mut self, row: RowKey, length: usize) {
        let row = self.row(row);
        debug_assert_eq!(row.ids.len(), length, "one token a step: nothing is drawn behind");
        row.draws = false;
    }

    fn extend(&mut self, row: RowKey, ids: &[TokenId]) {
        let row = self.row(row);
        row.ids.extend_from_slice(ids);
        row.draws = row.left > 0;
    }

    fn release(&mut self, row: RowKey) {
        self.row(row).released = true;
    }

    fn statistics(&self) -> GenerationStatistics {
        GenerationStatistics {
            tokens_read: self.engine.tokens_read,
            prefill_seconds: self.engine.prefill_seconds,
            decode_seconds: self.engine.decode_seconds,
            ..self.statistics
        }
    }
}
