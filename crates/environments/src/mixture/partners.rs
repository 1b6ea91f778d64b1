//! Who answers turns in a run of several environments: each one's own partner, those of its episodes.

use super::Part;
use crate::{Environment, Partner};
use paretopo_tools::CallContext;
use paretopo_trajectory::{Reply, Task, TrajectoryId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The partners of several environments.
pub(super) struct Partners {
    parts: Vec<Part>,
    /// By the environments' places.
    partners: Vec<Option<Arc<dyn Partner>>>,
    /// Who answers each episode that is played.
    played: Mutex<HashMap<TrajectoryId, Arc<dyn Partner>>>,
}

impl Partners {
    /// Those of the environments; none where none of them answers turns.
    pub(super) fn of(parts: &[Part], environments: &[Box<dyn Environment>]) -> Option<Arc<Self>> {
        let partners: Vec<_> =
            environments.iter().map(|environment| environment.partner()).collect();
        let has_some = partners.iter().any(Option::is_some);
        let all = Self { parts: parts.to_vec(), partners, played: Mutex::default() };
        has_some.then(|| Arc::new(all))
    }

    /// Who answers the turns of a task, and the task as its environment knows it.
    fn of_task(&self, task: &Task) -> Option<(&Arc<dyn Partner>, Task)> {
        let (name, _) = task.id.split_once('/')?;
        let place = self.parts.iter().position(|part| part.name == name)?;
        Some((self.partners[place].as_ref()?, self.parts[place].unnamed(task)))
    }

    fn played(&self) -> MutexGuard<'_, HashMap<TrajectoryId, Arc<dyn Partner>>> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partner for Partners {
    fn answers(&self, task: &Task) -> bool {
        self.of_task(task).is_some_and(|(partner, task)| partner.answers(&task))
    }

    fn begin(&self, task: &Task, trajectory: &TrajectoryId) {
        let Some((partner, task)) = self.of_task(task) else { return };
        partner.begin(&task, trajectory);
        self.played().insert(trajectory.clone(), partner.clone());
    }

    fn answer(&self, said: &str, context: &CallContext) -> Reply {
        let partner = self.played().get(&context.trajectory).cloned();
        match partner {
            Some(partner) => partner.answer(said, context),
            None => Reply::failed(format!("no episode `{}` is played", context.trajectory)),
        }
    }

    fn end(&self, trajectory: &TrajectoryId) {
        let partner = self.played().remove(trajectory);
        if let Some(partner) = partner {
            partner.end(trajectory);
        }
    }
}
