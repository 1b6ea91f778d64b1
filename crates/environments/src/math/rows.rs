//! Math problems from rows: `question` or `problem`, `answer` (also a list, or `final_answer`) or a
//! `solution` with `\boxed{}`, and if there is one a `level`. Other fields are ignored.

use crate::data::{Question, level_of};
use paretopo_grading::extract_answer;
use paretopo_trajectory::Task;
use serde_json::Value;

/// A row as a problem; `id` is for rows without one.
pub(super) fn to_problem(row: &Value, id: String) -> Result<Question, String> {
    if !row.is_object() {
        return Err("a problem is an object".into());
    }
    let text = |names: &[&str]| {
        names.iter().find_map(|name| row[*name].as_str()).filter(|text| !text.trim().is_empty())
    };
    let question = text(&["question", "problem"]).ok_or("no `question` or `problem`")?.to_owned();
    let mut answers = Vec::new();
    for field in ["answer", "answers", "final_answer"] {
        match &row[field] {
            Value::Null => {}
            Value::Array(list) => {
                answers.extend(list.iter().map(answer_of).collect::<Result<Vec<_>, _>>()?)
            }
            other => answers.push(answer_of(other)?),
        }
    }
    if answers.is_empty() {
        answers.extend(text(&["solution"]).and_then(extract_answer));
    }
    if answers.is_empty() {
        return Err("no `answer`, and no `solution` with `\\boxed{}`".into());
    }
    let id = match [&row["id"], &row["unique_id"]].into_iter().find(|id| !id.is_null()) {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => id,
    };
    let level = level_of(&row["level"]);
    let task = Task { id, question, answers, level, ..Task::default() };
    let source = text(&["source", "data_source"]).map(str::to_owned);
    Ok(Question { task, context: Vec::new(), source })
}

fn answer_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(answer) if !answer.trim().is_empty() => Ok(answer.clone()),
        Value::Number(answer) => Ok(answer.to_string()),
        other => Err(format!("`answer` must be a text or a number, not `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_published_sets() {
        let read = |row| to_problem(&row, "f:1".into()).map(|question| question.task);
        let task = read(json!({ "problem": "1/2+0?", "solution": "It is \\boxed{\\frac12}.", "level": "Level 3" })).unwrap();
        assert_eq!(
            (task.id.as_str(), task.answers[0].as_str(), task.level),
            ("f:1", "\\frac12", Some(3))
        );
        let task = read(json!({ "unique_id": "test/1", "problem": "p", "solution": "\\boxed{9}", "answer": "2" })).unwrap();
        assert_eq!((task.id.as_str(), task.answers), ("test/1", vec!["2".to_owned()]));
        let task = read(json!({ "id": 5, "question": "q", "answer": 7 })).unwrap();
        assert_eq!((task.id.as_str(), task.answers), ("5", vec!["7".to_owned()]));
        assert!(read(json!({ "question": "q" })).unwrap_err().contains("no `answer`"));
        assert!(read(json!({ "answer": "2" })).unwrap_err().contains("no `question`"));
        assert!(
            read(json!({ "question": "q", "answer": true })).unwrap_err().contains("not `true`")
        );
    }
}
