//! Servers against a small one that misbehaves: nothing is lost, nothing hangs, and no number is
//! taken for another.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod server;

use paretopo_generation::{
    Event, ForbiddenText, GenerationError, GenerationSettings, Generator, Generators, Recorded,
    Row, SamplingConfig, log_softmax,
};
use paretopo_serving::{
    Fingerprint, Needs, Protocol, ServerConfig, Servers, ServingError, Weights,
};
use paretopo_settings::Temperature;
use server::{Fault, Manners, Server};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const VOCABULARY: usize = 40;
const END: u32 = 39;
const BOTH: [Protocol; 2] = [Protocol::Vllm, Protocol::Sglang];

/// Far from equal, and other with each version of the weights: `version-3` adds to it.
fn logits(weights: Option<&PathBuf>, ids: &[u32]) -> Vec<f32> {
    let name = weights.and_then(|folder| folder.file_name()?.to_str()?.strip_prefix("version-"));
    let version: f32 = name.map_or(0.0, |number| number.parse().unwrap());
    let state = ids.iter().fold(7u32, |state, id| state.wrapping_mul(31).wrapping_add(*id));
    let logit = |id: usize| {
        let mixed = (state ^ id as u32).wrapping_mul(0x9e37_79b9) >> 16;
        let spread = (mixed % 1000) as f32 / 250.0;
        spread * (1.0 + 0.05 * version)
    };
    let mut all: Vec<f32> = (0..VOCABULARY).map(logit).collect();
    all[END as usize] = -5.0;
    all
}

fn start(manners: Manners) -> Server {
    Server::start(manners, Box::new(logits))
}

fn manners(protocol: Protocol) -> Manners {
    Manners { sglang: protocol == Protocol::Sglang, ..Manners::default() }
}

fn config(servers: &[&Server]) -> ServerConfig {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    serde_json::from_value(serde_json::json!({
        "urls": urls, "first_token_seconds": 2.0, "token_seconds": 0.5, "backoff_seconds": 0.01,
        "update_seconds": 5.0, "retries": 3, "breaker": { "failures": 2, "seconds": 0.1 },
    }))
    .unwrap()
}

const NEEDS: Needs = Needs { vocab_size: VOCABULARY, updates: Some(false) };

fn probe(protocol: Protocol, servers: &[&Server]) -> Servers {
    Servers::probe(protocol, &config(servers), &NEEDS).unwrap()
}

fn greedy() -> GenerationSettings {
    GenerationSettings {
        sampling: SamplingConfig { temperature: Temperature::literal(0.0), ..Default::default() },
        recorded: Recorded::default(),
        end_ids: vec![END],
        batch_size: 100,
        memory: None,
    }
}

fn rows(count: usize) -> Vec<Row> {
    let row = |key| Row {
        key,
        ids: vec![key as u32 % 7 + 1, 2, 3].into(),
        seed: key as u64,
        drawn: 0,
        budget: 12,
        forbidden: None,
    };
    (0..count).map(row).collect()
}

/// What rows draw, with log-probabilities, until each has drawn `wanted` tokens.
fn draw(
    generator: &mut dyn Generator,
    rows: &[Row],
    wanted: usize,
) -> Result<Vec<Vec<(u32, f32)>>, GenerationError> {
    let started = Instant::now();
    let mut drawn = vec![Vec::new(); rows.len()];
    let mut waiting = rows;
    while drawn.iter().any(|row: &Vec<_>| row.len() < wanted) {
        assert!(started.elapsed() < Duration::from_secs(30), "it hangs: {drawn:?}");
        let taken = generator.admit(waiting)?;
        waiting = &waiting[taken..];
        for event in generator.step()? {
            let Event::Drawn(token) = event else { panic!("{event:?}") };
            drawn[token.row].push((token.id, token.logprob));
        }
    }
    Ok(drawn)
}

/// The greedy continuation, by the function itself.
fn expected(row: &Row, count: usize, forbidden: &[u32]) -> Vec<(u32, f32)> {
    let mut ids = row.ids.to_vec();
    let mut found = Vec::new();
    for _ in 0..count {
        let logprobs = log_softmax(&logits(None, &ids));
        let allowed = (0..VOCABULARY).filter(|id| !forbidden.contains(&(*id as u32)));
        let best = allowed.reduce(|best, id| if logprobs[id] > logprobs[best] { id } else { best });
        let best = best.unwrap();
        found.push((best as u32, logprobs[best]));
        ids.push(best as u32);
    }
    found
}

#[track_caller]
fn check_drawn(drawn: &[Vec<(u32, f32)>], rows: &[Row]) {
    for (own, row) in drawn.iter().zip(rows) {
        let wanted = expected(row, own.len(), &[]);
        assert_eq!(ids_of(own), ids_of(&wanted), "row {}", row.key);
        assert!(own.iter().zip(&wanted).all(|(a, b)| (a.1 - b.1).abs() < 1e-5));
    }
}

fn ids_of(tokens: &[(u32, f32)]) -> Vec<u32> {
    tokens.iter().map(|token| token.0).collect()
}

fn fingerprint(version: u64) -> Fingerprint {
    let ids: Vec<u32> = vec![5, 6, 7, 8, 9, 10];
    let folder = PathBuf::from(format!("version-{version}"));
    let score =
        |place: usize| log_softmax(&logits(Some(&folder), &ids[..place]))[ids[place] as usize];
    Fingerprint { logprobs: (1..ids.len()).map(score).collect(), ids }
}

fn full(version: u64) -> Weights {
    Weights::Full { folder: format!("version-{version}").into() }
}

#[test]
fn rows_draw_what_the_policy_says_and_servers_share_them() {
    for protocol in BOTH {
        let [one, two] = [start(manners(protocol)), start(manners(protocol))];
        let servers = probe(protocol, &[&one, &two]);
        assert_eq!(servers.longest(), 200);
        let mut generator = servers.open(&greedy()).unwrap();
        let rows = rows(10);
        check_drawn(&draw(&mut *generator, &rows, 12).unwrap(), &rows);
        // one probe each, and the ten rows by load
        let turns = [&one, &two].map(|server| server.state.turns.load(Ordering::Relaxed));
        assert_eq!(turns, [6, 6]);
    }
}

#[test]
fn a_paused_row_forgets_what_lies_behind_and_goes_on_from_what_it_is_given() {
    let server = start(Manners { delay: Duration::from_millis(2), ..Manners::default() });
    let servers = probe(Protocol::Vllm, &[&server]);
    let mut generator = servers.open(&greedy()).unwrap();
    let rows = rows(1);
    let drawn = draw(&mut *generator, &rows, 3).unwrap();
    generator.pause(0, rows[0].ids.len() + 2);
    assert!(generator.step().unwrap().is_empty());
    generator.extend(0, &[11, 12]);
    let begun: Vec<u32> = [&rows[0].ids[..], &ids_of(&drawn[0])[..2], &[11, 12]].concat();
    let behind = Row { ids: begun.into(), ..rows[0].clone() };
    let mut more = Vec::new();
    // 12 were allowed, and 2 are used up
    while more.len() < 10 {
        for event in generator.step().unwrap() {
            let Event::Drawn(token) = event else { panic!("{event:?}") };
            more.push((token.id, token.logprob));
        }
    }
    check_drawn(&[more], &[behind]);
    generator.release(0);
    drop(generator);
    std::thread::sleep(Duration::from_millis(100));
    // the stream that nobody waited for was closed
    assert_eq!(server.state.open.load(Ordering::Relaxed), 0);
}

#[test]
fn whatever_goes_wrong_in_a_turn_no_row_is_lost() {
    let faults = [
        Fault::Cut,
        Fault::Hang,
        Fault::Nonsense,
        Fault::TooFewLogprobs,
        Fault::OutOfMemory,
        Fault::Abort,
    ];
    for protocol in BOTH {
        for fault in faults {
            let bad = start(Manners { after: 4, fault, faults: 3, ..manners(protocol) });
            let good = start(manners(protocol));
            let servers = probe(protocol, &[&bad, &good]);
            servers.load(full(0), 0, fingerprint(0)).unwrap();
            let mut generator = servers.open(&greedy()).unwrap();
            let rows = rows(6);
            let drawn = draw(&mut *generator, &rows, 12);
            check_drawn(&drawn.unwrap_or_else(|error| panic!("{fault:?}: {error}")), &rows);
        }
    }
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_its_rows_to_the_others() {
    let delay = Duration::from_millis(5);
    let [dying, good] = [0, 1].map(|_| start(Manners { delay, ..Manners::default() }));
    let servers = probe(Protocol::Vllm, &[&dying, &good]);
    let mut generator = servers.open(&greedy()).unwrap();
    let rows = rows(8);
    let mut drawn = draw(&mut *generator, &rows, 2).unwrap();
    dying.state.is_down.store(true, Ordering::Relaxed);
    dying.behave(|manners| (manners.fault, manners.faults) = (Fault::Cut, 100));
    let started = Instant::now();
    while drawn.iter().any(|row| row.len() < 12) {
        assert!(started.elapsed() < Duration::from_secs(20), "{drawn:?}");
        for event in generator.step().unwrap() {
            let Event::Drawn(token) = event else { panic!("{event:?}") };
            drawn[token.row].push((token.id, token.logprob));
        }
    }
    check_drawn(&drawn, &rows);
}

#[test]
fn what_fails_again_and_again_stops_with_its_reason() {
    let server = start(Manners { fault: Fault::Nonsense, faults: 1000, ..Manners::default() });
    let servers = probe(Protocol::Vllm, &[&server]);
    let mut generator = servers.open(&greedy()).unwrap();
    let error = draw(&mut *generator, &rows(1), 1).unwrap_err().to_string();
    assert!(error.contains("failed a row 4 times in a row"), "{error}");
    assert!(error.contains("<html>no</html>") && error.contains(&server.url()), "{error}");
    // asking again would change nothing
    let server = start(Manners { fault: Fault::OtherVocabulary, faults: 1, ..Manners::default() });
    let servers = probe(Protocol::Vllm, &[&server]);
    let mut generator = servers.open(&greedy()).unwrap();
    let error = draw(&mut *generator, &rows(1), 1).unwrap_err().to_string();
    assert!(error.contains("the id 4000000 is drawn, but the policy knows 40"), "{error}");
}

#[test]
fn what_a_row_must_not_write_is_drawn_anew_among_the_others() {
    for protocol in BOTH {
        let server = start(manners(protocol));
        let servers = probe(protocol, &[&server]);
        let mut generator = servers.open(&greedy()).unwrap();
        let row = rows(1).remove(0);
        let favourites = ids_of(&expected(&row, 1, &[]));
        let spelled = |id| if favourites.contains(&id) { "<call>" } else { "-" }.to_owned();
        let text = ForbiddenText::new("<call>", (0..VOCABULARY as u32).map(spelled)).unwrap();
        let row = Row { forbidden: Some(Arc::new(text)), ..row };
        let drawn = draw(&mut *generator, std::slice::from_ref(&row), 12).unwrap();
        // the log-probability is still that among all tokens
        let wanted = expected(&row, 12, &favourites);
        assert_eq!(ids_of(&drawn[0]), ids_of(&wanted));
    }
}

#[test]
fn a_server_that_lacks_something_is_told_how_to_be_started() {
    let lacking = |protocol: Protocol, change: fn(&mut Manners), updates: Option<bool>| {
        let server = start(manners(protocol));
        server.behave(change);
        let needs = Needs { updates, ..NEEDS };
        match Servers::probe(protocol, &config(&[&server]), &needs) {
            Ok(_) => panic!("it lacks something"),
            Err(error) => error.to_string(),
        }
    };
    let (vllm, sglang) = (Protocol::Vllm, Protocol::Sglang);
    let error = lacking(vllm, |own| own.lacks.push("/collective_rpc"), Some(false));
    assert!(error.contains("has no route `/collective_rpc`"), "{error}");
    assert!(error.contains("VLLM_SERVER_DEV_MODE=1"), "{error}");
    let error = lacking(vllm, |own| own.lacks.push("/v1/load_lora_adapter"), Some(true));
    assert!(error.contains("`VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`"), "{error}");
    let error = lacking(sglang, |own| own.lacks.push("/load_lora_adapter"), Some(true));
    assert!(error.contains("`--enable-lora`"), "{error}");
    let error = lacking(vllm, |own| own.processed = true, None);
    assert!(error.contains("--logprobs-mode raw_logprobs"), "{error}");
    let error = lacking(sglang, |own| own.processed = true, None);
    assert!(error.contains("SGLANG_RETURN_ORIGINAL_LOGPROB=1"), "{error}");
    // SGLang where vLLM should be
    let error = lacking(vllm, |own| own.lacks.push("/v1/completions"), None);
    assert!(error.contains("(version 0.32.0) fails") && error.contains("0.10.2"), "{error}");
    // nobody there
    let nobody: ServerConfig =
        serde_json::from_value(serde_json::json!({ "urls": ["http://127.0.0.1:9"] })).unwrap();
    let error = Servers::probe(vllm, &nobody, &NEEDS).err().unwrap().to_string();
    assert!(error.contains("is vLLM running there?"), "{error}");
}

#[test]
fn weights_are_given_and_seen() {
    for protocol in BOTH {
        let server = start(manners(protocol));
        let servers = probe(protocol, &[&server]);
        for version in 0..3 {
            let updated = servers.load(full(version), version, fingerprint(version)).unwrap();
            assert!(updated.difference < 1e-5 && updated.away.is_empty(), "{updated:?}");
        }
        servers.confirm().unwrap();
        // as an adapter, of which there is one at a time
        for version in 3..5 {
            let folder = format!("version-{version}").into();
            let weights = Weights::Adapter { folder, name: format!("own-{version}") };
            servers.load(weights, version, fingerprint(version)).unwrap();
        }
        let names: Vec<String> =
            server.state.weights.lock().unwrap().iter().map(|own| own.0.clone()).collect();
        assert_eq!(names, ["policy", "own-4"]);
    }
}

#[test]
fn stale_weights_stop_the_run() {
    let server = start(Manners::default());
    let servers = probe(Protocol::Vllm, &[&server]);
    servers.load(full(0), 0, fingerprint(0)).unwrap();
    server.behave(|own| own.keeps_old_weights = true);
    let error = servers.load(full(1), 1, fingerprint(1)).unwrap_err();
    assert!(matches!(&error, ServingError::Stale { version: 1, .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("does not compute with the weights it was given"), "{error}");
    assert!(error.contains("`version-1`"), "{error}");
    // one that takes a part: its first version is that of the start
    let half = start(Manners { takes_a_part: true, ..Manners::default() });
    let servers_of_half = probe(Protocol::Vllm, &[&half]);
    servers_of_half.load(full(0), 0, fingerprint(0)).unwrap();
    let error = servers_of_half.load(full(1), 1, fingerprint(1)).unwrap_err().to_string();
    assert!(error.contains("it has taken a part of the weights"), "{error}");
    // one that cannot take them
    server.behave(|own| (own.keeps_old_weights, own.refuses_weights) = (false, true));
    let error = servers.load(full(2), 2, fingerprint(2)).unwrap_err().to_string();
    assert!(error.contains("no server took version 2"), "{error}");
    assert!(error.contains("no space left on device"), "{error}");
    // also then it is not left paused
    assert_eq!(server.asked("/pause"), server.asked("/resume"));
}

#[test]
fn another_trainer_on_the_same_server_is_noticed() {
    let server = start(Manners::default());
    let [own, other] = [0, 1].map(|_| probe(Protocol::Vllm, &[&server]));
    own.load(full(1), 1, fingerprint(1)).unwrap();
    own.confirm().unwrap();
    other.load(full(7), 7, fingerprint(7)).unwrap();
    let error = own.confirm().unwrap_err().to_string();
    assert!(error.contains("have changed by") && error.contains("no other run"), "{error}");
}

#[test]
fn a_server_that_was_started_anew_gets_the_weights_before_it_is_used() {
    let [one, two] = [0, 1].map(|_| start(Manners::default()));
    let servers = probe(Protocol::Vllm, &[&one, &two]);
    servers.load(full(0), 0, fingerprint(0)).unwrap();
    one.forget_weights();
    one.behave(|own| (own.fault, own.faults, own.after) = (Fault::Cut, 1, 2));
    let before = one.asked("/collective_rpc");
    let mut generator = servers.open(&greedy()).unwrap();
    // weights of version 0 are those of the start here: it is seen to have them
    let all = rows(6);
    check_drawn(&draw(&mut *generator, &all, 12).unwrap(), &all);
    assert_eq!(one.asked("/collective_rpc"), before);
    drop(generator);
    servers.load(full(3), 3, fingerprint(3)).unwrap();
    one.forget_weights();
    one.behave(|own| (own.fault, own.faults) = (Fault::Cut, 1));
    let before = one.asked("/collective_rpc");
    let mut generator = servers.open(&greedy()).unwrap();
    draw(&mut *generator, &all, 12).unwrap();
    // it may be that no row came back to it
    let mut generator = servers.open(&greedy()).unwrap();
    draw(&mut *generator, &all, 12).unwrap();
    assert_eq!(one.asked("/collective_rpc"), before + 1);
    servers.confirm().unwrap();
}

#[test]
fn a_server_that_is_away_gets_its_weights_later() {
    let [one, two] = [0, 1].map(|_| start(Manners::default()));
    let servers = probe(Protocol::Vllm, &[&one, &two]);
    one.state.is_down.store(true, Ordering::Relaxed);
    let updated = servers.load(full(2), 2, fingerprint(2)).unwrap();
    assert_eq!(updated.away.len(), 1);
    assert!(updated.away[0].contains(&one.url()), "{updated:?}");
    one.state.is_down.store(false, Ordering::Relaxed);
    let mut generator = servers.open(&greedy()).unwrap();
    draw(&mut *generator, &rows(6), 12).unwrap();
    assert_eq!(one.asked("/collective_rpc"), 1);
}

#[test]
fn addresses_are_checked() {
    let check = |urls: &[&str]| {
        let config: ServerConfig =
            serde_json::from_value(serde_json::json!({ "urls": urls })).unwrap();
        config.check().map_err(|error| error.lines().next().unwrap().to_owned())
    };
    assert!(check(&["http://a:1", "http://b:1/"]).is_ok());
    assert_eq!(check(&[]).unwrap_err(), "`generator.urls` names no server");
    assert_eq!(check(&["a:1"]).unwrap_err(), "`generator.urls`: `a:1` is no address of a server");
    assert_eq!(
        check(&["http://a:1", "http://a:1/"]).unwrap_err(),
        "`generator.urls` names `http://a:1/` twice"
    );
    let unknown = serde_json::json!({ "urls": ["http://a"], "timeout": 3 });
    assert!(serde_json::from_value::<ServerConfig>(unknown).is_err());
}
