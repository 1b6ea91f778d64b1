//! What each tool was called for in a step: how often, how long it took, how much it said, and how
//! often it was itself to blame, as a server is that is down.

use paretopo_trajectory::{CallRecord, Fault, Trajectory};

/// The numbers of each tool of `names`, by their names in the metrics; those of calls are 0 where
/// it was not called.
pub(super) fn of_tools<'t>(
    names: impl Iterator<Item = &'t str>,
    trajectories: &[&Trajectory],
    put: &mut dyn FnMut(&str, f64),
) {
    let episodes = trajectories.len().max(1) as f64;
    for name in names {
        let is_of_it =
            |record: &&CallRecord| record.call.as_ref().is_some_and(|call| call.name == name);
        let all = trajectories.iter().flat_map(|one| &one.calls);
        let calls: Vec<&CallRecord> = all.filter(is_of_it).collect();
        let outcomes = || calls.iter().map(|record| &record.outcome);
        let each = |sum: f64| sum / calls.len().max(1) as f64;
        let seconds = outcomes().map(|outcome| f64::from(outcome.seconds)).sum();
        let bytes: usize = outcomes().map(|outcome| outcome.text.len()).sum();
        let faults = outcomes().filter(|outcome| outcome.fault == Some(Fault::Tool)).count();
        put(&format!("tool/{name}/calls"), calls.len() as f64 / episodes);
        put(&format!("tool/{name}/seconds"), each(seconds));
        put(&format!("tool/{name}/bytes"), each(bytes as f64));
        put(&format!("tool/{name}/faults"), each(faults as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::{CallStatus, ToolCall, ToolOutcome, TrajectoryId};
    use std::collections::BTreeMap;

    #[test]
    fn each_tool_has_its_own_numbers() {
        let call = |name: &str, outcome: ToolOutcome| {
            let call = ToolCall { name: name.into(), arguments: serde_json::json!({}) };
            CallRecord::new(Some(call), outcome)
        };
        let fine = |text: &str, seconds| ToolOutcome::new(CallStatus::Ok, text, seconds);
        let down = ToolOutcome::new(CallStatus::Error, "down", 2.0).with_fault(Fault::Tool);
        let played = |calls| Trajectory {
            calls,
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "", 0)
        };
        let one =
            played(vec![call("a", fine("12", 0.5)), call("a", down), call("b", fine("é", 0.25))]);
        let other = played(vec![CallRecord::new(None, fine("none", 9.0))]);
        let mut found = BTreeMap::new();
        let mut put = |name: &str, value: f64| {
            found.insert(name.to_owned(), value);
        };
        of_tools(["a", "b", "c"].into_iter(), &[&one, &other], &mut put);
        let of = |name: &str| {
            ["calls", "seconds", "bytes", "faults"]
                .map(|what| found[&format!("tool/{name}/{what}")])
        };
        // 2 calls of 2 episodes; (0.5 + 2) / 2 s; (2 + 4) / 2 bytes; 1 of 2
        assert_eq!(of("a"), [1.0, 1.25, 3.0, 0.5]);
        // 1 call of 2 episodes; "é" has 2 bytes
        assert_eq!(of("b"), [0.5, 0.25, 2.0, 0.0]);
        assert_eq!(of("c"), [0.0; 4]);
    }
}
