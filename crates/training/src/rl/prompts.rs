//! The order in which training tasks are drawn.

use crate::seeds::{Purpose, derive_seed};
use paretopo_trajectory::Task;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The next prompts: the training tasks in a new order each time all have been used. `drawn` counts
/// the prompts that a run has drawn.
pub(super) fn next_tasks(tasks: &[Task], seed: u64, drawn: &mut u64, count: usize) -> Vec<Task> {
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let pass = *drawn / tasks.len() as u64;
        let place = (*drawn % tasks.len() as u64) as usize;
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        let seed = derive_seed(seed, pass, Purpose::TaskOrder);
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let taken = (count - chosen.len()).min(tasks.len() - place);
        chosen.extend(order[place..place + taken].iter().map(|index| tasks[*index].clone()));
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
        let ids: Vec<String> =
            (0..5).flat_map(|_| next_tasks(&tasks, 1, &mut drawn, 3)).map(|task| task.id).collect();
        assert_eq!(drawn, 15);
        let (first, second) = (&ids[..7], &ids[7..14]);
        assert!([first, second].iter().all(|pass| pass.iter().collect::<BTreeSet<_>>().len() == 7));
        assert_ne!(first, second);
        // what was drawn before decides alone
        let again: Vec<String> =
            next_tasks(&tasks, 1, &mut 6, 5).into_iter().map(|task| task.id).collect();
        assert_eq!(again, ids[6..11]);
    }
}
