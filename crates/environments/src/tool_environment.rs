//! An environment with the tools that may be called in it and the objectives by which its episodes
//! are judged: what a run plays.

use crate::mixture::Mixture;
use crate::{
    Budget, DataError, Environment, EnvironmentConfig, NamedObjective, ObjectiveConfig, Part,
    named_objectives,
};
use paretopo_tools::{
    ListedTool, LoadObserver, Resources, ToolEntry, ToolSurroundings, start_tools,
};
use paretopo_trajectory::{CallRecord, Split, Task, Trajectory};
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

/// What a call counts for that names no tool.
const USUAL_PRICE: f64 = 1.0;

/// What stands in a reward vector for an objective that an episode's environment does not have: the
/// ideal, so that hypervolumes are those of the others, and no distance from it is the largest.
pub const NEUTRAL: f64 = 1.0;

/// One of several environments, as a configuration lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOfSeveral {
    /// Its name, which stands in front of its tasks' ids.
    pub name: String,
    /// Its share of the prompts, relative to the others'.
    pub share: f64,
    /// The environment.
    pub environment: EnvironmentConfig,
    /// Tools of the configuration that its episodes may call; all where none are named.
    pub tools: Option<Vec<String>>,
    /// Objectives that its episodes have; all where none are named.
    pub objectives: Option<Vec<String>>,
    /// What its episodes may use up.
    pub budget: Budget,
}

/// An environment, its tools and its objectives. What the environment alone says is asked of it
/// directly: `tool_environment.tasks(..)`.
pub struct ToolEnvironment {
    /// Tasks and answers.
    pub environment: Box<dyn Environment>,
    /// What the agent may call.
    pub tools: Vec<ListedTool>,
    /// What episodes are judged by, in the order of the reward vector; the first is task success.
    pub objectives: Vec<NamedObjective>,
}

impl OneOfSeveral {
    /// Settings are named by their place in the configuration.
    pub fn said(&self, error: DataError) -> DataError {
        let words = error.to_string();
        let place = format!("`environments.{}.environment", self.name);
        DataError::Setting(match words.strip_prefix("`environment") {
            Some(rest) => format!("{place}{rest}"),
            None => format!("{place}`: {words}"),
        })
    }

    /// What is known of it before it is built.
    pub fn part(&self) -> Part {
        Part {
            name: self.name.clone(),
            share: self.share,
            tools: self.tools.clone(),
            own_tools: Vec::new(),
            foreign_tools: Vec::new(),
            objectives: self.objectives.clone(),
            rewards: Vec::new(),
            budget: self.budget,
        }
    }
}

impl Deref for ToolEnvironment {
    type Target = dyn Environment;

    fn deref(&self) -> &Self::Target {
        self.environment.as_ref()
    }
}

impl ToolEnvironment {
    /// Makes the environment, and starts the tools and the judges.
    ///
    /// # Errors
    /// When data cannot be read, a tool or a judge cannot start, or a setting makes no sense.
    pub fn build(
        environment: &EnvironmentConfig,
        tools: &[ToolEntry],
        objectives: &[ObjectiveConfig],
        resources: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<Self, DataError> {
        environment.check()?;
        let objectives = named_objectives(objectives)?;
        let environment = environment.build(resources, observer)?;
        Self::equip(environment, tools, objectives, resources, observer)
    }

    /// The same of several environments, each with its share of the prompts.
    ///
    /// # Errors
    /// As [`Self::build`], and when one names a tool or an objective that there is not.
    pub fn build_several(
        several: &[OneOfSeveral],
        tools: &[ToolEntry],
        objectives: &[ObjectiveConfig],
        resources: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<Self, DataError> {
        let objectives = named_objectives(objectives)?;
        let mut parts = Vec::with_capacity(several.len());
        let mut environments = Vec::with_capacity(several.len());
        for one in several {
            let said = |error| one.said(error);
            one.environment.check().map_err(said)?;
            environments.push(one.environment.build(resources, observer).map_err(said)?);
            parts.push(one.part());
        }
        Part::learn(&mut parts, &environments);
        let environment = Box::new(Mixture::new(parts, environments)?);
        let built = Self::equip(environment, tools, objectives, resources, observer)?;
        let tools: Vec<&str> = built.tools.iter().map(|tool| tool.name.as_str()).collect();
        let objectives: Vec<&str> = built.objectives.iter().map(|one| one.name.as_str()).collect();
        for part in built.parts() {
            part.check_tools(&tools)?;
            part.check_objectives(&objectives)?;
        }
        Ok(built)
    }

    /// Starts the tools and the judges.
    fn equip(
        mut environment: Box<dyn Environment>,
        tools: &[ToolEntry],
        mut objectives: Vec<NamedObjective>,
        resources: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<Self, DataError> {
        require_unique_ids(environment.as_ref())?;
        note_shared_questions(environment.as_ref(), observer);
        let passages = environment.take_passages();
        let mut surroundings = ToolSurroundings { resources, passages: &passages, observer };
        let mut tools = start_tools(tools, &mut surroundings).map_err(DataError::Setting)?;
        tools.extend(environment.own_tools().into_iter().map(ListedTool::plain));
        require_unique_tools(&tools)?;
        require_rewards(&objectives, environment.as_ref())?;
        objectives.iter_mut().try_for_each(NamedObjective::start)?;
        Ok(Self { environment, tools, objectives })
    }

    /// The objectives' names, in the order of the reward vector.
    pub fn objective_names(&self) -> Arc<[String]> {
        self.objectives.iter().map(|objective| objective.name.clone()).collect()
    }

    /// Whether episodes on a task have an objective; in a run of one environment all have.
    pub fn applies(&self, objective: &NamedObjective, task: &Task) -> bool {
        let given = objective.objective.given();
        self.part_of(task).is_none_or(|part| part.has(&objective.name, given))
    }

    /// The places of the objectives that episodes on a task do not have.
    pub fn lacks(&self, task: &Task) -> Vec<usize> {
        let objectives = self.objectives.iter().enumerate();
        let lacking = objectives.filter(|(_, objective)| !self.applies(objective, task));
        lacking.map(|(place, _)| place).collect()
    }

    /// A value for each objective, in their order, of a scored trajectory; [`NEUTRAL`] for one that
    /// its environment does not have.
    pub fn rewards(&self, trajectory: &Trajectory) -> Vec<f64> {
        let objectives = self.objectives.iter();
        objectives
            .map(|objective| trajectory.objectives.get(&objective.name).unwrap_or(NEUTRAL))
            .collect()
    }

    /// The tools that episodes on a task may call.
    pub fn tools_of<'t>(&'t self, task: &Task) -> impl Iterator<Item = &'t ListedTool> {
        let part = self.part_of(task);
        self.tools.iter().filter(move |tool| part.is_none_or(|part| part.offers(&tool.name)))
    }

    /// What episodes on a task may use up, where its environment says so.
    pub fn budget(&self, task: &Task) -> Budget {
        self.part_of(task).map(|part| part.budget).unwrap_or_default()
    }

    /// What a trajectory's calls count for: the sum of their prices, as drawn with the call or as
    /// their tools have them. A call that names no tool counts 1.
    pub fn cost(&self, trajectory: &Trajectory) -> f64 {
        let of_call = trajectory.calls.iter().map(|record| self.price(record));
        // not `sum`, which is -0.0 where there is none
        of_call.fold(0.0, |cost, price| cost + price)
    }

    /// The same by turns ([`Trajectory::turns`]): what the calls that each turn made count for. A
    /// call of which is not known who made it counts for the last turn.
    pub fn turn_costs(&self, trajectory: &Trajectory) -> Vec<f64> {
        let turns = trajectory.turns();
        let mut costs = vec![0.0; turns.len()];
        for record in &trajectory.calls {
            let turn = turns
                .iter()
                .position(|turn| record.segment.is_some_and(|segment| turn.contains(&segment)));
            if let Some(cost) = costs.get_mut(turn.unwrap_or(turns.len().saturating_sub(1))) {
                *cost += self.price(record);
            }
        }
        costs
    }

    /// What its calls count for on average: the sum of their tools' prices, whatever was drawn. It is
    /// [`Self::cost`] where no price is drawn. What a run remembers of a task is told in it, so that
    /// one lucky price is not taken for a cheaper way.
    pub fn expected_cost(&self, trajectory: &Trajectory) -> f64 {
        let of_call = trajectory.calls.iter().map(|record| self.listed_price(record));
        of_call.fold(0.0, |cost, price| cost + price)
    }

    fn price(&self, record: &CallRecord) -> f64 {
        record.price.unwrap_or_else(|| self.listed_price(record))
    }

    fn listed_price(&self, record: &CallRecord) -> f64 {
        let called = record.call.as_ref();
        let tool = called.and_then(|call| self.tools.iter().find(|tool| tool.name == call.name));
        tool.map_or(USUAL_PRICE, |tool| tool.price)
    }

    /// Whether all calls count the same, so that their number says what they cost.
    pub fn has_one_price(&self) -> bool {
        self.tools.iter().all(|tool| tool.price == USUAL_PRICE && tool.price_deviation == 0.0)
    }

    /// The most that an episode of so many calls can cost.
    pub fn highest_cost(&self, calls: usize) -> f64 {
        calls as f64 * self.tools.iter().map(ListedTool::highest_price).fold(USUAL_PRICE, f64::max)
    }
}

/// # Errors
/// When the environment brings a tool of a name that the configuration lists.
fn require_unique_tools(tools: &[ListedTool]) -> Result<(), DataError> {
    let mut seen = HashSet::new();
    match tools.iter().find(|tool| !seen.insert(&tool.name)) {
        Some(tool) => Err(DataError::Setting(format!(
            "two tools are called `{}`\nhint: the environment brings tools of its own; give the one \
             of `[[tools]]` another `name`",
            tool.name
        ))),
        None => Ok(()),
    }
}

/// # Errors
/// When an objective is a reward that the environment does not give.
fn require_rewards(
    objectives: &[NamedObjective],
    environment: &dyn Environment,
) -> Result<(), DataError> {
    let given = environment.reward_names();
    let wanted = objectives.iter().filter_map(|named| named.objective.given());
    for name in wanted {
        if !given.iter().any(|given| given == name) {
            let known = match given.is_empty() {
                true => "it gives none but its task's".to_owned(),
                false => format!("it gives `{}`", given.join("`, `")),
            };
            return Err(DataError::Setting(format!(
                "the environment gives no reward `{name}` (`objectives`); {known}"
            )));
        }
    }
    Ok(())
}

/// # Errors
/// When two tasks, of whichever splits, have the same id: what a run remembers of one would be taken
/// for the other's.
fn require_unique_ids(environment: &dyn Environment) -> Result<(), DataError> {
    let splits = [Split::Train, Split::Validation, Split::Test];
    let mut seen = HashSet::new();
    let tasks = splits.iter().flat_map(|split| environment.tasks(*split));
    match tasks.map(|task| &task.id).find(|id| !seen.insert(*id)) {
        Some(id) => Err(DataError::Setting(format!(
            "two tasks of the environment have the id `{id}`\nhint: give each task of all splits an \
             id of its own"
        ))),
        None => Ok(()),
    }
}

/// Says which held-out tasks are also learnt from, word for word: what they measure is memory.
fn note_shared_questions(environment: &dyn Environment, observer: &mut dyn LoadObserver) {
    let train = environment.tasks(Split::Train);
    let learnt: HashSet<&str> = train.iter().map(|task| task.question.as_str()).collect();
    for (split, name) in [(Split::Validation, "validation"), (Split::Test, "test")] {
        let tasks = environment.tasks(split);
        let mut shared = tasks.iter().filter(|task| learnt.contains(task.question.as_str()));
        if let Some(first) = shared.next() {
            observer.note(&format!(
                "warning: {} of {} {name} tasks ask what a training task asks, `{}` first",
                1 + shared.count(),
                tasks.len(),
                first.id
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::Task;

    struct Twice(Vec<Task>);

    impl Environment for Twice {
        fn tasks(&self, _: Split) -> &[Task] {
            &self.0
        }
    }

    struct Notes(Vec<String>);

    impl LoadObserver for Notes {
        fn progress(&mut self, _: &str, _: u64, _: u64) {}

        fn note(&mut self, message: &str) {
            self.0.push(message.to_owned());
        }
    }

    #[test]
    fn held_out_tasks_that_are_learnt_from_are_told() {
        struct ThirdShared;
        impl Environment for ThirdShared {
            fn tasks(&self, split: Split) -> &[Task] {
                static TASKS: std::sync::LazyLock<Vec<Task>> = std::sync::LazyLock::new(|| {
                    let task = |(id, question): (&str, &str)| Task {
                        id: id.into(),
                        question: question.into(),
                        ..Task::default()
                    };
                    [("a", "1+1"), ("b", "2+2"), ("c", "1+1"), ("d", "3+3")].map(task).into()
                });
                match split {
                    Split::Train => &TASKS[..2],
                    Split::Validation => &TASKS[3..],
                    Split::Test => &TASKS[2..],
                }
            }
        }
        let mut notes = Notes(Vec::new());
        note_shared_questions(&ThirdShared, &mut notes);
        let expected =
            "warning: 1 of 2 test tasks ask what a training task asks, `c` first".to_owned();
        assert_eq!(notes.0, [expected]);
    }

    #[test]
    fn tasks_of_all_splits_have_ids_of_their_own() {
        assert!(require_unique_ids(&Twice(Vec::new())).is_ok());
        // the same task in all three
        let task = Task { id: "one".into(), ..Task::default() };
        let error = require_unique_ids(&Twice(vec![task])).unwrap_err().to_string();
        assert!(
            error.starts_with("two tasks of the environment have the id `one`\nhint: "),
            "{error}"
        );
    }
}
