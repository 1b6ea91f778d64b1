//! Every path against sums in f64, and a row against itself in other company.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SHAPES: [AttentionHeads; 5] = [
    AttentionHeads { heads: 4, kv_heads: 2, head_dim: 32 },
    AttentionHeads { heads: 9, kv_heads: 3, head_dim: 64 },
    AttentionHeads { heads: 1, kv_heads: 1, head_dim: 6 },
    AttentionHeads { heads: 12, kv_heads: 1, head_dim: 20 },
    AttentionHeads { heads: 7, kv_heads: 7, head_dim: 16 },
];

/// Queries, keys and values of some tokens, `[tokens, .. * head_dim]`.
#[derive(Clone)]
struct Given {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

fn random(rng: &mut ChaCha8Rng, heads: AttentionHeads, tokens: usize) -> Given {
    let mut numbers = |heads_of: usize| -> Vec<f32> {
        (0..tokens * heads_of * heads.head_dim).map(|_| rng.random_range(-2.0..2.0)).collect()
    };
    Given {
        queries: numbers(heads.heads),
        keys: numbers(heads.kv_heads),
        values: numbers(heads.kv_heads),
    }
}

/// The tokens of `given` in `places`, one behind the other.
fn part(given: &Given, heads: AttentionHeads, places: &[usize]) -> Given {
    let tokens_at = |numbers: &[f32], heads_of: usize| -> Vec<f32> {
        let width = heads_of * heads.head_dim;
        places
            .iter()
            .flat_map(|place| numbers[place * width..(place + 1) * width].to_vec())
            .collect()
    };
    Given {
        queries: tokens_at(&given.queries, heads.heads),
        keys: tokens_at(&given.keys, heads.kv_heads),
        values: tokens_at(&given.values, heads.kv_heads),
    }
}

fn attend(cache: &mut Cache, given: &Given, real: &[bool]) -> Vec<f32> {
    let tensor = |numbers: &[f32]| {
        let width = numbers.len() / real.len();
        wrap::<2>(from_values(numbers.to_vec(), Shape::new([real.len(), width])))
    };
    let attended =
        cache.attend(tensor(&given.queries), tensor(&given.keys), tensor(&given.values), real);
    plain(attended).storage().to_vec()
}

/// Causal attention of one row in f64, `[tokens, heads * head_dim]`.
fn plainly(given: &Given, heads: AttentionHeads) -> Vec<f64> {
    let AttentionHeads { heads, kv_heads, head_dim } = heads;
    let tokens = given.queries.len() / (heads * head_dim);
    let at = |numbers: &[f32], heads_of: usize, token: usize, head: usize, feature: usize| {
        f64::from(numbers[(token * heads_of + head) * head_dim + feature])
    };
    let mut attended = Vec::new();
    for token in 0..tokens {
        for head in 0..heads {
            let kv_head = head / (heads / kv_heads);
            let score = |seen: usize| -> f64 {
                let terms = (0..head_dim).map(|feature| {
                    at(&given.queries, heads, token, head, feature)
                        * at(&given.keys, kv_heads, seen, kv_head, feature)
                });
                (terms.sum::<f64>() / (head_dim as f64).sqrt()).exp()
            };
            let weights: Vec<f64> = (0..=token).map(score).collect();
            let total: f64 = weights.iter().sum();
            attended.extend((0..head_dim).map(|feature| {
                let terms = weights.iter().enumerate().map(|(seen, weight)| {
                    weight / total * at(&given.values, kv_heads, seen, kv_head, feature)
                });
                terms.sum::<f64>()
            }));
        }
    }
    attended
}

#[test]
fn every_path_attends_to_what_a_row_has_read() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for path in Path::all() {
        for heads in SHAPES {
            // below, at and above a block, and more queries than are taken together
            for tokens in [1, 2, 15, 16, 17, 40, 75] {
                let given = random(&mut rng, heads, tokens);
                let mut cache = Cache::new(heads, 1, path);
                let got = attend(&mut cache, &given, &vec![true; tokens]);
                for (got, wanted) in got.iter().zip(plainly(&given, heads)) {
                    // values below 2, of which a mean is taken; a score errs by some 2^-24 of at
                    // most 4 sqrt(head_dim) = 32
                    let error = (f64::from(*got) - wanted).abs();
                    assert!(error < 2e-5, "{path:?} {heads:?} {tokens} tokens: {error:e}");
                }
            }
        }
    }
}

#[test]
fn a_mean_of_two_tokens() {
    // q = 2, keys 0 and ln 3 / 2, one feature: scores 0 and ln 3, weights 1/4 and 3/4;
    // values 8 and 4: 1/4 8 + 3/4 4 = 5; the first token sees itself alone
    let heads = AttentionHeads { heads: 1, kv_heads: 1, head_dim: 1 };
    let given =
        Given { queries: vec![2.0, 2.0], keys: vec![0.0, 3f32.ln() / 2.0], values: vec![8.0, 4.0] };
    for path in Path::all() {
        let got = attend(&mut Cache::new(heads, 1, path), &given, &[true, true]);
        assert_eq!(got[0], 8.0, "{path:?}");
        assert!((got[1] - 5.0).abs() < 1e-6, "{path:?}: {}", got[1]);
    }
}

#[test]
fn a_row_does_not_depend_on_its_company_nor_on_how_it_was_read() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for path in Path::all() {
        for heads in SHAPES {
            let (width, tokens) = (heads.heads * heads.head_dim, 50);
            let given = random(&mut rng, heads, tokens);
            let together = attend(&mut Cache::new(heads, 1, path), &given, &vec![true; tokens]);
            // token by token, beside a row that is fed more, less, and nothing
            let mut cache = Cache::new(heads, 3, path);
            for token in 0..tokens {
                let own = part(&given, heads, &[token]);
                let company = random(&mut rng, heads, 3);
                let join = |first: &[f32], others: &[f32]| {
                    let width = first.len();
                    [first, &others[..2 * width]].concat()
                };
                let step = Given {
                    queries: join(&own.queries, &company.queries),
                    keys: join(&own.keys, &company.keys),
                    values: join(&own.values, &company.values),
                };
                let real = [true, token % 3 > 0, false];
                let got = attend(&mut cache, &step, &real);
                let wanted = &together[token * width..(token + 1) * width];
                assert!(&got[..width] == wanted, "{path:?} {heads:?} token {token}");
                assert!(
                    got[2 * width..].iter().all(|number| *number == 0.0),
                    "padding gives zeros"
                );
            }
            // and by any number of threads
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut cache = Cache::new(heads, 1, path);
                let got = pool.install(|| attend(&mut cache, &given, &vec![true; tokens]));
                assert!(got == together, "{path:?} {heads:?} {threads} threads");
            }
        }
    }
}

#[test]
fn padding_is_left_out_in_front_and_behind() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let heads = SHAPES[0];
    let width = heads.heads * heads.head_dim;
    let given = random(&mut rng, heads, 7);
    let whole = attend(&mut Cache::new(heads, 1, Path::best()), &given, &[true; 7]);
    // the tokens 0, 1, 2 padded in front, then 3 to 6 padded behind; what padding holds is whatever
    let mut cache = Cache::new(heads, 1, Path::best());
    let first = part(&given, heads, &[6, 0, 1, 2]);
    let got = attend(&mut cache, &first, &[false, true, true, true]);
    assert!(got[width..] == whole[..3 * width]);
    let second = part(&given, heads, &[3, 4, 5, 6, 0]);
    let got = attend(&mut cache, &second, &[true, true, true, true, false]);
    assert!(got[..4 * width] == whole[3 * width..]);
}

#[test]
fn rows_that_begin_alike_share_blocks_until_they_part() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let heads = SHAPES[0];
    // keys and values of 2 heads of 32 features for 16 tokens in f32
    let block = 2 * 2 * 32 * 16 * 4;
    let width = heads.heads * heads.head_dim;
    let mut cache = Cache::new(heads, 1, Path::best());
    let prompt = random(&mut rng, heads, 40);
    attend(&mut cache, &prompt, &[true; 40]);
    assert_eq!(cache.bytes(), 3 * block);
    let mut shared = cache.select(&[Some(0), None, Some(0)]);
    assert_eq!(shared.bytes(), 3 * block);
    // the two go on: each gets a last block of its own, the third a first one
    let next = random(&mut rng, heads, 3);
    let rows = shared.as_any().downcast_ref::<Cache>().unwrap();
    let got = attend(&mut rows.clone(), &next, &[true; 3]);
    let mut alone = cache.clone();
    assert!(got[..width] == attend(&mut alone, &part(&next, heads, &[0]), &[true]));
    let fresh = attend(&mut Cache::new(heads, 1, Path::best()), &part(&next, heads, &[1]), &[true]);
    assert!(got[width..2 * width] == fresh);
    let mut grown = rows.clone();
    attend(&mut grown, &next, &[true; 3]);
    assert_eq!(grown.bytes(), (2 + 3) * block);
    // what others do leaves the first as it was
    assert!(attend(&mut cache, &part(&next, heads, &[2]), &[true]) == got[2 * width..]);
    shared.merge(&grown);
    assert_eq!(shared.bytes(), (3 + 3) * block);
}

#[test]
fn a_window_sees_the_newest_alone() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for path in Path::all() {
        for heads in SHAPES {
            let (width, tokens) = (heads.heads * heads.head_dim, 75);
            let given = random(&mut rng, heads, tokens);
            // one token, part of a block, a block, more, and all
            for window in [1, 5, 16, 40, 75, 100] {
                let new = || {
                    let cache = Cache::new(heads, 1, path).within(window).unwrap();
                    cache.as_any().downcast_ref::<Cache>().unwrap().clone()
                };
                let together = attend(&mut new(), &given, &vec![true; tokens]);
                for token in 0..tokens {
                    let places: Vec<usize> =
                        (0..=token).skip((token + 1).saturating_sub(window)).collect();
                    let wanted = plainly(&part(&given, heads, &places), heads);
                    let wanted = &wanted[wanted.len() - width..];
                    let got = &together[token * width..(token + 1) * width];
                    for (got, wanted) in got.iter().zip(wanted) {
                        let error = (f64::from(*got) - wanted).abs();
                        assert!(error < 2e-5, "{path:?} {heads:?} {window}, {token}: {error:e}");
                    }
                }
                // a token at a time gives the same bits, also behind rows taken out
                let mut cache = new();
                for token in 0..tokens {
                    let got = attend(&mut cache, &part(&given, heads, &[token]), &[true]);
                    assert!(got == together[token * width..(token + 1) * width]);
                    let selected = cache.select(&[Some(0)]);
                    cache = selected.as_any().downcast_ref::<Cache>().unwrap().clone();
                }
            }
        }
    }
}
