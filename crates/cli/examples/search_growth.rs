//! How the embedded retriever grows: index and query speed, size and memory from six thousand to a
//! million passages (`just bench-search`).
//!
//! Passages of 70 words drawn by Zipf's law (frequency = 1 / rank) from 200,000 made-up words;
//! queries are five words of one passage.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use paretopo_retrieval::PassageIndex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

const WORDS: f64 = 200_000.0;
const PASSAGE: usize = 70;
const QUERIES: usize = 2000;

/// A word for a rank: its digits in base 20 as letters.
fn word(rank: usize) -> String {
    let mut rank = rank;
    let mut word = String::new();
    loop {
        word.push((b'a' + (rank % 20) as u8) as char);
        rank /= 20;
        if rank == 0 {
            // no English ending for the stemmer to cut off
            return word + "x";
        }
    }
}

fn draw(rng: &mut impl Rng) -> String {
    // the distribution function of 1 / rank is ln(rank) / ln(WORDS)
    word(WORDS.powf(rng.random::<f64>()) as usize)
}

fn write_corpus(path: &Path, count: usize) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut queries = Vec::new();
    for index in 0..count {
        let words: Vec<String> = (0..PASSAGE).map(|_| draw(&mut rng)).collect();
        if queries.len() < QUERIES && index % (count / QUERIES).max(1) == 0 {
            queries.push(
                words.iter().step_by(PASSAGE / 5).take(5).cloned().collect::<Vec<_>>().join(" "),
            );
        }
        writeln!(
            file,
            "{{\"id\":\"{index}\",\"title\":\"{} {index}\",\"text\":\"{}\"}}",
            words[0],
            words.join(" ")
        )
        .unwrap();
    }
    queries
}

fn size_of(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| {
            if entry.path().is_dir() {
                size_of(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

/// Resident memory in MiB; without the pages of mapped files, which the system takes back when it
/// needs them.
fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or("RssAnon: 0 kB");
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn main() {
    println!(
        "| passages | corpus MiB | index seconds | index MiB | passages/s | queries/s (one thread) | open ms | memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for count in [6_000, 60_000, 250_000, 1_000_000] {
        let folder = tempfile::tempdir().unwrap();
        let (corpus, cache) = (folder.path().join("corpus.jsonl"), folder.path().join("cache"));
        let queries = write_corpus(&corpus, count);
        let started = Instant::now();
        drop(PassageIndex::open_or_build(&corpus, &cache, &mut |_, _| {}).unwrap());
        let build = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let index = PassageIndex::open_or_build(&corpus, &cache, &mut |_, _| {}).unwrap();
        let open = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let found: usize = queries.iter().map(|query| index.search(query, 3).unwrap().len()).sum();
        let speed = queries.len() as f64 / started.elapsed().as_secs_f64();
        assert_eq!(found, 3 * queries.len());
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "| {count} | {:.0} | {build:.1} | {:.0} | {:.0} | {speed:.0} | {:.0} | {:.0} |",
            mebibytes(corpus.metadata().unwrap().len()),
            mebibytes(size_of(&cache)),
            count as f64 / build,
            1e3 * open,
            memory()
        );
    }
}
