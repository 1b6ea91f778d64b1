//! The calls under way: who may call what, what has arrived, and until when it is waited for.

use paretopo_environments::Partner;
use paretopo_settings::Seconds;
use paretopo_tools::{CallContext, CallTerms, FAILED_CALL, ListedTool, Luck, Tool, ToolPool};
use paretopo_trajectory::{
    CallStatus, Fault, Reply, Task, ToolCall, ToolOutcome, ToolSpec, TrajectoryId,
};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after its deadline a call is given up even if its tool has not answered.
const CALL_GRACE: Duration = Duration::from_secs(1);

/// What tools and a partner keep for one trajectory: they hear that it begins, and that it has ended
/// when the last holder is gone: its episode, however it came to its end, or a call that was given up
/// and returns late.
pub(crate) struct Tenancy {
    tools: Vec<Arc<dyn Tool>>,
    partner: Option<Arc<dyn Partner>>,
    trajectory: TrajectoryId,
    /// Of its episode's random numbers.
    seed: u64,
}

impl Tenancy {
    fn begin(
        tools: &[ListedTool],
        partner: Option<&Arc<dyn Partner>>,
        task: &Task,
        trajectory: &TrajectoryId,
        seed: u64,
    ) -> Arc<Self> {
        let tools: Vec<Arc<dyn Tool>> = tools.iter().map(|listed| listed.tool.clone()).collect();
        // before the tools, which may be its own
        if let Some(partner) = partner {
            partner.begin(task, trajectory);
        }
        for tool in &tools {
            tool.begin(trajectory);
        }
        let partner = partner.cloned();
        Arc::new(Self { tools, partner, trajectory: trajectory.clone(), seed })
    }

    /// What chance decides about a call behind so many earlier ones.
    fn luck(&self, earlier: usize) -> Luck {
        Luck::of_call(self.seed, &self.trajectory, earlier)
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        for tool in &self.tools {
            // a panic while something is dropped would end the process; of the trajectory nothing is
            // left to be spoilt, and the panic has been told where it arose
            let ended = AssertUnwindSafe(|| tool.end(&self.trajectory));
            let _ = std::panic::catch_unwind(ended);
        }
        if let Some(partner) = &self.partner {
            let ended = AssertUnwindSafe(|| partner.end(&self.trajectory));
            let _ = std::panic::catch_unwind(ended);
        }
    }
}

/// A tool that is held by the trajectory that calls it until the call has returned.
struct Held {
    tool: Arc<dyn Tool>,
    _tenancy: Arc<Tenancy>,
}

impl Tool for Held {
    fn spec(&self) -> ToolSpec {
        self.tool.spec()
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        self.tool.call(call, context)
    }
}

/// A turn that is answered like a call: on a thread of the tools', by a deadline.
struct Answering {
    partner: Arc<dyn Partner>,
    said: String,
    reply: Arc<Mutex<Option<Reply>>>,
    _tenancy: Arc<Tenancy>,
}

impl Tool for Answering {
    fn spec(&self) -> ToolSpec {
        let parameters = serde_json::Value::Null;
        ToolSpec { name: "environment".into(), description: String::new(), parameters }
    }

    fn call(&self, _: &ToolCall, context: &CallContext) -> ToolOutcome {
        let started = Instant::now();
        let reply = self.partner.answer(&self.said, context);
        let seconds = started.elapsed().as_secs_f32();
        let mut place = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Reply { seconds, ..reply });
        ToolOutcome::new(CallStatus::Ok, "", seconds)
    }
}

/// A turn that waits for the environment's reply.
pub(crate) struct Put {
    pub(crate) submitted: Submitted,
    reply: Arc<Mutex<Option<Reply>>>,
}

/// A call that was submitted.
pub(crate) struct Submitted {
    pub(crate) ticket: u64,
    /// When it is given up.
    pub(crate) give_up: Instant,
}

/// The calls of one worker's episodes.
pub(crate) struct ToolDesk<'a> {
    tools: &'a [ListedTool],
    partner: Option<Arc<dyn Partner>>,
    by_name: HashMap<&'a str, &'a ListedTool>,
    pool: ToolPool,
    arrived: HashMap<u64, ToolOutcome>,
    call_seconds: Seconds,
    next_ticket: u64,
}

impl<'a> ToolDesk<'a> {
    /// A desk with so many threads, for calls of at most so many seconds.
    pub(crate) fn new(
        tools: &'a [ListedTool],
        partner: Option<Arc<dyn Partner>>,
        threads: usize,
        call_seconds: Seconds,
    ) -> Self {
        Self {
            tools,
            partner,
            by_name: tools.iter().map(|tool| (tool.name.as_str(), tool)).collect(),
            pool: ToolPool::new(threads),
            arrived: HashMap::new(),
            call_seconds,
            next_ticket: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// A trajectory that may call begins.
    pub(crate) fn begin(&self, task: &Task, trajectory: &TrajectoryId, seed: u64) -> Arc<Tenancy> {
        Tenancy::begin(self.tools, self.partner.as_ref(), task, trajectory, seed)
    }

    /// Puts a turn to the environment; `None` where it answers none.
    pub(crate) fn put(&mut self, said: &str, task: &Task, tenancy: &Arc<Tenancy>) -> Option<Put> {
        let partner = self.partner.clone().filter(|partner| partner.answers(task))?;
        let reply = Arc::new(Mutex::new(None));
        let answering = Answering {
            partner,
            said: said.to_owned(),
            reply: reply.clone(),
            _tenancy: tenancy.clone(),
        };
        let call = ToolCall { name: "environment".into(), arguments: serde_json::Value::Null };
        let luck = tenancy.luck(0);
        Some(Put { submitted: self.hand(Arc::new(answering), call, tenancy, luck), reply })
    }

    /// The environment's reply, if it is there or was waited for too long.
    pub(crate) fn reply(&mut self, put: &Put) -> Option<Reply> {
        let Submitted { ticket, give_up } = put.submitted;
        let outcome = self.outcome(ticket, give_up)?;
        let reply = put.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(reply.unwrap_or_else(|| {
            let reason = match outcome.status {
                CallStatus::Timeout => {
                    format!("the environment did not answer within {:.1} s", self.call_seconds)
                }
                _ => "the environment failed internally".to_owned(),
            };
            Reply { seconds: outcome.seconds, ..Reply::failed(reason) }
        }))
    }

    /// Gives a call to the threads.
    fn hand(
        &mut self,
        tool: Arc<dyn Tool>,
        call: ToolCall,
        tenancy: &Tenancy,
        luck: Luck,
    ) -> Submitted {
        let deadline = Instant::now() + self.call_seconds.duration();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let context = CallContext { trajectory: tenancy.trajectory.clone(), deadline, luck };
        self.pool.submit(ticket, tool, call, context);
        Submitted { ticket, give_up: deadline + CALL_GRACE }
    }

    /// What the call behind so many earlier ones counts for, where its tool draws its prices.
    pub(crate) fn drawn_price(
        &self,
        call: &ToolCall,
        tenancy: &Tenancy,
        earlier: usize,
    ) -> Option<f64> {
        let listed = self.by_name.get(call.name.as_str())?;
        listed.terms_of_call(&mut tenancy.luck(earlier)).price
    }

    /// Hands a call to its tool; `earlier` are the calls that its episode has made before, `None`
    /// where what was written was none.
    ///
    /// # Errors
    /// When there is no tool of that name, the episode has called it as often as it may, or the
    /// call fails by chance: the outcome that says so.
    pub(crate) fn submit(
        &mut self,
        call: &ToolCall,
        tenancy: &Arc<Tenancy>,
        earlier: &[Option<&ToolCall>],
    ) -> Result<Submitted, ToolOutcome> {
        let Some(listed) = self.by_name.get(call.name.as_str()) else {
            return Err(refused(format!("ToolError: there is no tool `{}`", call.name)));
        };
        let is_same =
            |earlier: &&Option<&ToolCall>| earlier.is_some_and(|earlier| earlier.name == call.name);
        if earlier.iter().filter(is_same).count() >= listed.max_calls {
            let (name, most) = (&call.name, listed.max_calls);
            return Err(refused(format!("ToolError: `{name}` may be called {most} times")));
        }
        let mut luck = tenancy.luck(earlier.len());
        let CallTerms { fails, .. } = listed.terms_of_call(&mut luck);
        if fails {
            return Err(ToolOutcome::new(CallStatus::Error, FAILED_CALL, 0.0));
        }
        let held = Held { tool: listed.tool.clone(), _tenancy: tenancy.clone() };
        Ok(self.hand(Arc::new(held), call.clone(), tenancy, luck))
    }

    /// Takes in what has arrived, waiting at most `patience` for the first.
    pub(crate) fn receive(&mut self, patience: Duration) {
        if let Some(completed) = self.pool.wait(patience) {
            self.arrived.insert(completed.ticket, completed.outcome);
        }
        while let Some(completed) = self.pool.poll() {
            self.arrived.insert(completed.ticket, completed.outcome);
        }
    }

    pub(crate) fn has(&self, ticket: u64) -> bool {
        self.arrived.contains_key(&ticket)
    }

    /// The outcome of a call if it is there, or was waited for too long.
    pub(crate) fn outcome(&mut self, ticket: u64, give_up: Instant) -> Option<ToolOutcome> {
        let arrived = self.arrived.remove(&ticket);
        arrived.or_else(|| (Instant::now() >= give_up).then(|| self.given_up()))
    }

    fn given_up(&self) -> ToolOutcome {
        let text =
            format!("TimeoutError: the tool did not answer within {:.1} s", self.call_seconds);
        ToolOutcome::new(CallStatus::Timeout, text, self.call_seconds.single())
            .with_fault(Fault::Tool)
    }
}

/// The outcome of a call that reaches no tool.
pub(crate) fn refused(text: String) -> ToolOutcome {
    ToolOutcome::new(CallStatus::Error, text, 0.0).with_fault(Fault::Call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Writes down what it hears; a call takes as many milliseconds as it says.
    #[derive(Default)]
    struct Diary(Mutex<Vec<String>>);

    impl Diary {
        fn write(&self, what: &str, trajectory: &TrajectoryId) {
            self.0.lock().unwrap().push(format!("{what} {trajectory}"));
        }
    }

    impl Tool for Diary {
        fn spec(&self) -> ToolSpec {
            let parameters = serde_json::json!({});
            ToolSpec { name: "diary".into(), description: String::new(), parameters }
        }

        fn begin(&self, trajectory: &TrajectoryId) {
            self.write("begin", trajectory);
        }

        fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
            let milliseconds = call.arguments["ms"].as_u64().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            self.write("call", &context.trajectory);
            ToolOutcome::new(CallStatus::Ok, "", 0.0)
        }

        fn end(&self, trajectory: &TrajectoryId) {
            self.write("end", trajectory);
        }
    }

    fn call(name: &str, ms: u64) -> ToolCall {
        ToolCall { name: name.into(), arguments: serde_json::json!({ "ms": ms }) }
    }

    #[test]
    fn a_trajectory_ends_once_and_after_its_last_call() {
        let diary = Arc::new(Diary::default());
        let tools = [ListedTool::plain(diary.clone())];
        let mut desk = ToolDesk::new(&tools, None, 1, Seconds::literal(5.0));
        let (first, second) = (TrajectoryId::new("t", 0, 0), TrajectoryId::new("t", 1, 0));
        let one = desk.begin(&Task::default(), &first, 1);
        let other = desk.begin(&Task::default(), &second, 2);
        let submitted = desk.submit(&call("diary", 300), &one, &[]).unwrap_or_else(|_| panic!());
        // the episode is cut off while its call runs; the other one has made none
        drop(one);
        drop(other);
        assert_eq!(*diary.0.lock().unwrap(), ["begin t-0-0", "begin t-1-0", "end t-1-0"]);
        while !desk.has(submitted.ticket) {
            desk.receive(Duration::from_millis(20));
        }
        // the thread lets go of the tool just after it has sent the outcome
        let ended = || diary.0.lock().unwrap().iter().filter(|line| *line == "end t-0-0").count();
        while ended() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(diary.0.lock().unwrap()[3..], ["call t-0-0", "end t-0-0"]);
    }

    #[test]
    fn a_call_of_an_unknown_tool_reaches_none_and_a_late_one_is_given_up() {
        let diary = Arc::new(Diary::default());
        let tools = [ListedTool::plain(diary.clone())];
        let mut desk = ToolDesk::new(&tools, None, 1, Seconds::literal(0.5));
        let tenancy = desk.begin(&Task::default(), &TrajectoryId::new("t", 0, 0), 1);
        let refused = desk.submit(&call("dairy", 0), &tenancy, &[]).err().unwrap();
        assert_eq!(refused.text, "ToolError: there is no tool `dairy`");
        assert_eq!(refused.fault, Some(Fault::Call));
        let now = Instant::now();
        assert_eq!(desk.outcome(7, now + Duration::from_secs(9)), None);
        let late = desk.outcome(7, now).unwrap();
        assert_eq!((late.status, late.fault), (CallStatus::Timeout, Some(Fault::Tool)));
        assert_eq!(late.text, "TimeoutError: the tool did not answer within 0.5 s");
    }

    #[test]
    fn a_tool_is_called_as_often_as_it_may_be() {
        let diary = ListedTool::plain(Arc::new(Diary::default()));
        let other = ListedTool { name: "other".into(), ..diary.clone() };
        let tools = [ListedTool { max_calls: 2, ..diary }, other];
        let mut desk = ToolDesk::new(&tools, None, 1, Seconds::literal(5.0));
        let tenancy = desk.begin(&Task::default(), &TrajectoryId::new("t", 0, 0), 1);
        let (of_diary, of_other) = (call("diary", 0), call("other", 0));
        let mut earlier = vec![Some(&of_other), Some(&of_diary), None, Some(&of_other)];
        assert!(desk.submit(&call("diary", 0), &tenancy, &earlier).is_ok());
        earlier.push(Some(&of_diary));
        let refused = desk.submit(&call("diary", 0), &tenancy, &earlier).err().unwrap();
        assert_eq!(refused.text, "ToolError: `diary` may be called 2 times");
        assert_eq!((refused.status, refused.fault), (CallStatus::Error, Some(Fault::Call)));
        assert!(desk.submit(&call("other", 0), &tenancy, &earlier).is_ok());
    }

    #[test]
    fn calls_fail_and_cost_by_the_luck_of_their_place() {
        let plain = ListedTool::plain(Arc::new(Diary::default()));
        let tools = [ListedTool { failure_rate: 0.5, price_deviation: 1.0, ..plain }];
        let mut desk = ToolDesk::new(&tools, None, 1, Seconds::literal(5.0));
        let id = TrajectoryId::new("t", 0, 0);
        let made = call("diary", 0);
        let mut played = |seed: u64| -> Vec<(bool, Option<f64>)> {
            let tenancy = desk.begin(&Task::default(), &id, seed);
            let of_place = |place: usize| {
                let earlier = vec![Some(&made); place];
                let failed = desk.submit(&call("diary", 0), &tenancy, &earlier).err();
                let is_chance =
                    |outcome: &ToolOutcome| outcome.text == FAILED_CALL && outcome.fault.is_none();
                assert!(failed.as_ref().is_none_or(is_chance), "{failed:?}");
                (failed.is_some(), desk.drawn_price(&call("diary", 0), &tenancy, place))
            };
            (0..60).map(of_place).collect()
        };
        let first = played(1);
        // 30 expected; five deviations of sqrt(60 / 4) = 3.9 are 19
        let failed = first.iter().filter(|(failed, _)| *failed).count();
        assert!((11..=49).contains(&failed), "{failed}");
        assert!(first.iter().all(|(_, price)| price.is_some_and(|price| price > 0.0)));
        assert_eq!(played(1), first);
        assert_ne!(played(2), first);
    }
}
