//! How many answers a second are judged on one thread (`just bench-grading`): the lines of
//! `GOLD<tab>ANSWER` from standard input, over and over for so many seconds (5 without an
//! argument). U+0002 stands for a line break.
//!
//! The first line of the output is the rate of the median pass, the second the slowest pair.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use paretopo_grading::answers_equal;
use std::hint::black_box;
use std::time::Instant;

/// Passes that are timed at least.
const FEWEST_PASSES: usize = 3;

fn main() {
    let seconds = std::env::args().nth(1).map_or(5.0, |seconds| seconds.parse::<f64>().unwrap());
    let pair = |line: String| {
        let (gold, answer) = line.split_once('\t').expect("a line is GOLD<tab>ANSWER");
        (gold.replace('\u{2}', "\n"), answer.replace('\u{2}', "\n"))
    };
    let pairs: Vec<(String, String)> =
        std::io::stdin().lines().map(|line| pair(line.unwrap())).collect();
    let grade = |(gold, answer): &(String, String)| {
        let started = Instant::now();
        black_box(answers_equal(black_box(gold), black_box(answer)));
        started.elapsed().as_secs_f64()
    };
    // caches and tables are filled by a pass that is not timed
    let mut best: Vec<f64> = pairs.iter().map(grade).collect();
    let mut passes = Vec::new();
    let started = Instant::now();
    while passes.len() < FEWEST_PASSES || started.elapsed().as_secs_f64() < seconds {
        let pass = Instant::now();
        for (pair, best) in pairs.iter().zip(&mut best) {
            *best = grade(pair).min(*best);
        }
        passes.push(pass.elapsed().as_secs_f64());
    }
    passes.sort_unstable_by(f64::total_cmp);
    println!("{:.0}", pairs.len() as f64 / passes[passes.len() / 2]);
    let (slowest, best) = best.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    println!("the slowest pair takes {:.0} us: {:?}", 1e6 * best, pairs[slowest]);
}
