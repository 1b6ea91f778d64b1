//! The line to one dashboard: a bounded queue, a thread that sends what is in it, and an end that
//! comes in time.
//!
//! Whoever trains puts records into the queue and goes on; where it is full, a record is dropped.
//! The thread tries again where a server is away, with pauses that double up to half a minute, and
//! gives a record up that a server refuses. At the end it has a limit; what is not told by then is
//! not told at all. Nothing of this is an error of the run: it is counted and said.

use crate::record::Record;
use crate::request::Failure;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// Records that are sent together.
const TOGETHER: usize = 16;
/// The pause after a first failure, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// The pause while a run waits for its end.
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// How a run comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All is done.
    Finished,
    /// It was stopped, or failed; the same command may go on with it.
    Stopped,
}

/// One program that shows runs.
pub(crate) trait Dashboard: Send {
    /// What is done before anything is told; again where it failed.
    fn begin(&mut self) -> Result<(), Failure>;
    /// Tells records, in order.
    fn tell(&mut self, records: &[Record]) -> Result<(), Failure>;
    /// What is done when everything is told.
    fn end(&mut self, ending: Ending) -> Result<(), Failure>;
}

/// What the thread and its run share.
#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Record>,
    /// Records that are being sent.
    under_way: u64,
    /// All that were to be told, and those that will not be.
    given: u64,
    dropped: u64,
    ending: Option<Ending>,
    /// Whether nobody waits any more.
    is_abandoned: bool,
    is_over: bool,
    /// Why something was not told, the first and the last time.
    first_reason: Option<String>,
    last_reason: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line, as whoever trains holds it.
#[derive(Debug)]
pub(crate) struct Line {
    /// `trackio at ADDRESS`.
    name: String,
    most: usize,
    shared: Arc<Shared>,
    is_closed: bool,
}

impl Line {
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn open(
        name: String,
        most: usize,
        dashboard: Box<dyn Dashboard>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let sender = Sender { dashboard, shared: shared.clone(), has_begun: false };
        Builder::new().name("dashboard".into()).spawn(move || sender.work())?;
        Ok(Self { name, most, shared, is_closed: false })
    }

    pub(crate) fn put(&self, record: Record) {
        let mut state = self.shared.state();
        state.given += 1;
        if state.queue.len() >= self.most || state.is_over {
            state.dropped += 1;
            return;
        }
        state.queue.push_back(record);
        self.shared.changed.notify_all();
    }

    /// Why something is not told, the first time that it is asked for.
    pub(crate) fn take_note(&self) -> Option<String> {
        let reason = self.shared.state().first_reason.take()?;
        Some(format!(
            "warning: {} is not told of this run, which goes on without it: {reason}",
            self.name
        ))
    }

    /// Says that nothing more comes.
    pub(crate) fn announce(&self, ending: Ending) {
        self.shared.state().ending.get_or_insert(ending);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is told, so long at most; says what was not.
    pub(crate) fn close(&mut self, limit: Duration) -> Option<String> {
        if std::mem::replace(&mut self.is_closed, true) {
            return None;
        }
        self.announce(Ending::Stopped);
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, limit, |state| !state.is_over);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.is_abandoned = true;
        let lost = state.dropped + state.queue.len() as u64 + state.under_way;
        state.queue.clear();
        self.shared.changed.notify_all();
        let reason = match &state.last_reason {
            Some(reason) => format!("; the last reason: {reason}"),
            None => String::new(),
        };
        let name = &self.name;
        (lost > 0).then(|| {
            format!(
                "warning: {name} was not told {lost} of {} reports of this run{reason}",
                state.given
            )
        })
    }
}

/// The thread's side.
struct Sender {
    dashboard: Box<dyn Dashboard>,
    shared: Arc<Shared>,
    has_begun: bool,
}

impl Sender {
    fn work(mut self) {
        while let Some(records) = self.next() {
            self.tell(&records);
        }
        let ending = self.shared.state().ending.unwrap_or(Ending::Stopped);
        if self.has_begun && !self.shared.state().is_abandoned {
            // what was told is there, whatever becomes of this
            let _ = self.dashboard.end(ending);
        }
    }

    /// The next records; `None` when there is nothing more to tell.
    fn next(&self) -> Option<Vec<Record>> {
        let state = self.shared.state();
        let is_idle = |state: &mut State| {
            state.queue.is_empty() && state.ending.is_none() && !state.is_abandoned
        };
        let waited = self.shared.changed.wait_while(state, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_abandoned || state.queue.is_empty() {
            return None;
        }
        let count = state.queue.len().min(TOGETHER);
        let records: Vec<Record> = state.queue.drain(..count).collect();
        state.under_way = count as u64;
        Some(records)
    }

    /// Tells records until they are told or refused, or nobody waits any more.
    fn tell(&mut self, records: &[Record]) {
        let [mut pause, longest] = PAUSES;
        loop {
            match self.try_to_tell(records) {
                Ok(()) => return self.settle(records.len(), None),
                // one of them may be the reason
                Err(Failure::Refused(..)) if self.has_begun && records.len() > 1 => {
                    return records
                        .iter()
                        .for_each(|record| self.tell(std::slice::from_ref(record)));
                }
                Err(Failure::Refused(reason, _)) => {
                    return self.settle(records.len(), Some(reason));
                }
                Err(Failure::Away(reason)) => {
                    self.complain(&reason);
                    if !self.pause(pause) {
                        return;
                    }
                    pause = (2 * pause).min(longest);
                }
            }
        }
    }

    fn try_to_tell(&mut self, records: &[Record]) -> Result<(), Failure> {
        if !self.has_begun {
            self.dashboard.begin()?;
            self.has_begun = true;
        }
        self.dashboard.tell(records)
    }

    /// These are told, or given up for a reason.
    fn settle(&self, count: usize, reason: Option<String>) {
        if let Some(reason) = &reason {
            self.complain(reason);
        }
        let mut state = self.shared.state();
        let count = (count as u64).min(state.under_way);
        state.under_way -= count;
        state.dropped += if reason.is_some() { count } else { 0 };
    }

    fn complain(&self, reason: &str) {
        let mut state = self.shared.state();
        if state.last_reason.is_none() {
            state.first_reason = Some(reason.to_owned());
        }
        state.last_reason = Some(reason.to_owned());
    }

    /// Whether somebody still waits after it; it is short where a run waits for its end.
    fn pause(&self, pause: Duration) -> bool {
        let state = self.shared.state();
        let limit = if state.ending.is_some() { LAST_PAUSE.min(pause) } else { pause };
        let had_ending = state.ending.is_some();
        let is_same =
            |state: &mut State| state.ending.is_some() == had_ending && !state.is_abandoned;
        let waited = self.shared.changed.wait_timeout_while(state, limit, is_same);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_abandoned
    }
}

impl Drop for Sender {
    /// Also where a dashboard panics: nobody waits for what is not there.
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Content;
    use std::sync::mpsc::{Sender as Tell, channel};
    use std::time::Instant;

    type Answer = Box<dyn FnMut(&[Record]) -> Result<(), Failure> + Send>;

    struct Played {
        answer: Answer,
        told: Tell<Vec<u64>>,
    }

    impl Dashboard for Played {
        fn begin(&mut self) -> Result<(), Failure> {
            Ok(())
        }

        fn tell(&mut self, records: &[Record]) -> Result<(), Failure> {
            let steps = records.iter().map(|record| record.step).collect();
            (self.answer)(records)?;
            self.told.send(steps).unwrap();
            Ok(())
        }

        fn end(&mut self, _: Ending) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// A line with a queue of 5, and the steps that arrive.
    fn line(answer: Answer) -> (Line, std::sync::mpsc::Receiver<Vec<u64>>) {
        let (told, arrived) = channel();
        let line = Line::open("x at `y`".into(), 5, Box::new(Played { answer, told })).unwrap();
        (line, arrived)
    }

    fn record(step: u64) -> Record {
        Record::now(step, Content::Metrics([("em".to_owned(), 0.5)].into()))
    }

    fn steps(arrived: &std::sync::mpsc::Receiver<Vec<u64>>) -> Vec<u64> {
        arrived.try_iter().flatten().collect()
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn what_is_put_arrives_in_order_and_nothing_is_said() {
        let (mut line, arrived) = line(Box::new(|_| Ok(())));
        for step in 0..5 {
            line.put(record(step));
        }
        assert_eq!(line.close(SOON), None);
        assert_eq!((steps(&arrived), line.take_note()), (vec![0, 1, 2, 3, 4], None));
    }

    #[test]
    fn a_server_that_hangs_holds_nobody_up_and_what_is_lost_is_counted() {
        let (release, held) = channel::<()>();
        let (mut line, arrived) = line(Box::new(move |_| {
            let _ = held.recv();
            Ok(())
        }));
        let started = Instant::now();
        for step in 0..100 {
            line.put(record(step));
        }
        let said = line.close(Duration::from_millis(300)).unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(said.contains("x at `y` was not told 100 of 100 reports"), "{said}");
        assert!(steps(&arrived).is_empty());
        // a second end says nothing
        assert_eq!(line.close(SOON), None);
        drop(release);
    }

    #[test]
    fn what_one_record_is_refused_for_is_not_laid_to_the_others() {
        let (begun, go) = channel::<()>();
        let mut is_first = true;
        let (mut line, arrived) = line(Box::new(move |records| {
            if std::mem::take(&mut is_first) {
                let _ = go.recv();
            }
            match records.iter().any(|record| record.step == 2) {
                true => Err(Failure::nonsense("step 2 is bad")),
                false => Ok(()),
            }
        }));
        for step in 0..5 {
            line.put(record(step));
        }
        begun.send(()).unwrap();
        let said = line.close(SOON).unwrap();
        assert!(
            said.contains("1 of 5 reports of this run; the last reason: step 2 is bad"),
            "{said}"
        );
        assert_eq!(steps(&arrived), [0, 1, 3, 4]);
        assert!(line.take_note().unwrap().contains("goes on without it: step 2 is bad"));
        assert_eq!(line.take_note(), None);
    }

    #[test]
    fn a_server_that_comes_back_is_told_everything() {
        let mut failures = 2;
        let (mut line, arrived) = line(Box::new(move |_| match failures {
            0 => Ok(()),
            _ => {
                failures -= 1;
                Err(Failure::Away("down".into()))
            }
        }));
        line.put(record(7));
        assert_eq!(line.close(SOON), None);
        assert_eq!(steps(&arrived), [7]);
    }

    #[test]
    fn a_dashboard_that_panics_loses_what_it_held_and_ends_nothing() {
        let (mut line, _arrived) = line(Box::new(|_| panic!("a mistake of ours")));
        line.put(record(0));
        let started = Instant::now();
        let said = line.close(SOON).unwrap();
        assert!(said.contains("1 of 1 reports") && started.elapsed() < SOON / 2, "{said}");
        line.put(record(1));
    }
}
