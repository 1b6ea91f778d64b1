//! Speed of the parts beside decoding and training, as a JSON line, for
//! `experiments/speed/parts.py` (`just bench-parts`).
//!
//! ```text
//! parts_speed search CORPUS QUESTIONS      top 10 for each question
//! parts_speed grade PAIRS                  {"gold":..,"pred":..} lines
//! parts_speed pareto POINTS                sorting and hypervolume of {"points":[[..],..]} lines, reference the origin
//! parts_speed monty|cpython PARETOPO PROGRAM N   N calls of the Python tool, one after the other
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use paretopo_algorithms::pareto::{hypervolume, non_dominated_ranks};
use paretopo_environments::qa::read_questions;
use paretopo_grading::answers_equal;
use paretopo_retrieval::PassageIndex;
use paretopo_tools::{CallContext, PythonConfig, PythonInterpreter, PythonTool, Tool};
use paretopo_trajectory::{CallStatus, ToolCall, TrajectoryId};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

fn lines(path: &str) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Repeats `work`, which does `count` things, for two seconds; things a second.
fn rate(count: usize, mut work: impl FnMut()) -> f64 {
    let (started, mut rounds) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(2) {
        work();
        rounds += 1;
    }
    (rounds * count) as f64 / started.elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["search", corpus, questions] => {
            let cache = tempfile::tempdir().unwrap();
            let started = Instant::now();
            let index =
                PassageIndex::open_or_build(Path::new(corpus), cache.path(), &mut |_, _| {})
                    .unwrap();
            let built = started.elapsed().as_secs_f64();
            let questions: Vec<String> = read_questions(Path::new(questions))
                .unwrap()
                .into_iter()
                .map(|question| question.task.question)
                .collect();
            let search = rate(questions.len(), || {
                for question in &questions {
                    black_box(index.search(question, 10).unwrap());
                }
            });
            serde_json::json!({ "index passages/s": index.len() as f64 / built, "queries/s": search })
        }
        ["grade", pairs] => {
            let rows = lines(pairs);
            let rows: Vec<(&str, &str)> = rows
                .iter()
                .map(|row| (row["gold"].as_str().unwrap(), row["pred"].as_str().unwrap()))
                .collect();
            serde_json::json!({ "gradings/s": rate(rows.len(), || rows.iter().for_each(|(gold, pred)| { black_box(answers_equal(gold, pred)); })) })
        }
        ["pareto", points] => {
            let sets: Vec<Vec<Vec<f64>>> = lines(points)
                .into_iter()
                .map(|row| serde_json::from_value(row["points"].clone()).unwrap())
                .collect();
            let origin = vec![0.0; sets[0][0].len()];
            let sorted = rate(sets.len(), || {
                sets.iter().for_each(|set| {
                    black_box(non_dominated_ranks(set));
                })
            });
            let measured = rate(sets.len(), || {
                sets.iter().for_each(|set| {
                    black_box(hypervolume(set, &origin));
                })
            });
            serde_json::json!({ "sortings/s": sorted, "hypervolumes/s": measured })
        }
        [interpreter @ ("monty" | "cpython"), paretopo, program, count] => {
            let interpreter = if *interpreter == "monty" {
                PythonInterpreter::Monty
            } else {
                PythonInterpreter::Cpython
            };
            let config = PythonConfig { interpreter, ..PythonConfig::default() };
            let tool =
                PythonTool::new(config, vec![paretopo.into(), "python-worker".into()]).unwrap();
            let count: usize = count.parse().unwrap();
            let call = ToolCall {
                name: "python".into(),
                arguments: serde_json::json!({ "code": program }),
            };
            let run = || {
                tool.call(
                    &call,
                    &CallContext::new(
                        TrajectoryId::new("speed", 0, 0),
                        Instant::now() + Duration::from_secs(5),
                    ),
                )
            };
            assert_eq!(run().status, CallStatus::Ok);
            let started = Instant::now();
            for _ in 0..count {
                assert_eq!(run().status, CallStatus::Ok);
            }
            serde_json::json!({ "calls/s": count as f64 / started.elapsed().as_secs_f64() })
        }
        _ => panic!("see the head of this file"),
    };
    println!("{result}");
}
