//! `controls`: per level the skill in the head and with the tool, from two evaluations, as the file
//! that `compare` computes never, always, the line and the oracle router from.

use crate::output::outln;
use crate::problem::Problem;
use paretopo_records::{Evaluation, LevelSummary, read_evaluation};
use paretopo_report::{Controls, LevelSkill, controls_table};
use paretopo_training::write_atomically;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) fn controls(
    head: &Path,
    tool: &Path,
    calls: &[String],
    out: Option<&Path>,
) -> Result<(), Problem> {
    let read = |folder: &Path| read_evaluation(folder).map_err(Problem::mistake);
    let known = calls.iter().map(|text| known(text)).collect::<Result<_, _>>()?;
    let found = measured(&read(head)?, &read(tool)?, &known).map_err(Problem::mistake)?;
    let source = format!("head: {}, tool: {}", head.display(), tool.display());
    let controls = Controls { source, levels: found };
    controls.check().map_err(Problem::mistake)?;
    if let Some(out) = out {
        let mut json = serde_json::to_vec_pretty(&controls).map_err(Problem::failure)?;
        json.push(b'\n');
        write_atomically(out, &json)?;
    }
    outln!("{}", controls_table(&controls));
    Ok(())
}

/// `LEVEL=CALLS`.
fn known(text: &str) -> Result<(u32, f64), Problem> {
    let read = |(level, calls): (&str, &str)| Some((level.parse().ok()?, calls.parse().ok()?));
    text.split_once('=').and_then(read).ok_or_else(|| {
        Problem::mistake(format!("`--calls {text}`: give a level and its calls, as in `4=2`"))
    })
}

/// A level's share is that of its episodes in the evaluation without calls. Its calls are those that
/// its tasks need, where they say it, and its tool skill that of episodes which made them; else both
/// are those of the other evaluation. Calls that are given count before all: they are what that
/// evaluation's policy makes, with the skill that it has.
fn measured(
    head: &Evaluation,
    tool: &Evaluation,
    known: &BTreeMap<u32, f64>,
) -> Result<Vec<LevelSkill>, String> {
    if head.calls > 0.0 {
        return Err(format!(
            "the evaluation of `--head` has {:.3} calls an episode\nhint: make it with `evaluate \
             --tool-free`",
            head.calls
        ));
    }
    if !head.levels.keys().eq(tool.levels.keys()) || head.levels.is_empty() {
        return Err("the two evaluations do not have the same levels, or none at all".into());
    }
    let episodes: usize = head.levels.values().map(|level| level.episodes).sum();
    let skill = |(level, own): (&u32, &LevelSummary)| {
        let with_tool = &tool.levels[level];
        let needed = with_tool.needed_calls.zip(with_tool.em_with_needed_calls);
        let made = || (with_tool.calls, with_tool.em);
        let given = known.get(level).map(|calls| (*calls, with_tool.em));
        let (calls, tool_skill) = given.or(needed).unwrap_or_else(made);
        LevelSkill {
            level: *level,
            share: own.episodes as f64 / episodes as f64,
            head_skill: own.em,
            tool_skill: if calls == 0.0 { own.em } else { tool_skill },
            calls,
        }
    };
    Ok(head.levels.iter().map(skill).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(levels: &[(u32, usize, f64, f64)]) -> Evaluation {
        let level = |&(level, episodes, em, calls): &(u32, usize, f64, f64)| {
            (level, LevelSummary { episodes, em, calls, ..LevelSummary::default() })
        };
        let calls = levels.iter().map(|level| level.3).sum();
        Evaluation { calls, levels: levels.iter().map(level).collect(), ..Evaluation::default() }
    }

    #[test]
    fn skills_are_those_of_the_two_evaluations() {
        let head = evaluation(&[(0, 30, 0.9, 0.0), (3, 10, 0.1, 0.0)]);
        let tool = evaluation(&[(0, 30, 0.95, 1.1), (3, 10, 0.9, 2.5)]);
        let found = measured(&head, &tool, &[(3, 2.0)].into()).unwrap();
        // 30 of 40 episodes; 1.1 calls as measured, 2 as known
        let level = |level, share, head_skill, tool_skill, calls| LevelSkill {
            level,
            share,
            head_skill,
            tool_skill,
            calls,
        };
        assert_eq!(found, [level(0, 0.75, 0.9, 0.95, 1.1), level(3, 0.25, 0.1, 0.9, 2.0)]);
        // where tasks say what they need, that counts, unless calls are given
        let mut telling = tool.clone();
        let level = telling.levels.get_mut(&0).unwrap();
        (level.needed_calls, level.em_with_needed_calls) = (Some(1.0), Some(0.99));
        let first = |known: &[(u32, f64)]| {
            let found = measured(&head, &telling, &known.iter().copied().collect()).unwrap();
            (found[0].tool_skill, found[0].calls)
        };
        assert_eq!((first(&[]), first(&[(0, 2.0)])), ((0.99, 1.0), (0.95, 2.0)));
        let error = measured(&tool, &tool, &BTreeMap::new()).unwrap_err();
        assert!(error.contains("3.600 calls an episode"), "{error}");
        let other = evaluation(&[(0, 30, 0.9, 1.0)]);
        assert!(measured(&head, &other, &BTreeMap::new()).unwrap_err().contains("same levels"));
        assert!(known("4=2").is_ok() && known("4").is_err() && known("x=2").is_err());
    }
}
