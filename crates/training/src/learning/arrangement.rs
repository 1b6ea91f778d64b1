//! How the sequences of a micro-batch are read: whole, or their prompts once and what follows them
//! in passes of its own.
//!
//! A pass pads its rows to the longest, so those of similar length share one: that is as little
//! padding as long rows of several sequences have, and no sequence needs a mask to hide others from
//! it. With `P` prompts padded to `p`, from which `R` rows go on in passes of `r` rows padded to `s`,
//! that costs
//!
//! `P p + sum of r s + R p / 8` instead of `sum of r (p + s)`,
//!
//! where the last term stands for what each row remembers of its prompt: keys and values, which are
//! less than an eighth of what a layer keeps of a token that it reads. Only numbers of tokens are
//! known here, nothing of the model.

use super::TrainingSequence;
use std::collections::HashMap;

/// A pass costs as much time as so many tokens: it adds to the gradient of every weight.
const PASS: usize = 64;

/// So many remembered tokens take as much memory as one that is read, or less.
pub(crate) const REMEMBERED: usize = 8;

/// The passes of a micro-batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrangement {
    /// The rows whose prompts are read for all others that begin alike; none if rows are read
    /// whole.
    pub(crate) prompts: Vec<usize>,
    /// For each row its prompt's place among `prompts`.
    pub(crate) origins: Vec<usize>,
    /// The rows of each pass, behind that of the prompts. One that has nothing to read behind its
    /// prompt is in none.
    pub(crate) passes: Vec<Vec<usize>>,
    /// Tokens that are held, padding included.
    pub(crate) tokens: usize,
    /// The longest prompt and the longest of what follows one.
    pub(crate) columns: usize,
}

/// The ids that a model must read to predict every trained one; one at least, if there is one.
pub(crate) fn read(sequence: &TrainingSequence) -> &[u32] {
    let last = sequence.mask.iter().rposition(|trained| *trained).unwrap_or(0);
    &sequence.ids[..last.max(1).min(sequence.ids.len())]
}

/// What is in front of the first trained id.
pub(crate) fn prompt(sequence: &TrainingSequence) -> &[u32] {
    let read = read(sequence);
    let first = sequence.mask.iter().position(|trained| *trained).unwrap_or(0);
    &read[..first.max(1).min(read.len())]
}

/// Ids to read behind the prompt.
fn behind(sequence: &TrainingSequence) -> usize {
    read(sequence).len() - prompt(sequence).len()
}

impl Arrangement {
    /// The cheaper one.
    pub(crate) fn of(rows: &[&TrainingSequence]) -> Self {
        let (whole, shared) = (Self::whole(rows), Self::shared(rows));
        // the prompts' pass is one more
        let further = PASS * shared.passes.len();
        let apart = PASS * whole.passes.len().saturating_sub(1);
        if shared.tokens + further < whole.tokens + apart { shared } else { whole }
    }

    /// Every row by itself.
    pub(crate) fn whole(rows: &[&TrainingSequence]) -> Self {
        let length = |row: usize| read(rows[row]).len();
        let (passes, tokens) = passes((0..rows.len()).collect(), length);
        let columns = passes.first().map_or(0, |pass| length(pass[0]));
        Self { passes, tokens, columns, ..Self::default() }
    }

    /// Every prompt once.
    pub(crate) fn shared(rows: &[&TrainingSequence]) -> Self {
        let (mut prompts, mut known) = (Vec::new(), HashMap::new());
        let mut origins = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            origins.push(*known.entry(prompt(row)).or_insert_with(|| {
                prompts.push(place);
                prompts.len() - 1
            }));
        }
        let longest = prompts.iter().map(|place| prompt(rows[*place]).len()).max().unwrap_or(0);
        let length = |row: usize| behind(rows[row]);
        let going_on = (0..rows.len()).filter(|row| length(*row) > 0).collect();
        let (passes, read) = passes(going_on, length);
        let remembered = (rows.len() * longest).div_ceil(REMEMBERED);
        Self {
            tokens: prompts.len() * longest + read + remembered,
            columns: longest + passes.first().map_or(0, |pass| length(pass[0])),
            prompts,
            origins,
            passes,
        }
    }

    /// Whether prompts are read by themselves.
    pub(crate) fn is_shared(&self) -> bool {
        !self.prompts.is_empty()
    }
}

/// Rows of similar length together, the longest first, and the tokens that they are padded to.
fn passes(mut rows: Vec<usize>, length: impl Fn(usize) -> usize) -> (Vec<Vec<usize>>, usize) {
    rows.sort_by_key(|row| std::cmp::Reverse(length(*row)));
    let lengths: Vec<usize> = rows.iter().map(|row| length(*row)).collect();
    let passes: Vec<Vec<usize>> =
        alike(&lengths).into_iter().map(|pass| rows[pass].to_vec()).collect();
    let tokens = passes.iter().map(|pass| pass.len() * length(pass[0])).sum();
    (passes, tokens)
}

/// Cuts descending lengths so that all parts, each padded to its longest, cost the least, with
/// [`PASS`] for each: `cost(i) = min over j of cost(j) + (i - j) length(j) + PASS`.
fn alike(lengths: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut best = vec![(0, 0)];
    for end in 1..=lengths.len() {
        let cost = |start: usize| best[start].0 + (end - start) * lengths[start] + PASS;
        best.push((0..end).map(|start| (cost(start), start)).min().expect("a part begins at 0"));
    }
    let mut parts = Vec::new();
    let mut end = lengths.len();
    while end > 0 {
        let start = best[end].1;
        parts.push(start..end);
        end = start;
    }
    parts.reverse();
    parts
}

/// Groups sequences so that each group holds at most `tokens` ids, padding included (or a single
/// longer sequence). Sequences that share a prompt stay together as far as they fit, the others lie
/// with those of similar length. Who has nothing to train on is in none.
pub(crate) fn micro_batches(sequences: &[TrainingSequence], tokens: usize) -> Vec<Vec<usize>> {
    let of = |places: &[usize]| {
        let rows: Vec<&TrainingSequence> = places.iter().map(|place| &sequences[*place]).collect();
        Arrangement::of(&rows)
    };
    let (mut families, alone): (Vec<_>, Vec<_>) =
        families(sequences).into_iter().partition(|family| of(family).is_shared());
    families.sort_by_key(|family| std::cmp::Reverse(prompt(&sequences[family[0]]).len()));
    let longest = sequences.iter().map(|sequence| sequence.ids.len()).max().unwrap_or(0);
    let fits = |found: &Arrangement| found.tokens <= tokens && found.columns <= longest;
    let (mut groups, mut open) = (Vec::new(), Vec::new());
    for mut family in families {
        let joined = [open.as_slice(), &family].concat();
        let found = of(&joined);
        if fits(&found) && found.is_shared() {
            open = joined;
            continue;
        }
        groups.push(std::mem::take(&mut open));
        family.sort_by_key(|place| std::cmp::Reverse(behind(&sequences[*place])));
        for place in family {
            let joined = [open.as_slice(), &[place]].concat();
            if !open.is_empty() && !fits(&of(&joined)) {
                groups.push(std::mem::replace(&mut open, vec![place]));
            } else {
                open = joined;
            }
        }
    }
    groups.push(open);
    groups.retain(|group| !group.is_empty());
    groups.extend(of_similar_length(sequences, alone.concat(), tokens));
    groups
}

/// The places of the sequences that begin with the same prompt, in their order.
fn families(sequences: &[TrainingSequence]) -> Vec<Vec<usize>> {
    let (mut families, mut known) = (Vec::<Vec<usize>>::new(), HashMap::new());
    for (place, sequence) in sequences.iter().enumerate() {
        if !sequence.mask.contains(&true) {
            continue;
        }
        let family = *known.entry(prompt(sequence)).or_insert_with(|| {
            families.push(Vec::new());
            families.len() - 1
        });
        families[family].push(place);
    }
    families
}

fn of_similar_length(
    sequences: &[TrainingSequence],
    mut places: Vec<usize>,
    tokens: usize,
) -> Vec<Vec<usize>> {
    places.sort_by_key(|place| (std::cmp::Reverse(read(&sequences[*place]).len()), *place));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut open: Vec<&TrainingSequence> = Vec::new();
    for place in places {
        open.push(&sequences[place]);
        match groups.last_mut() {
            Some(group) if Arrangement::whole(&open).tokens <= tokens => group.push(place),
            _ => {
                open = vec![&sequences[place]];
                groups.push(vec![place]);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sampled` trained ids behind a prompt of `length` ids, all of which are `prompt`.
    fn rollout(prompt: u32, length: usize, sampled: usize) -> TrainingSequence {
        TrainingSequence {
            ids: std::iter::repeat_n(prompt, length).chain(0..sampled as u32).collect(),
            mask: (0..length + sampled).map(|place| place >= length).collect(),
            ..TrainingSequence::default()
        }
    }

    fn of(sequences: &[TrainingSequence]) -> Arrangement {
        Arrangement::of(&sequences.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_prompt_is_read_once_where_that_is_less_work() {
        // 2 * (100 + 9) whole; 100 + 2 * 9 + 2 * 100 / 8 = 143, and 64 for the pass, 207
        let found = of(&[rollout(7, 100, 10), rollout(7, 100, 10)]);
        assert_eq!(found.prompts, [0]);
        assert_eq!(found.passes, [vec![0, 1]]);
        assert_eq!((found.tokens, found.columns), (143, 109));
        // 80 + 18 + 20 + 64 = 182 is more than 2 * 89
        let found = of(&[rollout(7, 80, 10), rollout(7, 80, 10)]);
        assert_eq!(found, Arrangement::whole(&[&rollout(7, 80, 10), &rollout(7, 80, 10)]));
        assert_eq!((found.tokens, found.columns), (178, 89));
        // other prompts have nothing in common
        assert!(!of(&[rollout(7, 100, 10), rollout(8, 100, 10)]).is_shared());
    }

    #[test]
    fn a_row_that_reads_nothing_behind_its_prompt_is_in_no_pass() {
        let found = of(&[rollout(7, 100, 1), rollout(7, 100, 5), rollout(7, 100, 1)]);
        assert_eq!(found.origins, [0, 0, 0]);
        assert_eq!(found.passes, [vec![1]]);
        // 100 + 4 + ceil(3 * 100 / 8)
        assert_eq!(found.tokens, 142);
        assert!(of(&[rollout(7, 9, 1), rollout(7, 9, 1)]).passes.is_empty());
    }

    #[test]
    fn rows_of_unlike_length_are_in_passes_of_their_own() {
        // together 4 * 100 + 64; apart 2 * 100 + 2 * 10 + 2 * 64
        assert_eq!(alike(&[100, 100, 10, 10]), [0..2, 2..4]);
        // together 4 * 40 + 64 = 224; apart 2 * 40 + 2 * 10 + 2 * 64 = 228
        assert_eq!(alike(&[40, 40, 10, 10]), std::slice::from_ref(&(0..4)));
        assert!(alike(&[]).is_empty());
        // whole: two rows of 199 and three of 19 are 455 and a pass of 64, padded alike 995
        let rows: Vec<TrainingSequence> =
            [20, 200, 20, 200, 20].map(|length| rollout(length as u32, 5, length - 5)).into();
        let found = of(&rows);
        assert_eq!(found.passes, [vec![1, 3], vec![0, 2, 4]]);
        assert_eq!((found.tokens, found.columns, found.is_shared()), (455, 199, false));
    }

    #[test]
    fn sequences_of_similar_length_share_a_micro_batch_within_the_budget() {
        let sequences: Vec<TrainingSequence> = [5usize, 9, 2, 7, 7, 30]
            .iter()
            .enumerate()
            .map(|(place, length)| rollout(50 + place as u32, 1, length - 1))
            .collect();
        let groups = micro_batches(&sequences, 20);
        // the last id is not read: 29 alone although it is too long; 8 and 6 padded to 16; adding
        // another 6 would make 24; 6, 4 and 1 padded to 18
        assert_eq!(groups, [vec![5], vec![1, 3], vec![4, 0, 2]]);
    }

    #[test]
    fn rollouts_of_a_prompt_stay_together_as_far_as_they_fit() {
        let mut sequences = vec![rollout(5, 200, 20); 4];
        sequences.insert(1, rollout(6, 30, 400));
        sequences.splice(2..2, vec![rollout(7, 190, 15); 3]);
        let untrained = TrainingSequence { mask: vec![false; 220], ..sequences[0].clone() };
        sequences.push(untrained);
        // the first prompt's: 200 + 4 * 19 + 4 * 200 / 8 = 376; with the second's in one pass
        // 2 * 200 + 7 * 19 + 7 * 200 / 8 = 708
        assert_eq!(micro_batches(&sequences, 800), [vec![0, 5, 6, 7, 2, 3, 4], vec![1]]);
        assert_eq!(micro_batches(&sequences, 700), [vec![0, 5, 6, 7], vec![2, 3, 4], vec![1]]);
        // two of the first fit: 200 + 38 + 50 = 288, three would take 332; a single one is read
        // whole
        let split = [vec![0, 5], vec![6, 7], vec![2, 3], vec![4], vec![1]];
        assert_eq!(micro_batches(&sequences, 300), split);
    }

    #[test]
    fn no_micro_batch_is_beyond_the_budget() {
        let sequences: Vec<TrainingSequence> = (0..60)
            .map(|place| rollout(place % 7, 5 + 40 * (place % 7) as usize, 1 + place as usize * 3))
            .collect();
        for tokens in [100, 400, 1000, 5000] {
            let groups = micro_batches(&sequences, tokens);
            let mut all = groups.concat();
            all.sort_unstable();
            assert_eq!(all, (0..60).collect::<Vec<_>>());
            for group in groups {
                let rows: Vec<&TrainingSequence> =
                    group.iter().map(|place| &sequences[*place]).collect();
                assert!(Arrangement::of(&rows).tokens <= tokens || rows.len() == 1);
            }
        }
    }
}
