//! A generator without a model: the next token's logits are a function of a row's ids. It draws as
//! every generator must, from the row's points, but answers in chunks, makes one wait, loses itself
//! and lets single rows fail. Shared with `fuzz/fuzz_targets/turn_loop.rs`.

use paretopo_generation::{
    Drawn, Event, GenerationError, GenerationSettings, GenerationStatistics, Generator, Generators,
    Points, Row, RowKey, entropy, likeliest, sample,
};
use paretopo_trajectory::TokenId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a scripted generator behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// Tokens of a row that come at once.
    pub(crate) chunk: usize,
    /// Steps that bring nothing before each that brings something.
    pub(crate) delay: usize,
    /// Steps after which a generator is lost with all its rows.
    pub(crate) lost_after: usize,
    /// A row that fails when it has so many ids.
    pub(crate) failing: Option<(RowKey, usize)>,
}

impl Default for Manners {
    fn default() -> Self {
        Self { chunk: 1, delay: 0, lost_after: usize::MAX, failing: None }
    }
}

/// Opens scripted generators.
pub(crate) struct ScriptedGenerators<L> {
    pub(crate) logits: L,
    pub(crate) manners: Manners,
    /// Generators opened so far.
    pub(crate) opened: AtomicUsize,
}

impl<L: Fn(&[TokenId]) -> Vec<f32> + Sync> ScriptedGenerators<L> {
    pub(crate) fn new(logits: L, manners: Manners) -> Self {
        Self { logits, manners, opened: AtomicUsize::new(0) }
    }
}

struct Held {
    ids: Vec<TokenId>,
    seed: u64,
    drawn: usize,
    budget: usize,
    draws: bool,
}

struct Scripted<'a> {
    logits: &'a (dyn Fn(&[TokenId]) -> Vec<f32> + Sync),
    manners: &'a Manners,
    settings: GenerationSettings,
    rows: BTreeMap<RowKey, Held>,
    steps: usize,
}

impl<L: Fn(&[TokenId]) -> Vec<f32> + Sync> Generators for ScriptedGenerators<L> {
    fn open(
        &self,
        settings: &GenerationSettings,
    ) -> Result<Box<dyn Generator + '_>, GenerationError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Scripted {
            logits: &self.logits,
            manners: &self.manners,
            settings: settings.clone(),
            rows: BTreeMap::new(),
            steps: 0,
        }))
    }
}

impl Scripted<'_> {
    fn draw(&self, held: &mut Held, row: RowKey) -> Drawn {
        let logits = (self.logits)(&held.ids);
        let mut points = Points::new(held.seed, held.drawn);
        let earlier = held.ids.iter().copied();
        let drawn = sample(&logits, earlier, &self.settings.sampling, &mut points).unwrap();
        held.ids.push(drawn.id);
        held.drawn += 1;
        held.budget -= 1;
        held.draws = held.budget > 0 && !self.settings.end_ids.contains(&drawn.id);
        Drawn {
            row,
            id: drawn.id,
            logprob: drawn.logprob,
            sampling_logprob: drawn.sampling_logprob,
            entropy: self.settings.recorded.entropy.then(|| entropy(&logits)),
            alternatives: likeliest(&logits, self.settings.recorded.alternatives),
            experts: None,
        }
    }
}

impl Generator for Scripted<'_> {
    fn admit(&mut self, waiting: &[Row]) -> Result<usize, GenerationError> {
        let room = self.settings.batch_size.saturating_sub(self.rows.len());
        let taken = room.min(waiting.len());
        for row in &waiting[..taken] {
            let ids = row.ids.to_vec();
            let held =
                Held { ids, seed: row.seed, drawn: row.drawn, budget: row.budget, draws: true };
            assert!(self.rows.insert(row.key, held).is_none(), "a row is admitted once");
        }
        Ok(taken)
    }

    fn step(&mut self) -> Result<Vec<Event>, GenerationError> {
        self.steps += 1;
        if self.steps > self.manners.lost_after {
            return Err(GenerationError::Lost("the script says so".into()));
        }
        if !self.steps.is_multiple_of(self.manners.delay + 1) {
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        let mut rows = std::mem::take(&mut self.rows);
        rows.retain(|key, held| {
            for _ in 0..self.manners.chunk {
                if self.manners.failing.is_some_and(|(row, at)| row == *key && held.ids.len() >= at)
                {
                    let reason = "this row cannot go on".into();
                    events.push(Event::Failed { row: *key, reason });
                    return false;
                }
                if held.draws {
                    events.push(Event::Drawn(self.draw(held, *key)));
                }
            }
            true
        });
        self.rows = rows;
        Ok(events)
    }

    fn pause(&mut self, row: RowKey, length: usize) {
        let held = self.rows.get_mut(&row).expect("a row that is there");
        let forgotten = held.ids.len() - length;
        held.ids.truncate(length);
        held.drawn -= forgotten;
        held.budget += forgotten;
        held.draws = false;
    }

    fn extend(&mut self, row: RowKey, ids: &[TokenId]) {
        let held = self.rows.get_mut(&row).expect("a row that is there");
        assert!(!held.draws, "only paused rows are extended");
        held.ids.extend_from_slice(ids);
        held.draws = held.budget > 0;
    }

    fn release(&mut self, row: RowKey) {
        self.rows.remove(&row).expect("a row is released once");
    }

    fn statistics(&self) -> GenerationStatistics {
        GenerationStatistics::default()
    }
}
