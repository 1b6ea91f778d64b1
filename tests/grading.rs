//! The math grader against labelled cases from public test suites, from data beside the checkout.

use crate::shared;
use paretopo_grading::{answers_equal, extract_answer};

fn rows(path: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(shared(path)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Disagreements and their reasons: cases 129 and 133 count a list in another order as wrong ("4,
/// 10, -2"), but where order matters an answer has brackets; case 199 counts "10000" as different
/// from "10{,}000".
#[test]
#[cfg_attr(not(beside_shared), ignore = "compares with data in `../shared`, which is not there")]
fn single_answers_are_judged_as_labelled() {
    let rows = rows("data/demo/grader_cases_math_dev.jsonl");
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    let wrong: Vec<usize> = (0..rows.len())
        .filter(|index| {
            answers_equal(&text(&rows[*index], "gold"), &text(&rows[*index], "pred"))
                != rows[*index]["equal"]
        })
        .collect();
    assert_eq!(wrong, [129, 133, 199]);
}

#[test]
#[cfg_attr(not(beside_shared), ignore = "compares with data in `../shared`, which is not there")]
fn whole_responses_are_judged_as_labelled() {
    let rows = rows("data/demo/math_extraction_dev.jsonl");
    for row in &rows {
        let answer = extract_answer(row["response"].as_str().unwrap()).unwrap_or_default();
        assert_eq!(
            answers_equal(row["gold"].as_str().unwrap(), &answer),
            row["correct"].as_bool().unwrap(),
            "{}",
            row["id"]
        );
        assert!(
            answers_equal(row["extracted"].as_str().unwrap(), &answer),
            "{}: {answer}",
            row["id"]
        );
    }
}
