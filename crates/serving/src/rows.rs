//! A row whose tokens are drawn elsewhere: what it holds, and the stream it waits for.

use paretopo_generation::{ForbiddenText, Row, Written};
use paretopo_trajectory::{TokenId, well_mixed};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A row of a generator.
pub(crate) struct HeldRow {
    pub(crate) ids: Vec<TokenId>,
    seed: u64,
    /// Tokens that were drawn of it.
    drawn: usize,
    /// Tokens that it may still draw.
    pub(crate) left: usize,
    pub(crate) draws: bool,
    forbidden: Option<Forbidden>,
    pub(crate) stream: Option<Stream>,
    /// Without a token between.
    pub(crate) failures: u32,
    /// Before which it is not asked for again.
    pub(crate) not_before: Option<Instant>,
    /// The server that failed it.
    pub(crate) avoided: Option<usize>,
}

/// What a row must not write.
struct Forbidden {
    text: Arc<ForbiddenText>,
    written: Vec<Written>,
    /// Whether the next token would have completed it, and is drawn anew among the others.
    is_due: bool,
}

/// A request that is under way.
pub(crate) struct Stream {
    pub(crate) number: u64,
    pub(crate) server: usize,
    pub(crate) began: Instant,
    /// When it brought something.
    pub(crate) heard: Instant,
    /// Whether it was sent; before that, a server that has failed may have to get its weights.
    pub(crate) is_sent: bool,
    pub(crate) tokens: usize,
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// How long a stream may be silent.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) before: Duration,
    pub(crate) first: Duration,
    pub(crate) next: Duration,
    pub(crate) all: Duration,
}

impl Stream {
    /// What is overdue.
    pub(crate) fn overdue(&self, patience: Patience) -> Option<String> {
        let silent = self.heard.elapsed();
        let (limit, what) = match (self.is_sent, self.tokens) {
            (false, _) => (patience.before, "it did not take its weights"),
            (true, 0) => (patience.first, "no first token came"),
            (true, _) => (patience.next, "no further token came"),
        };
        if silent > limit {
            return Some(format!("{what} within {:.1} s", limit.as_secs_f64()));
        }
        (self.began.elapsed() > patience.before + patience.all)
            .then(|| format!("a turn took more than {:.1} s", patience.all.as_secs_f64()))
    }
}

impl HeldRow {
    pub(crate) fn new(row: &Row) -> Self {
        let forbidden = row.forbidden.clone().map(|text| Forbidden {
            text,
            written: vec![Written::default()],
            is_due: false,
        });
        Self {
            ids: row.ids.to_vec(),
            seed: row.seed,
            drawn: row.drawn,
            left: row.budget,
            draws: row.budget > 0,
            forbidden,
            stream: None,
            failures: 0,
            not_before: None,
            avoided: None,
        }
    }

    /// Of what it draws next: tokens of a seed that depends on those drawn before.
    pub(crate) fn seed(&self) -> u64 {
        well_mixed(self.seed.wrapping_add(well_mixed(self.drawn as u64 ^ 0x5e5_510)))
    }

    /// Ids that the next token must not be, if it is drawn alone.
    pub(crate) fn avoiding(&self) -> &[TokenId] {
        match &self.forbidden {
            Some(own) if own.is_due => own.text.completing(own.state()),
            _ => &[],
        }
    }

    /// Takes a token; `false` if it must not be drawn.
    pub(crate) fn push(&mut self, id: TokenId, is_end: bool) -> bool {
        if let Some(own) = &mut self.forbidden {
            if own.text.completing(own.state()).contains(&id) {
                own.is_due = true;
                return false;
            }
            let behind = own.text.behind(own.state(), id);
            own.written.push(behind);
            own.is_due = false;
        }
        self.ids.push(id);
        self.drawn += 1;
        self.left -= 1;
        self.draws = !is_end && self.left > 0;
        true
    }

    /// Forgets what was drawn behind the first `length` ids.
    pub(crate) fn cut(&mut self, length: usize) {
        let forgotten = self.ids.len().saturating_sub(length);
        self.ids.truncate(length);
        self.drawn -= forgotten;
        self.left += forgotten;
        if let Some(own) = &mut self.forbidden {
            let kept = own.written.len().saturating_sub(forgotten).max(1);
            own.written.truncate(kept);
        }
        self.draws = false;
        self.stream = None;
    }
}

impl Forbidden {
    fn state(&self) -> Written {
        self.written.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(forbidden: Option<Arc<ForbiddenText>>) -> HeldRow {
        let ids = vec![9].into();
        HeldRow::new(&Row { key: 0, ids, seed: 7, drawn: 0, budget: 3, forbidden })
    }

    #[test]
    fn a_row_counts_what_it_draws_and_what_is_forgotten() {
        let mut row = row(None);
        let first = row.seed();
        assert!(row.push(1, false) && row.push(2, false));
        assert_eq!((row.left, row.draws), (1, true));
        let third = row.seed();
        row.cut(2);
        assert_eq!((row.ids.as_slice(), row.left, row.draws), ([9, 1].as_slice(), 2, false));
        assert!(first != third && row.seed() != third && row.seed() != first);
        assert!(row.push(4, true));
        assert!(!row.draws);
    }

    #[test]
    fn a_token_that_would_complete_what_is_forbidden_is_drawn_anew() {
        let vocabulary = ["a", "<", "s>", ">"].map(str::to_owned);
        let mut row = row(Some(Arc::new(ForbiddenText::new("<s>", vocabulary).unwrap())));
        assert!(row.push(1, false));
        assert!(row.avoiding().is_empty());
        assert!(!row.push(2, false));
        assert_eq!((row.ids.as_slice(), row.avoiding()), ([9, 1].as_slice(), [2].as_slice()));
        assert!(row.push(0, false));
        // behind `<a` it completes nothing
        assert!(row.avoiding().is_empty() && row.push(2, false));
    }
}
