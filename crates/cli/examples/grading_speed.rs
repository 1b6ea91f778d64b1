//! How many answers a second the math grader judges on one core (`just bench-grading FILE`).
//!
//! The file holds `{"gold":..,"pred":..}` lines; all of them are judged over and over for five
//! seconds.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use paretopo_grading::answers_equal;
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let path = std::env::args().nth(1).expect("give a file of {\"gold\":..,\"pred\":..} lines");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| (row["gold"].as_str().unwrap(), row["pred"].as_str().unwrap()))
        .collect();
    let (started, mut judged, mut best) = (Instant::now(), 0usize, vec![f64::INFINITY; rows.len()]);
    while started.elapsed().as_secs_f64() < 5.0 {
        for ((gold, pred), best) in rows.iter().zip(&mut best) {
            let started = Instant::now();
            black_box(answers_equal(black_box(gold), black_box(pred)));
            *best = started.elapsed().as_secs_f64().min(*best);
        }
        judged += rows.len();
    }
    let rate = judged as f64 / started.elapsed().as_secs_f64();
    let (row, seconds) = best.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    println!(
        "{rate:.0} gradings a second over {} pairs; the slowest pair takes {:.0} us: {:?}",
        rows.len(),
        1e6 * seconds,
        rows[row]
    );
}
