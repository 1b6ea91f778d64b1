//! Questions from files, in the forms in which the data sets are published; told apart by their
//! fields, row by row.
//!
//! | data | fields that are read |
//! |---|---|
//! | ours | `id`, `question`, `answer` or `answers`, `supporting_titles`, `hops` |
//! | HotpotQA, 2WikiMultihopQA | `_id` or `id`, `question`, `answer`, `supporting_facts`, `context` (as pairs, as columns, or as text that holds JSON) |
//! | MuSiQue | `id`, `question`, `answer`, `answer_aliases`, `paragraphs`, `question_decomposition` |
//! | NQ | `question`, and `answer`, `answers` or `golden_answers` as a list |
//! | Search-R1 | `question`, else what stands behind `Question:` in the last user message of `prompt`; `golden_answers`, else `reward_model.ground_truth.target`; `data_source`; `supporting_facts` and `context` in `metadata` |
//!
//! Files are JSON (one list), JSON lines, or parquet, told apart by their first bytes. Left out:
//! unanswerable questions, which are refused.

use crate::DataError;
use crate::data::{Question, level_of, read_file};
use paretopo_retrieval::Passage;
use paretopo_trajectory::Task;
use serde_json::Value;
use std::path::Path;

/// Reads a file of questions.
///
/// # Errors
/// When the file cannot be read, or a row is not a question; the error names the row.
pub fn read_questions(path: &Path) -> Result<Vec<Question>, DataError> {
    read_file(path, to_question)
}

/// A row as a question; `id` is for rows without one.
pub(super) fn to_question(row: &Value, default_id: String) -> Result<Question, String> {
    if !row.is_object() {
        return Err("a question is an object".into());
    }
    if row["answerable"] == Value::Bool(false) {
        return Err(
            "the question is not answerable\nhint: use the file without unanswerable questions"
                .into(),
        );
    }
    let question = row["question"]
        .as_str()
        .or_else(|| prompted_question(&row["prompt"]))
        .filter(|text| !text.trim().is_empty())
        .ok_or("no `question`")?
        .to_owned();
    let id = [&row["_id"], &row["id"]].into_iter().find_map(text_of).unwrap_or(default_id);
    let mut answers = Vec::new();
    for field in ["answer", "answers", "golden_answers", "answer_aliases"] {
        add_answers(&row[field], &mut answers);
    }
    if answers.is_empty() {
        let truth = &row["reward_model"]["ground_truth"];
        add_answers(truth.get("target").unwrap_or(truth), &mut answers);
    }
    let mut seen = std::collections::HashSet::new();
    answers.retain(|answer: &String| !answer.trim().is_empty() && seen.insert(answer.clone()));
    if answers.is_empty() {
        return Err(
            "no `answer`, `answers`, `golden_answers` or `reward_model.ground_truth.target`".into(),
        );
    }
    let context = context_of(row)?;
    let supporting = supporting_of(row)?;
    let steps = || row["question_decomposition"].as_array().map(|steps| steps.len() as u32);
    let hops = level_of(&row["hops"]).or_else(steps);
    let task = Task { id, question, answers, level: hops, supporting, ..Task::default() };
    let source = [&row["source"], &row["data_source"]].into_iter().find_map(text_of);
    Ok(Question { task, context, source })
}

/// Search-R1's prompts are a template with the question at its end, as the user's last message.
fn prompted_question(prompt: &Value) -> Option<&str> {
    let message = match prompt {
        Value::Array(messages) => {
            messages.iter().rev().find(|message| message["role"] == "user")?["content"].as_str()?
        }
        other => other.as_str()?,
    };
    let (_, question) = message.rsplit_once("Question:").unwrap_or(("", message));
    Some(question.trim())
}

/// One answer, a list of them, or SQuAD's form of a list.
fn add_answers(value: &Value, answers: &mut Vec<String>) {
    match value {
        Value::Array(list) => answers.extend(list.iter().filter_map(text_of)),
        Value::Object(columns) => {
            let list = columns.get("text").and_then(Value::as_array);
            answers.extend(list.into_iter().flatten().filter_map(text_of));
        }
        other => answers.extend(text_of(other)),
    }
}

/// A field of the row, or of its `metadata`, where FlashRAG keeps what it does not know itself.
fn own_or_metadata<'a>(row: &'a Value, field: &str) -> &'a Value {
    match &row[field] {
        Value::Null => &row["metadata"][field],
        own => own,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A field's value, or the JSON that its text holds.
fn parsed(row: &Value, field: &str) -> Result<Value, String> {
    match own_or_metadata(row, field) {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|error| format!("`{field}`: {error}"))
        }
        other => Ok(other.clone()),
    }
}

/// First entries of `[[title, ...], ...]`, or the column `title` of `{"title": [...], ...}`,
/// without repetition.
fn titles_of(value: &Value) -> Option<Vec<String>> {
    let mut titles: Vec<String> = match value {
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| pair.get(0)?.as_str().map(str::to_owned))
            .collect::<Option<_>>()?,
        Value::Object(columns) => columns
            .get("title")?
            .as_array()?
            .iter()
            .map(|title| title.as_str().map(str::to_owned))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let mut seen = std::collections::HashSet::new();
    titles.retain(|title| seen.insert(title.clone()));
    Some(titles)
}

fn supporting_of(row: &Value) -> Result<Vec<String>, String> {
    if let Some(titles) = row["supporting_titles"].as_array() {
        return titles
            .iter()
            .map(|title| {
                text_of(title).ok_or_else(|| "`supporting_titles` must hold texts".to_owned())
            })
            .collect();
    }
    if let Some(paragraphs) = row["paragraphs"].as_array() {
        let supporting =
            paragraphs.iter().filter(|paragraph| paragraph["is_supporting"] == Value::Bool(true));
        let mut titles: Vec<String> =
            supporting.filter_map(|paragraph| text_of(&paragraph["title"])).collect();
        titles.dedup();
        return Ok(titles);
    }
    match parsed(row, "supporting_facts")? {
        Value::Null => Ok(Vec::new()),
        facts => titles_of(&facts)
            .ok_or_else(|| "`supporting_facts` must be pairs of title and sentence".into()),
    }
}

fn context_of(row: &Value) -> Result<Vec<Passage>, String> {
    let passage =
        |title: &str, text: String| Passage { id: String::new(), title: title.to_owned(), text };
    if let Some(paragraphs) = row["paragraphs"].as_array() {
        let read = |paragraph: &Value| {
            Some(passage(paragraph["title"].as_str()?, text_of(&paragraph["paragraph_text"])?))
        };
        return paragraphs
            .iter()
            .map(|paragraph| {
                read(paragraph).ok_or("`paragraphs` must have `title` and `paragraph_text`".into())
            })
            .collect();
    }
    let joined = |sentences: &Value| -> Option<String> {
        match sentences {
            Value::Array(list) => list
                .iter()
                .map(Value::as_str)
                .collect::<Option<Vec<_>>>()
                .map(|list| list.concat().trim().to_owned()),
            other => text_of(other),
        }
    };
    let context = parsed(row, "context")?;
    let read = || -> Option<Vec<Passage>> {
        match &context {
            Value::Null => Some(Vec::new()),
            Value::Array(pairs) => pairs
                .iter()
                .map(|pair| Some(passage(pair.get(0)?.as_str()?, joined(pair.get(1)?)?)))
                .collect(),
            Value::Object(columns) => {
                let texts =
                    columns.get("sentences").or_else(|| columns.get("content"))?.as_array()?;
                let titles = columns.get("title")?.as_array()?;
                titles
                    .iter()
                    .zip(texts)
                    .map(|(title, text)| Some(passage(title.as_str()?, joined(text)?)))
                    .collect()
            }
            _ => None,
        }
    };
    read().ok_or_else(|| "`context` must be pairs of title and sentences".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(text: &str) -> Result<Vec<Question>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read_questions(file.path()).map_err(|error| error.to_string())
    }

    fn passage(title: &str, text: &str) -> Passage {
        Passage { id: String::new(), title: title.into(), text: text.into() }
    }

    #[test]
    fn hotpotqa_in_its_three_forms() {
        let published = r#"[{"_id":"h1","question":"Q?","answer":"yes","type":"bridge","level":"hard",
            "supporting_facts":[["A",0],["B",1],["A",2]],"context":[["A",["One. "," Two."]],["B",["Three."]]]}]"#;
        let columns = r#"{"id":"h1","question":"Q?","answer":"yes","supporting_facts":{"title":["A","B","A"],"sent_id":[0,1,2]},
            "context":{"title":["A","B"],"sentences":[["One. "," Two."],["Three."]]}}"#
            .replace('\n', " ");
        let text = r#"{"_id":"h1","question":"Q?","answer":"yes","supporting_facts":"[[\"A\",0],[\"B\",1]]",
            "context":"[[\"A\",[\"One. \",\" Two.\"]],[\"B\",[\"Three.\"]]]"}"#
            .replace('\n', " ");
        let task = Task {
            id: "h1".into(),
            question: "Q?".into(),
            answers: vec!["yes".into()],
            supporting: vec!["A".into(), "B".into()],
            ..Task::default()
        };
        let expected = Question {
            task,
            context: vec![passage("A", "One.  Two."), passage("B", "Three.")],
            source: None,
        };
        for form in [published, &columns, &text] {
            assert_eq!(read(form).unwrap().as_slice(), std::slice::from_ref(&expected));
        }
    }

    #[test]
    fn musique_and_nq() {
        let musique = r#"{"id":"2hop__1_2","question":"Q?","answer":"X","answer_aliases":["Y","X"],"answerable":true,
            "question_decomposition":[{"id":1},{"id":2}],
            "paragraphs":[{"idx":0,"title":"A","paragraph_text":"t","is_supporting":true},{"idx":1,"title":"B","paragraph_text":"u","is_supporting":false}]}"#
            .replace('\n', " ");
        let question = read(&musique).unwrap().remove(0);
        assert_eq!(
            (question.task.answers, question.task.level),
            (vec!["X".to_owned(), "Y".to_owned()], Some(2))
        );
        assert_eq!((question.task.supporting, question.context.len()), (vec!["A".to_owned()], 2));
        for nq in [
            r#"{"question":"q","answer":["a","b"]}"#,
            r#"{"id":"test_0","question":"q","golden_answers":["a","b"]}"#,
        ] {
            assert_eq!(read(nq).unwrap()[0].task.answers, ["a", "b"]);
        }
    }

    #[test]
    fn search_r1() {
        // as scripts/data_process/nq_search.py writes it over FlashRAG's rows
        let prompt = r#"[{"role":"user","content":"Answer the given question. For example, <answer> Beijing </answer>. Question: who is it?\n"}]"#;
        let truth = r#"{"style":"rule","ground_truth":{"target":["Kora","Kora Venn"]}}"#;
        let whole = format!(
            r#"{{"id":"test_0","question":"who is it?","golden_answers":["Kora"],"data_source":"nq","prompt":{prompt},"ability":"fact-reasoning","reward_model":{truth},"extra_info":{{"split":"test","index":0}},"metadata":null}}"#
        );
        let question = read(&whole).unwrap().remove(0);
        assert_eq!(
            (question.task.id.as_str(), question.task.question.as_str(), question.task.answers),
            ("test_0", "who is it?", vec!["Kora".to_owned()])
        );
        assert_eq!(question.source.as_deref(), Some("nq"));
        // as its documentation asks for own data: without `question` and `golden_answers`
        let own = format!(r#"{{"data_source":"mine","prompt":{prompt},"reward_model":{truth}}}"#);
        let question = read(&own).unwrap().remove(0);
        assert_eq!(
            (question.task.question.as_str(), question.task.answers),
            ("who is it?", vec!["Kora".to_owned(), "Kora Venn".to_owned()])
        );
        // one answer as a text, and a prompt that is only the question
        let short = r#"{"prompt":"who?","reward_model":{"ground_truth":{"target":"Kora"}}}"#;
        let task = read(short).unwrap().remove(0).task;
        assert_eq!((task.question.as_str(), task.answers), ("who?", vec!["Kora".to_owned()]));
        // FlashRAG's HotpotQA
        let hotpot = r#"{"id":"train_0","question":"q","golden_answers":["a"],"metadata":{"level":"hard",
            "supporting_facts":{"title":["A"],"sent_id":[0]},"context":{"title":["A","B"],"sentences":[["x"],["y"]]}}}"#
            .replace('\n', " ");
        let question = read(&hotpot).unwrap().remove(0);
        assert_eq!((question.task.supporting, question.context.len()), (vec!["A".to_owned()], 2));
    }

    #[test]
    fn joined_sets_get_unique_ids() {
        let row = |id: &str, set: &str| {
            format!(r#"{{"id":{id},"question":"q","answer":"a","data_source":"{set}"}}"#)
        };
        let text = [
            row("\"test_0\"", "nq"),
            row("\"test_0\"", "triviaqa"),
            row("\"test_0\"", "popqa"),
            row("\"test_1\"", "nq"),
            row("7", "nq"),
            // a number and its text are one id
            row("\"7\"", "popqa"),
        ]
        .join("\n");
        let ids: Vec<String> =
            read(&text).unwrap().into_iter().map(|question| question.task.id).collect();
        assert_eq!(ids, ["test_0", "triviaqa/test_0", "popqa/test_0", "test_1", "7", "popqa/7"]);
        // the same again, with a mark in front of each of two files that were joined
        let marked = format!("\u{feff}{text}\n\u{feff}{text}");
        let joined = read(&marked).unwrap();
        assert_eq!(joined.len(), 12);
        let unique: std::collections::HashSet<&str> =
            joined.iter().map(|question| question.task.id.as_str()).collect();
        assert_eq!(unique.len(), 12);
        assert!(joined[..6].iter().zip(&ids).all(|(question, id)| question.task.id == *id));
        assert!(joined[6].task.id.ends_with("nq/test_0"), "{}", joined[6].task.id);
    }

    #[test]
    fn text_with_a_mark_is_read_and_other_encodings_are_named() {
        let list = "\u{feff} [{\"question\":\"q\",\"answer\":\"a\"}]";
        assert_eq!(read(list).unwrap().len(), 1);
        let names = "{\"\u{feff}question\":\"q\",\"answer\":\"a\"}";
        assert_eq!(read(names).unwrap()[0].task.question, "q");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let utf16: Vec<u8> = list.encode_utf16().flat_map(u16::to_le_bytes).collect();
        file.write_all(&utf16).unwrap();
        let error = read_questions(file.path()).unwrap_err().to_string();
        assert!(error.contains("the text is in UTF-16"), "{error}");
    }

    #[test]
    fn a_bad_row_is_named() {
        for (text, reason) in [
            ("{\"question\":\"q\",\"answer\":\"a\"}\n{\"question\":\"q\"}", "line 2: no `answer`"),
            ("{\"answer\":\"a\"}", "line 1: no `question`"),
            (
                "{\"question\":\"q\",\"reward_model\":{\"ground_truth\":{\"target\":[\" \"]}}}",
                "line 1: no `answer`",
            ),
            (
                "{\"prompt\":[{\"role\":\"system\",\"content\":\"Question: q\"}],\"answer\":1}",
                "no `question`",
            ),
            ("{\"question\":\"q\",\"answer\":\"a\",\"context\":[3]}", "`context` must be pairs"),
            ("{\"question\":\"q\",\"answer\":\"a\",\"answerable\":false}", "not answerable"),
            ("[3]", "line 1: a question is an object"),
            ("PAR1", "parquet"),
            ("", "no question"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
