//! What the agent is asked and when its answer is right.

use crate::{Demonstration, Part, Partner};
use paretopo_retrieval::Passage;
use paretopo_tools::Tool;
use paretopo_trajectory::{Message, Role, Split, Task, Trajectory};
use std::sync::Arc;

/// A family of tasks. Tools and objectives are not part of it: a configuration lists them.
///
/// ```
/// use paretopo_environments::Environment;
/// use paretopo_trajectory::{Split, Task};
///
/// /// Words to be spelled backwards; the same for each split.
/// struct Reversals(Vec<Task>);
///
/// impl Environment for Reversals {
///     fn tasks(&self, _: Split) -> &[Task] {
///         &self.0
///     }
/// }
///
/// let task = Task {
///     id: "1".into(),
///     question: "What is `pen` backwards?".into(),
///     answers: vec!["nep".into()],
///     ..Task::default()
/// };
/// let reversals = Reversals(vec![task]);
/// let answer = reversals.extract_answer("I turn it round.\nanswer: nep");
/// assert_eq!(answer.as_deref(), Some("nep"));
/// ```
pub trait Environment: Send + Sync {
    /// The tasks of a split, always in the same order. Splits share no question.
    fn tasks(&self, split: Split) -> &[Task];

    /// The messages that open an episode on `task`. The question alone, unless it is said otherwise.
    fn opening(&self, task: &Task) -> Vec<Message> {
        vec![Message { role: Role::User, content: task.question.clone() }]
    }

    /// The final answer in a response, if there is one: [`final_answer`], unless it is said otherwise.
    fn extract_answer(&self, response: &str) -> Option<String> {
        final_answer(response)
    }

    /// The same where it depends on the task; [`Self::extract_answer`], unless it is said otherwise.
    fn answer_to(&self, _task: &Task, response: &str) -> Option<String> {
        self.extract_answer(response)
    }

    /// Whether the trajectory's answer is right. Asked once, by [`crate::score_group`]. It is one of
    /// the task's answers, but for case and spaces around it, unless it is said otherwise.
    fn succeeded(&self, task: &Task, trajectory: &Trajectory) -> bool {
        let said = trajectory.answer.as_ref().map(|answer| answer.trim().to_lowercase());
        said.is_some_and(|said| task.answers.iter().any(|gold| gold.trim().to_lowercase() == said))
    }

    /// `r_task`, in [0, 1]: what the answer is worth. Whether it is right stands in the trajectory
    /// by then (`success`).
    fn task_reward(&self, _task: &Task, trajectory: &Trajectory) -> f64 {
        f64::from(u8::from(trajectory.success == Some(true)))
    }

    /// Further numbers about an episode, by name; their means are reported. A name that does not
    /// apply is left out.
    fn metrics(&self, _task: &Task, _trajectory: &Trajectory) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Worked solutions of mixed quality for supervised warm starts, never of a validation or test
    /// task. `index` seeds each. None, unless there are some.
    fn demonstration(&self, _index: u64) -> Option<Demonstration> {
        None
    }

    /// Who answers the policy's turns, in an environment of several turns; nobody, unless it is said
    /// otherwise, and an episode ends with the first turn that calls nothing.
    fn partner(&self) -> Option<Arc<dyn Partner>> {
        None
    }

    /// Tools that the environment brings itself, besides those that a configuration lists.
    fn own_tools(&self) -> Vec<Arc<dyn Tool>> {
        Vec::new()
    }

    /// How many episodes may be played at a time; as many as one likes, unless it is said otherwise.
    fn most_episodes(&self) -> usize {
        usize::MAX
    }

    /// Names of rewards that the environment gives itself, for objectives of the type
    /// `environment`; none, unless it is said otherwise.
    fn reward_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it gives an episode by one of these names, in [0, 1]; `None` where it gave nothing.
    fn reward(&self, _name: &str, _task: &Task, _trajectory: &Trajectory) -> Option<f64> {
        None
    }

    /// The environments that it consists of, where a run has several; their names stand in front of
    /// their tasks' ids.
    fn parts(&self) -> &[Part] {
        &[]
    }

    /// The one of [`Self::parts`] that a task is of.
    fn part_of(&self, task: &Task) -> Option<&Part> {
        let (name, _) = task.id.split_once('/')?;
        self.parts().iter().find(|part| part.name == name)
    }

    /// The passages that come with the tasks, for tools that search them. They are taken once, before
    /// anything is played, so that they need not be held.
    fn take_passages(&mut self) -> Vec<Passage> {
        Vec::new()
    }
}

/// The answer in a response: what stands in the last `<answer>` tags, in the last `\boxed{}`, or behind
/// the last `answer:` or `answer is`, up to the end of its line and without a full stop; `None` without
/// any, or where nothing stands there.
pub fn final_answer(response: &str) -> Option<String> {
    if let Some(tagged) = crate::qa::extract_tagged(response) {
        return Some(tagged);
    }
    if response.contains("\\boxed{") {
        return paretopo_grading::extract_answer(response);
    }
    let lower = response.to_ascii_lowercase();
    let ends = ["answer:", "answer is"].iter().filter_map(|mark| {
        let place = lower.rfind(mark)?;
        Some(place + mark.len())
    });
    let rest = response[ends.max()?..].lines().next().unwrap_or_default();
    let answer = rest.trim().trim_end_matches('.').trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::TrajectoryId;

    struct Nothing;

    impl Environment for Nothing {
        fn tasks(&self, _: Split) -> &[Task] {
            &[]
        }
    }

    #[test]
    fn an_answer_stands_in_tags_or_behind_its_name() {
        for (response, answer) in [
            ("<answer> Paris </answer>", Some("Paris")),
            ("answer: 3, or \\boxed{1}? No, \\boxed{\\frac{1}{2}}", Some("\\frac{1}{2}")),
            ("answer: 3\nanswer: 4", Some("4")),
            ("So the Answer is Paris.\nGood bye.", Some("Paris")),
            ("The answer is: no", Some(": no")),
            ("Paris", None),
            ("answer:", None),
            ("", None),
        ] {
            let expected = answer.map(|answer| answer.trim_start_matches(": ").to_owned());
            let found =
                final_answer(response).map(|found| found.trim_start_matches(": ").to_owned());
            assert_eq!(found, expected, "{response}");
        }
    }

    #[test]
    fn answers_are_compared_without_case_and_outer_spaces() {
        let task = Task { answers: vec!["Paris".into(), "Lutetia".into()], ..Task::default() };
        let says = |answer: Option<&str>| Trajectory {
            answer: answer.map(str::to_owned),
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "", 0)
        };
        assert!(Nothing.succeeded(&task, &says(Some(" paris"))));
        assert!(Nothing.succeeded(&task, &says(Some("LUTETIA"))));
        assert!(!Nothing.succeeded(&task, &says(Some("Pari"))));
        assert!(!Nothing.succeeded(&task, &says(None)));
    }
}
