//! Seconds that one sorting and one hypervolume above the origin take. A file has sets of points,
//! one point a line, and an empty line between sets. Printed is the mean over the sets, in the
//! fastest pass over all of them: of half a second's worth of passes, or of so many PASSES, which
//! is the same work each time (`just bench-guard`).
//!
//! ```text
//! cargo run --release -p paretopo-pareto --example speed -- FILE [PASSES]
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use paretopo_pareto::{hypervolume, non_dominated_ranks};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Seconds a set in the fastest pass.
fn seconds(sets: &[Vec<Vec<f64>>], wanted: Option<usize>, work: impl Fn(&[Vec<f64>])) -> f64 {
    let mut fastest = f64::INFINITY;
    let started = Instant::now();
    let mut passes = 0;
    let more = |passes| match wanted {
        Some(wanted) => passes < wanted,
        None => started.elapsed() < Duration::from_millis(500),
    };
    while more(passes) {
        passes += 1;
        let begun = Instant::now();
        sets.iter().for_each(|set| work(set));
        fastest = fastest.min(begun.elapsed().as_secs_f64());
    }
    fastest / sets.len() as f64
}

fn main() {
    let file = std::env::args().nth(1).expect("a file of points");
    let text = std::fs::read_to_string(file).unwrap();
    let number = |word: &str| word.parse::<f64>().unwrap();
    let point = |line: &str| line.split_whitespace().map(number).collect::<Vec<f64>>();
    let sets: Vec<Vec<Vec<f64>>> =
        text.trim().split("\n\n").map(|set| set.lines().map(point).collect()).collect();
    let passes = std::env::args().nth(2).map(|passes| passes.parse::<usize>().unwrap());
    let origin = vec![0.0; sets[0][0].len()];
    let sorting = seconds(&sets, passes, |set| {
        black_box(non_dominated_ranks(set));
    });
    let volume = seconds(&sets, passes, |set| {
        black_box(hypervolume(set, &origin));
    });
    println!("{sorting:e} {volume:e}");
}
