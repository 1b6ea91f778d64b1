//! Which trajectory has which session: one each, begun by its first call, ended with it.
//!
//! No more than a fixed number of sessions lives at a time. A call that would begin one more waits
//! until another trajectory ends, at most until its own deadline. Calls of one trajectory go one
//! after the other.

use paretopo_trajectory::TrajectoryId;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What is known of a trajectory.
#[derive(Debug)]
struct Kept<S> {
    session: Option<S>,
    /// Whether a call has the session, or begins one.
    busy: bool,
    /// Whether it ended while a call was busy.
    over: bool,
    /// A hash of all programs that the session has run.
    history: u64,
    /// How many interpreters it has ended, one after the other.
    ended: usize,
}

impl<S> Default for Kept<S> {
    fn default() -> Self {
        Self { session: None, busy: false, over: false, history: 0, ended: 0 }
    }
}

#[derive(Debug)]
struct State<S> {
    kept: HashMap<TrajectoryId, Kept<S>>,
    /// Sessions that live or are about to begin.
    live: usize,
}

/// The sessions of all trajectories that have begun.
#[derive(Debug)]
pub(super) struct Sessions<S> {
    most: usize,
    state: Mutex<State<S>>,
    changed: Condvar,
}

/// Why a trajectory gets no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody has said that it begins, or it has ended.
    Unknown,
    /// An earlier call of its own was busy until the deadline.
    Busy,
    /// So many others had sessions until the deadline.
    Full(usize),
}

impl<S> Sessions<S> {
    /// None yet, and never more than `most`.
    pub(super) fn new(most: usize) -> Self {
        let state = State { kept: HashMap::new(), live: 0 };
        Self { most, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A trajectory begins; nothing changes if it already has.
    pub(super) fn begin(&self, trajectory: &TrajectoryId) {
        self.state().kept.entry(trajectory.clone()).or_default();
    }

    /// A trajectory has ended, and its session ends: now, or when the call that has it returns.
    pub(super) fn end(&self, trajectory: &TrajectoryId) {
        let mut state = self.state();
        if let Some(kept) = state.kept.get_mut(trajectory)
            && kept.busy
        {
            kept.over = true;
            return;
        }
        let session = state.kept.remove(trajectory).and_then(|kept| kept.session);
        state.live -= usize::from(session.is_some());
        drop(state);
        self.changed.notify_all();
        // outside of the lock, since a process ends with it
        drop(session);
    }

    /// A call's turn, with the trajectory's session or room for one.
    ///
    /// # Errors
    /// When there is none by the deadline.
    pub(super) fn turn(
        &self,
        trajectory: &TrajectoryId,
        deadline: Instant,
    ) -> Result<Turn<'_, S>, Refused> {
        let mut state = self.state();
        loop {
            let room = state.live < self.most;
            let kept = state.kept.get_mut(trajectory).filter(|kept| !kept.over);
            let kept = kept.ok_or(Refused::Unknown)?;
            if !kept.busy && (room || kept.session.is_some()) {
                kept.busy = true;
                let session = kept.session.take();
                let (history, ended) = (kept.history, kept.ended);
                state.live += usize::from(session.is_none());
                let trajectory = trajectory.clone();
                return Ok(Turn { sessions: self, trajectory, session, history, ended });
            }
            let why = if kept.busy { Refused::Busy } else { Refused::Full(self.most) };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(why);
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A call's time with its trajectory's session. What is in here when it is dropped is kept for the
/// next call, unless the trajectory has ended meanwhile.
#[derive(Debug)]
pub(super) struct Turn<'a, S> {
    sessions: &'a Sessions<S>,
    trajectory: TrajectoryId,
    /// None if it has not begun, or has ended.
    pub(super) session: Option<S>,
    /// A hash of all programs that the session has run.
    pub(super) history: u64,
    /// How many interpreters the trajectory has ended, one after the other.
    pub(super) ended: usize,
}

impl<S> Drop for Turn<'_, S> {
    fn drop(&mut self) {
        let mut session = self.session.take();
        let mut state = self.sessions.state();
        if session.is_none() {
            self.history = 0;
        }
        match state.kept.get_mut(&self.trajectory) {
            Some(kept) if !kept.over => {
                kept.busy = false;
                kept.history = self.history;
                kept.ended = self.ended;
                kept.session = session.take();
                state.live -= usize::from(kept.session.is_none());
            }
            _ => {
                state.kept.remove(&self.trajectory);
                state.live -= 1;
            }
        }
        drop(state);
        self.sessions.changed.notify_all();
        drop(session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn id(number: usize) -> TrajectoryId {
        TrajectoryId::new("test", 0, number)
    }

    fn now() -> Instant {
        Instant::now()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_session_is_kept_from_call_to_call() {
        let sessions = Sessions::new(2);
        sessions.begin(&id(1));
        sessions.turn(&id(1), now()).unwrap().session = Some(7);
        // a second beginning changes nothing
        sessions.begin(&id(1));
        assert_eq!(sessions.turn(&id(1), now()).unwrap().session, Some(7));
        sessions.end(&id(1));
        assert_eq!(sessions.turn(&id(1), now()).unwrap_err(), Refused::Unknown);
        sessions.end(&id(1));
        assert_eq!(sessions.state().live, 0);
    }

    #[test]
    fn a_call_waits_for_the_one_before() {
        let sessions = Sessions::new(1);
        sessions.begin(&id(1));
        let mut first = sessions.turn(&id(1), now()).unwrap();
        assert_eq!(sessions.turn(&id(1), now()).unwrap_err(), Refused::Busy);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| sessions.turn(&id(1), soon()).unwrap().session);
            first.session = Some(3);
            drop(first);
            assert_eq!(second.join().unwrap(), Some(3));
        });
    }

    #[test]
    fn above_the_bound_a_call_waits_until_another_trajectory_ends() {
        let sessions = Sessions::new(1);
        sessions.begin(&id(1));
        sessions.begin(&id(2));
        sessions.turn(&id(1), now()).unwrap().session = Some(1);
        let started = Instant::now();
        let deadline = started + Duration::from_millis(30);
        assert_eq!(sessions.turn(&id(2), deadline).unwrap_err(), Refused::Full(1));
        assert!(started.elapsed() >= Duration::from_millis(30));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| sessions.turn(&id(2), soon()).map(|turn| turn.session));
            sessions.end(&id(1));
            assert_eq!(waits.join().unwrap(), Ok(None));
        });
        // one that has its session waits for nobody
        sessions.turn(&id(2), now()).unwrap().session = Some(2);
        assert_eq!(sessions.turn(&id(2), now()).unwrap().session, Some(2));
    }

    #[test]
    fn a_trajectory_that_ends_during_a_call_ends_with_it() {
        let sessions = Sessions::new(1);
        sessions.begin(&id(1));
        let mut turn = sessions.turn(&id(1), now()).unwrap();
        sessions.end(&id(1));
        assert_eq!(sessions.turn(&id(1), now()).unwrap_err(), Refused::Unknown);
        turn.session = Some(Counted::new());
        assert_eq!(LIVE.with(|live| live.load(Ordering::Relaxed)), 1);
        drop(turn);
        assert_eq!(LIVE.with(|live| live.load(Ordering::Relaxed)), 0);
        assert!(sessions.state().kept.is_empty());
        assert_eq!(sessions.state().live, 0);
    }

    thread_local! {
        static LIVE: AtomicUsize = const { AtomicUsize::new(0) };
    }

    /// Counts how many of its kind there are.
    #[derive(Debug)]
    struct Counted;

    impl Counted {
        fn new() -> Self {
            LIVE.with(|live| live.fetch_add(1, Ordering::Relaxed));
            Self
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            LIVE.with(|live| live.fetch_sub(1, Ordering::Relaxed));
        }
    }

    proptest! {
        /// Beginnings, calls that keep or lose their session, and ends, in any order: there are the
        /// sessions of trajectories that have begun, not ended and not lost theirs.
        #[test]
        fn sessions_are_those_of_a_model(
            steps in prop::collection::vec((0usize..4, 0usize..4), 0..60),
        ) {
            let sessions = Sessions::new(3);
            let mut model: HashMap<usize, bool> = HashMap::new();
            for (what, number) in steps {
                match what {
                    0 => {
                        sessions.begin(&id(number));
                        model.entry(number).or_insert(false);
                    }
                    1 => {
                        sessions.end(&id(number));
                        model.remove(&number);
                    }
                    _ => {
                        let live = model.values().filter(|has| **has).count();
                        let turn = sessions.turn(&id(number), now());
                        let expected = match model.get(&number) {
                            None => Err(Refused::Unknown),
                            Some(false) if live == 3 => Err(Refused::Full(3)),
                            Some(has) => Ok(*has),
                        };
                        let has = turn.as_ref().map(|turn| turn.session.is_some());
                        prop_assert_eq!(has.map_err(|refused| *refused), expected);
                        if let Ok(mut turn) = turn {
                            turn.session = (what == 2).then(|| turn.session.take())
                                .map(|kept| kept.unwrap_or_else(Counted::new));
                            model.insert(number, what == 2);
                        }
                    }
                }
                let live = model.values().filter(|has| **has).count();
                prop_assert_eq!(LIVE.with(|live| live.load(Ordering::Relaxed)), live);
                prop_assert_eq!(sessions.state().live, live);
            }
        }
    }
}
