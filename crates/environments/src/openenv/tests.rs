//! A small server of the protocol, which may do anything, and what becomes of its episodes.

use super::*;
use crate::{
    EnvironmentReward, ObjectiveConfig, Partner, Resources, ToolEnvironment, environment,
    objective, usual_objectives,
};
use paretopo_retrieval::BreakerConfig;
use paretopo_settings::{Finite, Pause, Seconds};
use paretopo_tools::CallContext;
use paretopo_trajectory::{
    CallStatus, Fault, Reply, Split, Task, ToolCall, ToolOutcome, Trajectory, TrajectoryId,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

type Line = WebSocket<TcpStream>;

/// What a server does with a request; `false` ends the session.
type Behaviour = dyn Fn(&mut Game, &Value, &mut Line) -> bool + Send + Sync;

/// A session's secret, and which session it is.
struct Game {
    session: usize,
    secret: u64,
    guesses: u64,
}

struct Server {
    url: String,
    /// Sessions that are open, and that were ever.
    open: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
}

fn say(line: &mut Line, kind: &str, data: Value) -> bool {
    line.send(Message::text(json!({ "type": kind, "data": data }).to_string())).is_ok()
}

fn observe(line: &mut Line, text: &str, reward: Value, done: bool, format: f64) -> bool {
    let observation = json!({ "text": text, "metadata": { "format": format } });
    say(line, "observation", json!({ "observation": observation, "reward": reward, "done": done }))
}

/// Guess a number from 0 to 9, which the seed decides; a tool tells whether it is even.
fn fair(game: &mut Game, request: &Value, line: &mut Line) -> bool {
    let data = &request["data"];
    match request["type"].as_str().unwrap() {
        "reset" => {
            game.secret = data["seed"].as_u64().unwrap() * 7 % 10;
            game.guesses = 0;
            let text = format!("Guess, with the hint {}.", data["seed"]);
            observe(line, &text, Value::Null, false, 0.0)
        }
        "step" => {
            let Some(said) = data["message"].as_str() else {
                let errors = json!([{ "loc": ["message"], "msg": "Field required" }]);
                let error = json!({
                    "message": "Invalid message", "code": "VALIDATION_ERROR", "errors": errors,
                });
                return say(line, "error", error);
            };
            game.guesses += 1;
            match said.parse::<u64>() {
                Ok(guess) if guess == game.secret => observe(line, "right", json!(true), true, 1.0),
                Ok(_) => observe(line, "wrong", json!(-0.25), false, 0.5),
                Err(_) => observe(line, "no number", json!(-0.5), false, 0.0),
            }
        }
        "mcp" => {
            let id = &data["id"];
            let result = match data["method"].as_str().unwrap() {
                "tools/list" => json!({ "tools": [{
                    "name": "parity", "description": "Whether it is even.",
                    "inputSchema": { "type": "object", "properties": {} },
                }]}),
                _ if data["params"]["name"] != "parity" => {
                    let error = json!({ "code": -32603, "message": "no such tool" });
                    return say(line, "mcp", json!({ "jsonrpc": "2.0", "id": id, "error": error }));
                }
                _ => {
                    let text = if game.secret.is_multiple_of(2) { "even" } else { "odd" };
                    let content = json!([{ "type": "text", "text": text }, { "type": "image" }]);
                    json!({ "content": content, "is_error": false })
                }
            };
            say(line, "mcp", json!({ "jsonrpc": "2.0", "id": id, "result": result }))
        }
        _ => false,
    }
}

const SCHEMA: &str = r#"{"action":{"properties":{"metadata":{"type":"object"},
    "message":{"type":"string"}},"required":["message"]},"observation":{},"state":{}}"#;

/// A server; `schema` is told as the body of its answer.
fn server(
    behaviour: impl Fn(&mut Game, &Value, &mut Line) -> bool + Send + Sync + 'static,
    schema: impl Fn() -> String + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let [open, ever] = counts.clone();
    let (behaviour, schema): (Arc<Behaviour>, Arc<_>) = (Arc::new(behaviour), Arc::new(schema));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (behaviour, schema, counts) = (behaviour.clone(), schema.clone(), counts.clone());
            std::thread::spawn(move || serve(stream.unwrap(), &*behaviour, &*schema, &counts));
        }
    });
    Server { url, open, ever }
}

fn serve(
    mut stream: TcpStream,
    behaviour: &Behaviour,
    schema: &dyn Fn() -> String,
    [open, ever]: &[Arc<AtomicUsize>; 2],
) {
    let mut head = [0; 4];
    while stream.peek(&mut head).unwrap_or(0) < 4 {}
    let mut first = vec![0; 64];
    let seen = stream.peek(&mut first).unwrap();
    if first[..seen].starts_with(b"GET /schema") {
        let _ = stream.read(&mut [0; 4096]);
        let body = schema();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes());
        return;
    }
    let mut line = tungstenite::accept(stream).unwrap();
    open.fetch_add(1, Ordering::SeqCst);
    let session = ever.fetch_add(1, Ordering::SeqCst);
    let mut game = Game { session, secret: 0, guesses: 0 };
    while let Ok(message) = line.read() {
        let Message::Text(text) = message else { continue };
        let request: Value = serde_json::from_str(&text).unwrap();
        if request["type"] == "close" || !behaviour(&mut game, &request, &mut line) {
            break;
        }
    }
    open.fetch_sub(1, Ordering::SeqCst);
}

fn config(url: &str) -> OpenEnvConfig {
    OpenEnvConfig {
        url: url.into(),
        train: 3,
        validation: 2,
        test: 2,
        observation: Some("text".into()),
        sessions: 2,
        start_seconds: const { Seconds::literal(2.0) },
        breaker: BreakerConfig { failures: 0, seconds: const { Pause::literal(60.0) } },
        ..OpenEnvConfig::default()
    }
}

fn built_with(config: OpenEnvConfig, rewards: &[&str]) -> Result<ToolEnvironment, String> {
    let named = |name: &&str| -> ObjectiveConfig {
        let name = (*name).to_owned().try_into().unwrap();
        objective("environment", EnvironmentReward { name })
    };
    let objectives: Vec<ObjectiveConfig> =
        usual_objectives().into_iter().take(1).chain(rewards.iter().map(named)).collect();
    let chosen = environment("openenv", config);
    ToolEnvironment::build(&chosen, &[], &objectives, &Resources::default(), &mut ())
        .map_err(|error| error.to_string())
}

fn built(config: OpenEnvConfig) -> ToolEnvironment {
    built_with(config, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// An episode that is played by hand.
struct Played<'a> {
    environment: &'a ToolEnvironment,
    partner: Arc<dyn Partner>,
    id: TrajectoryId,
    task: Task,
    replies: Vec<Reply>,
}

impl<'a> Played<'a> {
    fn begin(environment: &'a ToolEnvironment, place: u64) -> Self {
        let partner = environment.partner().unwrap();
        let id = TrajectoryId::new("test", place, 0);
        let task = environment.tasks(Split::Train)[place as usize % 3].clone();
        partner.begin(&task, &id);
        Self { environment, partner, id, task, replies: Vec::new() }
    }

    fn context(&self, patience: Duration) -> CallContext {
        CallContext::new(self.id.clone(), Instant::now() + patience)
    }

    fn say(&mut self, said: &str) -> Reply {
        let reply = self.partner.answer(said, &self.context(Duration::from_secs(1)));
        self.replies.push(reply.clone());
        reply
    }

    fn call(&self, name: &str) -> ToolOutcome {
        let tool = &self.environment.tools[0];
        let call = ToolCall { name: name.into(), arguments: json!({}) };
        tool.tool.call(&call, &self.context(Duration::from_secs(1)))
    }

    fn trajectory(&self) -> Trajectory {
        let replies = self.replies.clone();
        Trajectory { replies, ..Trajectory::empty(self.id.clone(), &self.task.id, 0) }
    }
}

impl Drop for Played<'_> {
    fn drop(&mut self) {
        self.partner.end(&self.id);
    }
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(8), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn plain() -> String {
    SCHEMA.to_owned()
}

#[test]
fn turns_become_steps_and_rewards_add_up_until_the_end() {
    let server = server(fair, plain);
    let mut config = config(&server.url);
    config.reward.lowest = const { Finite::literal(-1.0) };
    let last = OpenEnvReward {
        from: "observation.metadata.format".into(),
        over: RewardOver::Last,
        ..OpenEnvReward::default()
    };
    config.rewards.insert("r_format".into(), last);
    let environment = built_with(config, &["r_format"]).unwrap();
    assert_eq!(environment.objective_names()[..], ["r_task", "r_format"]);
    let ids = |split| -> Vec<String> {
        environment.tasks(split).iter().map(|task| task.id.clone()).collect()
    };
    assert_eq!(ids(Split::Train), ["seed-0", "seed-1", "seed-2"]);
    assert_eq!(ids(Split::Test), ["seed-5", "seed-6"]);
    assert_eq!(environment.tasks(Split::Validation)[0].question, "Guess, with the hint 3.");
    assert_eq!(environment.most_episodes(), 2);

    // the secret of the seed 1 is 7
    let mut played = Played::begin(&environment, 1);
    let other = Played::begin(&environment, 0);
    assert_eq!(played.call("parity").text, "odd\n(image is left out)");
    assert_eq!(other.call("parity").text, "even\n(image is left out)");
    let first = played.say("5");
    assert_eq!((&*first.text, first.done, first.error), ("wrong", false, None));
    assert_eq!(first.rewards.get("reward"), Some(-0.25));
    let task = played.task.clone();
    let score = |played: &Played<'_>| {
        let trajectory = played.trajectory();
        let is_right = environment.succeeded(&task, &trajectory);
        let named = environment.reward("r_format", &task, &trajectory);
        (environment.task_reward(&task, &trajectory), is_right, named)
    };
    // (-0.25 + 1) / 2
    assert_eq!(score(&played), (0.375, false, Some(0.5)));
    assert_eq!(played.say("seven").text, "no number");
    let end = played.say(" 7 ");
    assert!(end.done && end.text == "right");
    // -0.25 - 0.5 + 1 = 0.25, and (0.25 + 1) / 2
    assert_eq!(score(&played), (0.625, false, Some(1.0)));
    let metrics: std::collections::BTreeMap<_, _> =
        environment.metrics(&task, &played.trajectory()).into_iter().collect();
    assert_eq!((metrics["turns"], metrics["ended"], metrics["lost"]), (3.0, 1.0, 0.0));
    // nothing is asked any more
    assert!(played.say("7").done);
    // right at once
    let mut quick = Played::begin(&environment, 2);
    assert!(quick.say("4").done);
    assert!(environment.succeeded(&quick.task, &quick.trajectory()));
    // an episode without a turn is worth nothing
    assert_eq!(environment.task_reward(&other.task, &other.trajectory()), 0.0);
    drop((played, other, quick));
    wait_until("all sessions are closed", || server.open.load(Ordering::SeqCst) == 0);
}

#[test]
fn what_a_turn_becomes_is_configured() {
    let server = server(fair, plain);
    let base = config(&server.url);
    let action = OpenEnvAction::Text { field: None, part: TurnPart::Answer };
    let environment = built(OpenEnvConfig { action, ..base.clone() });
    let mut played = Played::begin(&environment, 1);
    assert!(played.say("It is odd and large.\n<answer>7</answer>").done);

    let action = OpenEnvAction::Json {};
    let environment = built(OpenEnvConfig { action, ..base.clone() });
    let mut played = Played::begin(&environment, 1);
    let unread = played.say("seven");
    assert!(unread.text.starts_with("ActionError: this is no object of JSON"), "{unread:?}");
    let refused = played.say(r#"{"guess": "7"}"#);
    assert_eq!(refused.text, "ActionError: Invalid message; `message`: Field required");
    assert_eq!((refused.error, refused.done), (None, false));
    assert!(played.say(r#"{"message": "7"}"#).done);

    // without a path the policy reads all that is observed
    let environment = built(OpenEnvConfig { observation: None, ..base });
    let question = &environment.tasks(Split::Train)[0].question;
    assert_eq!(question, r#"{"text":"Guess, with the hint 0.","metadata":{"format":0.0}}"#);
}

#[test]
fn calls_that_are_steps_give_rewards_and_may_end_the_episode() {
    let by_steps = |game: &mut Game, request: &Value, line: &mut Line| {
        let data = &request["data"];
        if request["type"] != "step" {
            return fair(game, request, line);
        }
        assert_eq!(data["type"], "call_tool");
        game.guesses += 1;
        let content = json!([{ "type": "text", "text": format!("call {}", game.guesses) }]);
        let observation = json!({ "tool_name": data["tool_name"], "text": "",
                                  "result": { "content": content }, "error": null });
        let done = game.guesses == 2;
        let answer = json!({ "observation": observation, "reward": 0.5, "done": done });
        say(line, "observation", answer)
    };
    let server = server(by_steps, plain);
    let action = OpenEnvAction::None {};
    let environment = built(OpenEnvConfig { action, ..config(&server.url) });
    let mut played = Played::begin(&environment, 0);
    assert_eq!(played.call("parity").text, "call 1");
    assert_eq!(played.call("parity").text, "call 2");
    let third = played.call("parity");
    assert_eq!((third.status, &*third.text), (CallStatus::Error, "ToolError: the episode is over"));
    let end = played.say("done");
    assert_eq!((end.done, end.rewards.get("reward")), (true, Some(1.0)));
    assert!(environment.succeeded(&played.task, &played.trajectory()));
}

/// What a server does to a step of every session from the third on; the first two are those of the
/// openings, one more is asked for the tools.
fn hostile(
    step: impl Fn(&mut Line) -> bool + Send + Sync + 'static,
) -> impl Fn(&mut Game, &Value, &mut Line) -> bool + Send + Sync + 'static {
    move |game, request, line| match request["type"] == "step" && game.session == 3 {
        true => step(line),
        false => fair(game, request, line),
    }
}

type Step = Box<dyn Fn(&mut Line) -> bool + Send + Sync>;

/// Ways to fail, each with what is said of it.
fn failures() -> Vec<(&'static str, Step)> {
    let raw = |line: &mut Line, bytes: &[u8]| line.get_mut().write_all(bytes).is_ok();
    vec![
        (
            "it did not answer in time",
            Box::new(|_| {
                std::thread::sleep(Duration::from_secs(3));
                false
            }),
        ),
        ("it closed the session", Box::new(|_| false)),
        (
            "it answered what is no object of JSON: <html>",
            Box::new(|line| line.send(Message::text("<html>")).is_ok()),
        ),
        (
            "it answered 3 bytes that are no text",
            Box::new(|line| line.send(Message::binary(vec![1, 2, 3])).is_ok()),
        ),
        (
            "it answered `step` with no `data` of the type `observation`",
            Box::new(|line| say(line, "mcp", json!({}))),
        ),
        (
            "its answer holds no `observation` and `done`",
            Box::new(|line| say(line, "observation", json!({ "reward": 1.0 }))),
        ),
        (
            "its observation has no `text`",
            Box::new(|line| {
                say(line, "observation", json!({ "observation": { "words": "" }, "done": false }))
            }),
        ),
        (
            "EXECUTION_ERROR: division by zero",
            Box::new(|line| {
                let error = json!({ "message": "division by zero", "code": "EXECUTION_ERROR" });
                say(line, "error", error)
            }),
        ),
        (
            "it answered more than 16777216 bytes",
            Box::new(|line| line.send(Message::text("x".repeat(17 << 20))).is_ok()),
        ),
        // a frame of 100 bytes, of which one comes every 50 ms
        (
            "it did not answer in time",
            Box::new(move |line| {
                raw(line, &[0x81, 100])
                    && (0..100).all(|_| {
                        std::thread::sleep(Duration::from_millis(50));
                        raw(line, b" ")
                    })
            }),
        ),
        ("the connection broke", Box::new(move |line| raw(line, &[0xff; 64]))),
    ]
}

#[test]
fn a_server_that_fails_costs_its_episode_bounded_time_and_the_next_one_is_played() {
    for (reason, step) in failures() {
        let server = server(hostile(step), plain);
        let environment = built(config(&server.url));
        let mut played = Played::begin(&environment, 0);
        let started = Instant::now();
        let reply = played.say("1");
        let took = started.elapsed();
        let said = reply.error.unwrap_or_default();
        assert!(said.starts_with(reason), "`{reason}` is not `{said}`");
        assert!(took < Duration::from_millis(1500), "{reason}: {took:?}");
        assert_eq!(played.say("1").error.as_deref(), Some(&*said));
        // its reward is not known, which is not 0
        let trajectory = played.trajectory();
        assert!(environment.task_reward(&played.task, &trajectory).is_nan());
        assert!(!environment.succeeded(&played.task, &trajectory));
        assert_eq!(trajectory.lost(), Some(&*said));
        let call = played.call("parity");
        assert_eq!((call.status, call.fault), (CallStatus::Error, Some(Fault::Tool)));
        let mut next = Played::begin(&environment, 1);
        assert!(next.say("7").done, "{reason}");
    }
}

#[test]
fn what_nobody_asked_for_is_no_answer() {
    let flood = hostile(|line| (0..50).all(|_| observe(line, "right", json!(1.0), false, 1.0)));
    // but for an error, which a server without room sends before it is asked
    let full = json!({ "message": "no room", "code": "CAPACITY_REACHED" });
    let full = super::server::unasked(&json!({ "type": "error", "data": full }).to_string());
    assert!(full.starts_with("no room\nhint: start the server with"), "{full}");
    let server = server(flood, plain);
    let environment = built(config(&server.url));
    let mut played = Played::begin(&environment, 0);
    assert_eq!(played.say("1").text, "right");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(played.say("1").error.as_deref(), Some("it sent what nobody asked for"));
}

#[test]
fn another_server_after_a_restart_is_refused_by_name() {
    static SCHEMAS: AtomicUsize = AtomicUsize::new(0);
    let changed = || match SCHEMAS.fetch_add(1, Ordering::SeqCst) {
        0 => plain(),
        _ => SCHEMA.replace("\"message\"", "\"guess\""),
    };
    let server_of = server(hostile(|_| false), changed);
    let environment = built(config(&server_of.url));
    assert_eq!(
        Played::begin(&environment, 0).say("1").error.as_deref(),
        Some("it closed the session")
    );
    let error = Played::begin(&environment, 1).say("7").error.unwrap();
    assert_eq!(error, "its actions have another schema than at the start of the run");

    let forgetful = |game: &mut Game, request: &Value, line: &mut Line| {
        if request["type"] == "reset" && game.session > 3 {
            return observe(line, "Another riddle.", Value::Null, false, 0.0);
        }
        hostile(|_| false)(game, request, line)
    };
    let server_of = server(forgetful, plain);
    let environment = built(config(&server_of.url));
    assert!(Played::begin(&environment, 0).say("1").error.is_some());
    let error = Played::begin(&environment, 1).say("7").error.unwrap();
    let expected = "it opens the task `seed-1` with another observation than at the start";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_server_that_fails_again_and_again_is_left_alone() {
    let server = server(|game, request, line| game.session < 3 && fair(game, request, line), plain);
    let breaker = BreakerConfig { failures: 2, seconds: const { Pause::literal(60.0) } };
    let environment = built(OpenEnvConfig { breaker, ..config(&server.url) });
    let started = Instant::now();
    for place in 0..3 {
        let error = Played::begin(&environment, place).say("1").error.unwrap();
        assert!(error.starts_with("not asked, since its last 2 requests failed"), "{error}");
    }
    // each waits for its deadline of a second and no longer, and the server was asked twice in all
    assert!(started.elapsed() < Duration::from_millis(3500), "{:?}", started.elapsed());
    assert_eq!(server.ever.load(Ordering::SeqCst), 5);
}

#[test]
fn a_server_that_is_away_for_a_moment_costs_no_episode() {
    // three sessions before the run; the next two end at their reset
    let flaps = |game: &mut Game, request: &Value, line: &mut Line| {
        !(3..5).contains(&game.session) && fair(game, request, line)
    };
    let server = server(flaps, plain);
    let environment = built(config(&server.url));
    let mut played = Played::begin(&environment, 1);
    assert!(played.say("7").done);
    assert_eq!(server.ever.load(Ordering::SeqCst), 6);
    // nor does one that comes back with what is left alone for a while
    let breaker = BreakerConfig { failures: 1, seconds: const { Pause::literal(0.3) } };
    let server = self::server(flaps, plain);
    let environment = built(OpenEnvConfig { breaker, ..config(&server.url) });
    let mut played = Played::begin(&environment, 1);
    assert!(played.say("7").done);
}

#[test]
fn sessions_that_wait_answer_pings_and_are_heard_when_they_end() {
    let pinging = hostile(|line| {
        let answered = observe(line, "wrong", json!(0.0), false, 0.0);
        // as a server does that looks whether its client lives
        let _ = line.send(Message::Ping(b"there?".to_vec().into()));
        let pong = matches!(line.read(), Ok(Message::Pong(_)));
        answered && pong && observe(line, "", json!(0.0), false, 0.0)
    });
    let server = server(pinging, plain);
    let environment = built(config(&server.url));
    let mut played = Played::begin(&environment, 0);
    assert_eq!(played.say("1").text, "wrong");
    // the thread that looks answers the ping, and later hears what nobody asked for
    std::thread::sleep(Duration::from_secs(9));
    assert_eq!(played.say("1").error.as_deref(), Some("it sent what nobody asked for"));
}

/// Why an environment is refused, which is before long.
fn refused(server: &Server, change: &dyn Fn(&mut OpenEnvConfig)) -> String {
    let mut config = config(&server.url);
    change(&mut config);
    let started = Instant::now();
    let error = built_with(config, &[]).err().unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "{error}");
    error
}

#[test]
fn a_server_that_is_of_no_use_is_refused_before_the_run() {
    let no_session = |_: &mut Game, _: &Value, line: &mut Line| {
        let error = json!({ "message": "Server at capacity: 1/1", "code": "CAPACITY_REACHED" });
        say(line, "error", error);
        false
    };
    let full = refused(&server(no_session, plain), &|_| {});
    assert!(full.contains("Server at capacity: 1/1\nhint: start the server with"), "{full}");

    let random = |game: &mut Game, request: &Value, line: &mut Line| {
        game.guesses += 1;
        let text = format!("number {}", game.guesses);
        if request["type"] == "reset" {
            return observe(line, &text, Value::Null, false, 0.0);
        }
        fair(game, request, line)
    };
    let no_task = refused(&server(random, plain), &|_| {});
    assert!(no_task.contains("two resets with the seed 0 observe different things"), "{no_task}");

    let over = |_: &mut Game, _: &Value, line: &mut Line| observe(line, "", json!(0), true, 0.0);
    let over = refused(&server(over, plain), &|_| {});
    assert!(over.contains("is over before it begins"), "{over}");

    let two_texts = || {
        SCHEMA
            .replace("\"required\":[\"message\"]", "\"required\":[]")
            .replace("\"message\":", "\"other\":{\"type\":\"string\"},\"message\":")
    };
    let two = refused(&server(fair, two_texts), &|_| {});
    assert!(two.contains("not one text alone, but `metadata`, `other`, `message`\nhint:"), "{two}");
    let other = refused(&server(fair, || "{\"detail\":\"Not Found\"}".into()), &|_| {});
    assert!(other.contains("it is no OpenEnv server"), "{other}");
    let hangs = refused(
        &server(fair, || {
            std::thread::sleep(Duration::from_secs(3));
            plain()
        }),
        &|_| {},
    );
    assert!(hangs.contains("/schema: timeout"), "{hangs}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = Server { url: format!("http://{nobody}"), ..server(fair, plain) };
    let gone = refused(&gone, &|_| {});
    assert!(gone.starts_with("`environment.url`: http://127.0.0.1:"), "{gone}");
}

#[test]
fn a_token_and_headers_are_sent_to_every_route() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&format!("http://{}/at", listener.local_addr().unwrap()));
    config.bearer_from = Some("PATH".into());
    config.headers_from.insert("X-Place".into(), "PWD".into());
    let (sender, heads) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let (status, body) =
                if head.contains("/schema") { ("200 OK", SCHEMA) } else { ("401 No", "") };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes());
            let _ = sender.send(head);
        }
    });
    let refused = built_with(config.clone(), &[]).err().unwrap();
    assert!(refused.contains("401"), "{refused}");
    let token = std::env::var("PATH").unwrap();
    let place = std::env::var("PWD").unwrap();
    for route in ["GET /at/schema ", "GET /at/ws "] {
        let head = heads.recv().unwrap();
        assert!(head.starts_with(route), "{head}");
        let lower = head.to_lowercase();
        let bearer = format!("authorization: bearer {}\r\n", token.to_lowercase());
        assert!(lower.contains(&bearer), "{head}");
        assert!(lower.contains(&format!("x-place: {}\r\n", place.to_lowercase())), "{head}");
    }
    // the names of variables alone are written down
    let written = toml::to_string(&config).unwrap();
    assert!(written.contains("PATH") && !written.contains(&token), "{written}");
}

#[test]
fn settings_that_do_not_fit_the_server_are_named() {
    let fine = server(fair, plain);
    for (change, reason) in [
        (
            Box::new(|config: &mut OpenEnvConfig| config.observation = Some("words".into()))
                as Box<dyn Fn(&mut OpenEnvConfig)>,
            "its observation has no `words` (`environment.observation`); it has `text`, `metadata`",
        ),
        (
            Box::new(|config| {
                let field = Some("guess".into());
                config.action = OpenEnvAction::Text { field, part: TurnPart::Turn };
            }),
            "its actions have no `guess` (`environment.action`); they have `metadata`, `message`",
        ),
        (Box::new(|config| config.url = config.url.replace("http", "ftp")), "begins with neither"),
        (
            Box::new(|config| config.ca_file = Some("own.pem".into())),
            "`environment.ca_file`: `http://127.0.0.1:",
        ),
        (
            Box::new(|config| config.bearer_from = Some("NO_SUCH_TOKEN".into())),
            "`environment.bearer_from`: the variable `NO_SUCH_TOKEN` is not set",
        ),
        (Box::new(|config| config.seed = 2_147_483_645), "the last task would have the seed"),
        (Box::new(|config| config.reward.lowest = config.reward.highest), "is not below `highest`"),
        (
            Box::new(|config| _ = config.reset.insert("seed".into(), json!(1))),
            "`environment.reset`: `seed` is told by the run",
        ),
    ] {
        let said = refused(&fine, &change);
        assert!(said.contains(reason), "{said}");
    }
    let unknown = built_with(config(&fine.url), &["r_style"]).err().unwrap();
    assert!(unknown.contains("the environment gives no reward `r_style`"), "{unknown}");
}
