//! The order in which training tasks are drawn.

use crate::seeds::{Purpose, derive_seed};
use paretopo_environments::{DataError, Environment, Part, Schedule};
use paretopo_trajectory::{Split, Task};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::borrow::Borrow;

/// The next prompts of a run, of which it has drawn so many. Where it has several environments, each
/// prompt comes from the one whose turn it is ([`Schedule`]), which a seed and the prompt's number
/// decide.
///
/// # Errors
/// When an environment has no training task.
pub(super) fn next_prompts(
    environment: &dyn Environment,
    seed: u64,
    drawn: &mut u64,
    count: usize,
) -> Result<Vec<Task>, DataError> {
    let tasks = environment.tasks(Split::Train);
    let parts = environment.parts();
    if parts.is_empty() {
        return Ok(next_tasks(tasks, seed, Purpose::TaskOrder, drawn, count));
    }
    let pool = |part: &Part| tasks.iter().filter(|task| part.owns(environment, task)).collect();
    let pools: Vec<Vec<&Task>> = parts.iter().map(pool).collect();
    if let Some(place) = pools.iter().position(Vec::is_empty) {
        return Err(DataError::Setting(format!(
            "there is no train task of the environment `{}`",
            parts[place].name
        )));
    }
    let schedule = Schedule::new(parts, derive_seed(seed, 0, Purpose::Environments))?;
    let mut chosen = Vec::with_capacity(count);
    for _ in 0..count {
        let (part, mut earlier) = schedule.at(*drawn);
        let order = Purpose::PartOrder(part as u64);
        chosen.extend(next_tasks(&pools[part], seed, order, &mut earlier, 1));
        *drawn += 1;
    }
    Ok(chosen)
}

/// The next of an environment's tasks: all in a new order each time all have been used. `drawn` counts
/// those that have been drawn.
fn next_tasks(
    tasks: &[impl Borrow<Task>],
    seed: u64,
    purpose: Purpose,
    drawn: &mut u64,
    count: usize,
) -> Vec<Task> {
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let pass = *drawn / tasks.len() as u64;
        let place = (*drawn % tasks.len() as u64) as usize;
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        let seed = derive_seed(seed, pass, purpose);
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let taken = (count - chosen.len()).min(tasks.len() - place);
        chosen
            .extend(order[place..place + taken].iter().map(|index| tasks[*index].borrow().clone()));
        *drawn += taken as u64;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_pass_draws_every_task_once_in_an_order_of_its_own() {
        let tasks: Vec<Task> =
            (0..7).map(|id| Task { id: id.to_string(), ..Task::default() }).collect();
        let mut drawn = 0;
        // 3 at a time over 7 tasks: two passes are 14 of 15
        let ids: Vec<String> = (0..5)
            .flat_map(|_| next_tasks(&tasks, 1, Purpose::TaskOrder, &mut drawn, 3))
            .map(|task| task.id)
            .collect();
        assert_eq!(drawn, 15);
        let (first, second) = (&ids[..7], &ids[7..14]);
        assert!([first, second].iter().all(|pass| pass.iter().collect::<BTreeSet<_>>().len() == 7));
        assert_ne!(first, second);
        // what was drawn before decides alone
        let again: Vec<String> = next_tasks(&tasks, 1, Purpose::TaskOrder, &mut 6, 5)
            .into_iter()
            .map(|task| task.id)
            .collect();
        assert_eq!(again, ids[6..11]);
    }
}
