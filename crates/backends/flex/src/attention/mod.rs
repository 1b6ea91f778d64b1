//! Attention over what each row has read: keys and values in blocks of a row's own tokens.
//!
//! A block holds [`BLOCK`] tokens, laid out as the two products read them ([`kernel`]): keys
//! feature by feature, so that the scores of all its tokens are computed side by side, and values
//! token by token in panels of features. Tokens are appended in place; rows that begin alike share
//! their blocks until they are written to. All query heads that share a key-value head read it
//! together.
//!
//! Nothing is padded or masked: of finite numbers a query's result depends on its own row alone, to
//! the last bit, whether its tokens were read one by one or together.

mod kernel;

use crate::fused::{from_values, plain, wrap};
use crate::packed::{Output, Path, threads_for};
use burn::tensor::{Shape, Tensor};
use burn_flex::Flex;
use kernel::{Keys, Scratch};
use paretopo_models::{AttentionHeads, KeyValueCache};
use rayon::prelude::*;
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Tokens of a block, and features of a panel of values.
const BLOCK: usize = 16;

/// Query tokens of a row that a thread attends with at a time.
const QUERIES: usize = 32;

/// Where the numbers of a block lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    heads: AttentionHeads,
    /// Panels of a head's values, the last filled up with zeros.
    panels: usize,
}

impl Layout {
    fn new(heads: AttentionHeads) -> Self {
        Self { heads, panels: heads.head_dim.div_ceil(BLOCK) }
    }

    /// Numbers of a block.
    fn size(self) -> usize {
        self.heads.kv_heads * BLOCK * (self.heads.head_dim + self.panels * BLOCK)
    }

    /// The keys of a head, `[head_dim, BLOCK]`.
    fn keys(self, kv_head: usize) -> usize {
        kv_head * BLOCK * self.heads.head_dim
    }

    /// The values of a head, `[panels, BLOCK, BLOCK]`: panels of tokens of features.
    fn values(self, kv_head: usize) -> usize {
        self.keys(self.heads.kv_heads) + kv_head * self.panels * BLOCK * BLOCK
    }

    /// Query heads that share a key-value head.
    fn group(self) -> usize {
        self.heads.heads / self.heads.kv_heads
    }

    /// Puts a token's keys and values, `[kv_heads * head_dim]` each, into a block.
    fn write(self, block: &mut [f32], token: usize, keys: &[f32], values: &[f32]) {
        let head_dim = self.heads.head_dim;
        for kv_head in 0..self.heads.kv_heads {
            let features = kv_head * head_dim..(kv_head + 1) * head_dim;
            let to = self.keys(kv_head);
            for (feature, key) in keys[features.clone()].iter().enumerate() {
                block[to + feature * BLOCK + token] = *key;
            }
            let to = self.values(kv_head);
            for (panel, values) in values[features].chunks(BLOCK).enumerate() {
                let to = to + (panel * BLOCK + token) * BLOCK;
                block[to..to + values.len()].copy_from_slice(values);
            }
        }
    }
}

/// The tokens of a row.
#[derive(Clone, Debug, Default)]
struct Tokens {
    blocks: Vec<Arc<[f32]>>,
    count: usize,
}

impl Tokens {
    fn append(&mut self, layout: Layout, keys: &[f32], values: &[f32]) {
        let token = self.count % BLOCK;
        if token == 0 {
            self.blocks.push(vec![0.0; layout.size()].into());
        }
        let block = self.blocks.last_mut().expect("there is one for each begun block");
        layout.write(Arc::make_mut(block), token, keys, values);
        self.count += 1;
    }
}

/// What a layer remembers of each row.
#[derive(Clone)]
pub(crate) struct Cache {
    path: Path,
    layout: Layout,
    rows: Vec<Tokens>,
    /// How many tokens of its row a query sees, the newest.
    window: usize,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tokens: Vec<usize> = self.rows.iter().map(|row| row.count).collect();
        formatter
            .debug_struct("Cache")
            .field("heads", &self.layout.heads)
            .field("tokens", &tokens)
            .finish()
    }
}

/// Some neighbouring query tokens of a row.
#[derive(Clone, Copy, Debug)]
struct Queries {
    row: usize,
    /// Their place among all tokens of the input.
    first: usize,
    count: usize,
    /// The row's tokens that the first of them sees, itself included.
    sees: usize,
}

impl Cache {
    /// For `rows` sequences of which nothing has been read; the processor must have the path's
    /// instructions.
    pub(crate) fn new(heads: AttentionHeads, rows: usize, path: Path) -> Self {
        Self {
            path,
            layout: Layout::new(heads),
            rows: vec![Tokens::default(); rows],
            window: usize::MAX,
        }
    }

    /// Appends the real tokens, and says who attends to what.
    fn append(&mut self, keys: &[f32], values: &[f32], real: &[bool]) -> Vec<Queries> {
        let (layout, time) = (self.layout, real.len() / self.rows.len().max(1));
        let width = layout.heads.kv_heads * layout.heads.head_dim;
        let mut queries = Vec::new();
        for (number, row) in self.rows.iter_mut().enumerate() {
            let mut real_tokens =
                (number * time..(number + 1) * time).filter(|token| real[*token]).peekable();
            while let Some(first) = real_tokens.next() {
                let mut block = Queries { row: number, first, count: 0, sees: row.count + 1 };
                let mut token = first;
                loop {
                    let place = token * width..(token + 1) * width;
                    row.append(layout, &keys[place.clone()], &values[place]);
                    block.count += 1;
                    if block.count == QUERIES {
                        break;
                    }
                    match real_tokens.next_if_eq(&(token + 1)) {
                        Some(next) => token = next,
                        None => break,
                    }
                }
                queries.push(block);
            }
        }
        queries
    }

    /// Attends with all queries, `[tokens, heads * head_dim]`; zeros where there are none.
    fn attended(&self, queries: &[f32], blocks: &[Queries]) -> Vec<f32> {
        let AttentionHeads { heads, kv_heads, head_dim } = self.layout.heads;
        let mut attended = vec![0.0; queries.len()];
        let to = Output(attended.as_mut_ptr());
        let seen: usize =
            blocks.iter().map(|block| block.count * (block.sees + block.count / 2)).sum();
        let threads = threads_for(seen * heads * head_dim * 2);
        let attend = |scratch: &mut Scratch, item: usize| {
            let (block, kv_head) = (blocks[item / kv_heads], item % kv_heads);
            // SAFETY: the path's instructions are there; each item writes to its own tokens and
            // heads
            unsafe { self.attend_with(scratch, queries, block, kv_head, to) }
        };
        let items = blocks.len() * kv_heads;
        if threads == 1 {
            let mut scratch = Scratch::default();
            (0..items).for_each(|item| attend(&mut scratch, item));
        } else {
            let least = items.div_ceil(threads * 8);
            let items = (0..items).into_par_iter().with_min_len(least);
            items.for_each_init(Scratch::default, attend);
        }
        attended
    }

    /// # Safety
    /// The processor has the path's instructions; `to` has room for as many numbers as there are in
    /// `queries`, and nobody else writes to these queries' numbers of this head's group.
    unsafe fn attend_with(
        &self,
        scratch: &mut Scratch,
        queries: &[f32],
        block: Queries,
        kv_head: usize,
        to: Output,
    ) {
        let (layout, row) = (self.layout, &self.rows[block.row]);
        let AttentionHeads { heads, head_dim, .. } = layout.heads;
        let group = layout.group();
        let scale = (head_dim as f32).powf(-0.5);
        scratch.queries.clear();
        // tokens, and of each the heads of the group
        let place = |token: usize| ((block.first + token) * heads + kv_head * group) * head_dim;
        for token in 0..block.count {
            let heads_of_group = place(token)..place(token) + group * head_dim;
            scratch.queries.extend(queries[heads_of_group].iter().map(|query| query * scale));
        }
        let blocks = (block.sees + block.count - 1).div_ceil(BLOCK);
        // what is in front of the first query's window is not read
        let skipped = block.sees.saturating_sub(self.window) / BLOCK;
        scratch.keys.clear();
        scratch.values.clear();
        for block in &row.blocks[skipped..blocks] {
            scratch.keys.push(block[layout.keys(kv_head)..].as_ptr());
            scratch.values.push(block[layout.values(kv_head)..].as_ptr());
        }
        let sees = block.sees - skipped * BLOCK;
        let keys = Keys { head_dim, panels: layout.panels, group, sees, window: self.window };
        // SAFETY: as the caller promises; blocks hold what the layout says
        unsafe { self.path.attend(scratch, keys) };
        let width = layout.panels * BLOCK;
        for (number, attended) in scratch.attended.chunks_exact(width).enumerate() {
            let to_place = place(number / group) + number % group * head_dim;
            // SAFETY: as the caller promises
            unsafe {
                std::ptr::copy_nonoverlapping(attended.as_ptr(), to.0.add(to_place), head_dim);
            }
        }
    }
}

impl KeyValueCache<Flex> for Cache {
    fn attend(
        &mut self,
        queries: Tensor<Flex, 2>,
        keys: Tensor<Flex, 2>,
        values: Tensor<Flex, 2>,
        real: &[bool],
    ) -> Tensor<Flex, 2> {
        let [tokens, width] = queries.dims();
        assert_eq!(tokens, real.len(), "a flag for each token");
        let (queries, keys, values) = (plain(queries), plain(keys), plain(values));
        let blocks = self.append(keys.storage(), values.storage(), real);
        let attended = self.attended(queries.storage(), &blocks);
        wrap(from_values(attended, Shape::new([tokens, width])))
    }

    fn within(&self, window: usize) -> Option<Box<dyn KeyValueCache<Flex>>> {
        let rows = vec![Tokens::default(); self.rows.len()];
        Some(Box::new(Self { rows, window, ..*self }))
    }

    fn select(&self, rows: &[Option<usize>]) -> Box<dyn KeyValueCache<Flex>> {
        let row =
            |row: &Option<usize>| row.map_or_else(Tokens::default, |row| self.rows[row].clone());
        Box::new(Self { rows: rows.iter().map(row).collect(), ..*self })
    }

    fn merge(&mut self, below: &dyn KeyValueCache<Flex>) {
        let below: &Self = below.as_any().downcast_ref().expect("made by this backend");
        self.rows.extend(below.rows.iter().cloned());
    }

    fn bytes(&self) -> usize {
        let blocks = self.rows.iter().flat_map(|row| &row.blocks);
        let distinct: BTreeSet<usize> = blocks.map(|block| block.as_ptr() as usize).collect();
        4 * self.layout.size() * distinct.len()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
