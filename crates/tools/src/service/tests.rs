//! Programs of a shell and a small server, which answer, hang, die and lie.

use super::*;
use crate::{CallContext, Resources, Tool, ToolEntry, ToolSurroundings};
use paretopo_settings::{Pause, Seconds};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, TrajectoryId};
use std::io::{Read, Write};
use std::net::TcpListener;

/// A shell program that answers each line by what `answer` prints, where `$id` is the request's id
/// and `$line` the request.
fn script(answer: &str) -> String {
    format!(
        r#"while read -r line; do id=${{line#*:}}; id=${{id%%,*}}
           case $line in *'"hello"'*) printf '{{"id":%s}}\n' $id;; *) {answer};; esac; done"#
    )
}

fn program(script: &str) -> Asked {
    Asked::Program(ProgramConfig::new("sh", &["-c", script]))
}

fn limits() -> ServiceLimits {
    ServiceLimits {
        seconds: Seconds::literal(5.0),
        start_seconds: Seconds::literal(5.0),
        concurrency: 1,
        backoff_seconds: Pause::literal(0.001),
        ..ServiceLimits::default()
    }
}

fn started(answer: &str, limits: &ServiceLimits) -> Service {
    Service::start(&program(&script(answer)), limits, "tool", "test").unwrap()
}

fn request(is_repeatable: bool) -> ServiceRequest {
    let body = serde_json::json!({ "type": "call" }).as_object().unwrap().clone();
    ServiceRequest { body, deadline: None, is_repeatable }
}

fn text(answer: Result<Map<String, Value>, ServiceFailure>) -> String {
    match answer {
        Ok(answer) => answer["text"].as_str().unwrap().to_owned(),
        Err(failure) => panic!("{failure}"),
    }
}

/// Prints the process's number.
const PID: &str = r#"printf '{"id":%s,"text":"%s"}\n' $id $$"#;

#[test]
fn a_process_is_kept_and_each_thread_has_one() {
    let service = started(PID, &limits());
    let first = text(service.ask(request(true)));
    assert_eq!(text(service.ask(request(true))), first);
    drop(service);
    // two that take their time, at once
    let answer = format!("sleep 0.3; {PID}");
    let service = started(&answer, &ServiceLimits { concurrency: 2, ..limits() });
    let both = [service.send(request(true)), service.send(request(true))];
    let [one, other] = both.map(|waiting| text(waiting.answer()));
    assert_ne!(one, other);
}

#[test]
fn what_does_not_greet_back_is_an_error_before_anything_is_asked() {
    let failed = |script: &str| {
        let limits = ServiceLimits { start_seconds: Seconds::literal(0.5), ..limits() };
        Service::start(&program(script), &limits, "tool", "test").unwrap_err()
    };
    let ended = failed("echo 'no module judge' >&2; exit 4");
    assert!(ended.starts_with("no answer to the greeting: `/"), "{ended}");
    assert!(ended.ends_with("/sh`: it ended with code 4: no module judge"), "{ended}");
    assert!(failed("sleep 60").ends_with("did not answer in time"));
    assert!(
        failed("echo Loading; sleep 60").contains("wrote `Loading`, which is no object of JSON")
    );
    let missing = Asked::Program(ProgramConfig::new("no-such-program-of-paretopo", &[]));
    let error = Service::start(&missing, &limits(), "tool", "test").unwrap_err();
    assert!(error.starts_with("cannot start `no-such-program-of-paretopo`: "), "{error}");
    assert!(error.ends_with("\nhint: it is in no folder of `PATH`"), "{error}");
}

/// Of three processes the first two end at a request; a mark in a folder counts.
#[test]
fn what_has_died_is_started_anew_and_asked_again_only_if_that_may_be() {
    let folder = std::env::temp_dir().join(format!("paretopo-service-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let dies = |most: usize| {
        let marks = folder.display();
        let count = format!("$(ls {marks} | wc -l)");
        format!("if [ {count} -lt {most} ]; then touch {marks}/$$; exit 1; fi; {PID}")
    };
    let service = started(&dies(2), &limits());
    assert!(!text(service.ask(request(true))).is_empty());
    drop(service);
    let service = started(&dies(3), &limits());
    let failure = service.ask(request(false)).unwrap_err();
    assert!(failure.to_string().ends_with("it ended with code 1"), "{failure}");
    // the next one finds a new process
    assert!(!text(service.ask(request(false))).is_empty());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_ended_between_two_requests_is_started_anew_whatever_is_asked() {
    let service = started(&format!("{PID}; exit 0"), &limits());
    for _ in 0..3 {
        assert!(!text(service.ask(request(false))).is_empty());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn late_answers_lies_and_floods_are_no_answers() {
    let no_retries = ServiceLimits { retries: 0, seconds: Seconds::literal(0.5), ..limits() };
    let failure = |answer: &str| started(answer, &no_retries).ask(request(true)).unwrap_err();
    let late = failure("sleep 60");
    assert!(matches!(&late, ServiceFailure::Late(reason) if reason.ends_with("in time")), "{late}");
    let lie = failure(r#"printf '{"id":7777,"text":"x"}\n'"#).to_string();
    assert!(lie.ends_with("answered a request with another `id` (7777)"), "{lie}");
    let anonymous = failure(r#"printf '{"text":"x"}\n'"#).to_string();
    assert!(anonymous.ends_with("another `id` (none)"), "{anonymous}");
    let nonsense = failure("echo [1]").to_string();
    assert!(nonsense.contains("wrote `[1]`, which is no object"), "{nonsense}");
    let flood = ServiceLimits { retries: 0, ..limits() };
    let flood = started("yes x | tr -d '\\n'", &flood).ask(request(true)).unwrap_err();
    assert!(flood.to_string().contains("a line of more than 16777216 bytes"), "{flood}");
}

/// An answer that comes twice belongs to no second request.
#[test]
fn an_answer_given_twice_ends_the_process() {
    let service = started(&format!("{PID}; {PID}"), &ServiceLimits { retries: 0, ..limits() });
    assert!(!text(service.ask(request(false))).is_empty());
    let failure = service.ask(request(false)).unwrap_err().to_string();
    assert!(failure.contains("answered a request with another `id`"), "{failure}");
    assert!(!text(service.ask(request(false))).is_empty());
}

#[test]
fn a_service_that_fails_again_and_again_is_left_alone() {
    let breaker = paretopo_retrieval::BreakerConfig { failures: 3, seconds: Pause::literal(60.0) };
    let service = started("exit 1", &ServiceLimits { retries: 9, breaker, ..limits() });
    let failure = service.ask(request(true)).unwrap_err().to_string();
    assert!(failure.starts_with("not asked, since its last 3 requests failed"), "{failure}");
    let started = Instant::now();
    assert!(service.ask(request(true)).is_err() && started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_service_that_is_dropped_waits_for_nobody() {
    let service =
        started("sleep 60", &ServiceLimits { seconds: Seconds::literal(50.0), ..limits() });
    let waiting = service.send(request(true));
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    drop(service);
    assert!(waiting.answer().is_err() && started.elapsed() < Duration::from_secs(5));
}

fn tool(text: &str) -> Result<Arc<dyn Tool>, String> {
    let entry: ToolEntry = toml::from_str(text).unwrap();
    entry.tool.check()?;
    let resources = Resources::default();
    let mut surroundings =
        ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
    Ok(entry.start(&mut surroundings)?.remove(0).tool)
}

fn command(answer: &str, more: &str) -> Arc<dyn Tool> {
    let script = toml::Value::String(script(answer)).to_string();
    let program = format!("program = {{ command = \"sh\", args = [\"-c\", {script}] }}");
    tool(&format!("type = \"command\"\ndescription = \"d\"\n{program}\n{more}")).unwrap()
}

fn call(tool: &dyn Tool, seconds: f64) -> ToolOutcome {
    let call = ToolCall { name: "units".into(), arguments: serde_json::json!({ "a": "b c" }) };
    let deadline = Instant::now() + Seconds::literal(seconds).duration();
    tool.call(&call, &CallContext::new(TrajectoryId::new("test", 3, 1), deadline))
}

#[test]
fn a_call_is_what_the_program_makes_of_it() {
    let echo =
        command(r#"printf '{"id":%s,"text":"%s"}\n' $id "$(echo "$line" | tr '"' "'")""#, "");
    let outcome = call(&*echo, 5.0);
    let expected = "'type':'call','name':'units','arguments':{'a':'b c'},'trajectory'";
    assert!(outcome.text.contains(expected), "{}", outcome.text);
    assert!(outcome.text.contains("'trajectory':'test-3-1','seconds':4."), "{}", outcome.text);
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Ok, None));
    let refuses = command(r#"printf '{"id":%s,"error":"no such unit"}\n' $id"#, "");
    let outcome = call(&*refuses, 5.0);
    assert_eq!((outcome.status, outcome.text.as_str()), (CallStatus::Error, "no such unit"));
    assert_eq!(outcome.fault, None);
    let long = r#"printf '{"id":%s,"text":"0123456789"}\n' $id"#;
    let outcome = call(&*command(long, "output_characters = 5"), 5.0);
    assert_eq!(outcome.text, "012...(5 characters omitted)...89");
    assert!(outcome.truncated);
}

#[test]
fn a_call_that_is_not_answered_is_an_outcome_that_names_why() {
    let silent = command("sleep 60", "limits = { concurrency = 1 }");
    let started = Instant::now();
    let outcome = call(&*silent, 0.4);
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Timeout, Some(Fault::Tool)));
    assert!(outcome.text.starts_with("TimeoutError: "), "{}", outcome.text);
    let dead = command("exit 9", "limits = { concurrency = 1 }");
    let outcome = call(&*dead, 5.0);
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Error, Some(Fault::Tool)));
    assert!(outcome.text.starts_with("ToolError: `/"), "{}", outcome.text);
    assert!(outcome.text.ends_with("it ended with code 9"), "{}", outcome.text);
    let empty = call(&*command(r#"printf '{"id":%s}\n' $id"#, ""), 5.0);
    assert_eq!(empty.text, "ToolError: the answer has neither one text `text` nor one `error`");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refused = |text: &str| tool(&format!("description = \"d\"\n{text}")).err().unwrap();
    let command = "type = \"command\"\nprogram = { command = \"sh\" }\n";
    let of_header = |name: &str, from: &str| {
        format!("type = 'http'\nserver = {{ url = 'http://x', headers_from.{name} = '{from}' }}")
    };
    for (text, reason) in [
        (format!("{command}parameters = \"{{\""), "`parameters` is no JSON: "),
        (format!("{command}parameters = \"{{}}\""), "`parameters` has no `\"type\": \"object\"`"),
        (command.replace("sh", ""), "`program.command` is empty\nhint: "),
        (command.replace(" }", ", inherit = ['a=b'] }"), "`program.inherit`: `\"a=b\"` is not"),
        (command.replace(" }", ", env = { '' = '1' } }"), "`program.env`: `\"\"` is not the name"),
        ("type = \"http\"\nserver = { url = \"x\" }".into(), "`server.url`: `x` begins with"),
        (
            "type = \"http\"\nserver = { url = \"http://x\", bearer_from = \"NO_SUCH_TOKEN\" }"
                .into(),
            "`tools.http`: `server.bearer_from`: the variable `NO_SUCH_TOKEN` is not set\nhint: ",
        ),
        (of_header("'x y'", "PATH"), "`server.headers_from`: `x y` is no name of a header"),
        (of_header("Content-Length", "PATH"), "`server.headers_from`: `Content-Length` is told"),
        (
            of_header("X-Key", "NO_SUCH_KEY"),
            "`tools.http`: `server.headers_from.X-Key`: the variable `NO_SUCH_KEY` is not set",
        ),
    ] {
        let said = refused(&text);
        assert!(said.starts_with(reason), "{text}: {said}");
    }
}

/// A server that gives one answer after the other, each to one connection; its address, and what it
/// was sent.
fn server(answers: Vec<Option<(u16, String)>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/call", listener.local_addr().unwrap());
    let (sender, sent) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            sender.send(format!("{head}{body}")).unwrap();
            // none: hung up on
            let Some((status, text)) = answer else { continue };
            let id = body.split(['{', ':', ',']).nth(2).unwrap();
            let text = text.replace("ID", id);
            let length = text.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close");
            stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes()).unwrap();
        }
    });
    (url, sent)
}

fn said(status: u16, text: &str) -> Option<(u16, String)> {
    Some((status, text.to_owned()))
}

#[test]
fn a_server_is_asked_the_same_by_http() {
    let hello = || said(200, r#"{"id":ID}"#);
    let busy = said(503, "busy");
    let (url, sent) = server(vec![hello(), busy, None, said(200, r#"{"id":ID,"text":"12"}"#)]);
    let mut asked = ServerConfig { bearer_from: Some("PATH".into()), ..ServerConfig::new(url) };
    asked.headers_from.insert("X-Place".into(), "PWD".into());
    let asked = Asked::Server(asked);
    let service = Service::start(&asked, &limits(), "tool", "test").unwrap();
    assert_eq!(text(service.ask(request(true))), "12");
    let greeting = sent.recv().unwrap();
    let path = std::env::var("PATH").unwrap().to_lowercase();
    assert!(greeting.contains(&format!("authorization: bearer {path}")), "{greeting}");
    let place = std::env::var("PWD").unwrap().to_lowercase();
    assert!(greeting.contains(&format!("x-place: {place}\r\n")), "{greeting}");
    assert!(greeting.contains(r#""type":"hello","protocol":1,"role":"tool","name":"test""#));
    // three attempts of one request
    assert_eq!(sent.iter().count(), 3);
    // what may not be asked again is not
    let (url, _sent) = server(vec![hello(), said(503, "busy"), hello()]);
    let asked = Asked::Server(ServerConfig::new(&url));
    let service = Service::start(&asked, &limits(), "tool", "test").unwrap();
    let failure = service.ask(request(false)).unwrap_err().to_string();
    assert_eq!(failure, format!("{url}: status 503 Service Unavailable: busy"));
}

#[test]
fn a_server_that_is_not_there_is_told_at_the_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/call", listener.local_addr().unwrap());
    drop(listener);
    let asked = Asked::Server(ServerConfig::new(&url));
    let error = Service::start(&asked, &limits(), "tool", "test").unwrap_err();
    assert!(error.starts_with(&format!("no answer to the greeting: {url}: ")), "{error}");
}
