//! A small server that speaks vLLM's routes and SGLang's, and misbehaves as it is told. What it
//! computes is a function of the ids and of the weights that it has. `tests/serving.rs` has it, too.

use paretopo_generation::{Points, SamplingConfig, log_softmax, sample};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Logits behind ids, of weights that were given as a folder; `None` for those of the start.
pub(crate) type Logits = dyn Fn(Option<&PathBuf>, &[u32]) -> Vec<f32> + Send + Sync;

/// How a server behaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manners {
    pub(crate) sglang: bool,
    /// Tokens of a turn after which `fault` happens; of as many turns as `faults` says.
    pub(crate) after: usize,
    pub(crate) fault: Fault,
    pub(crate) faults: usize,
    /// Routes that it does not have.
    pub(crate) lacks: Vec<&'static str>,
    /// It says that it has new weights and keeps the old.
    pub(crate) keeps_old_weights: bool,
    /// It takes a part of new weights.
    pub(crate) takes_a_part: bool,
    /// It tells log-probabilities of what it draws from.
    pub(crate) processed: bool,
    /// It has no room for weights.
    pub(crate) refuses_weights: bool,
    /// Between two tokens.
    pub(crate) delay: Duration,
    /// It answers those alone who tell it this.
    pub(crate) key: Option<&'static str>,
}

/// What goes wrong in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The connection is closed.
    Cut,
    /// Nothing comes any more.
    Hang,
    /// No JSON.
    Nonsense,
    /// Two ids and one log-probability.
    TooFewLogprobs,
    /// An id of another vocabulary.
    OtherVocabulary,
    /// Status 500, as when memory is full.
    OutOfMemory,
    /// The server gives the turn up.
    Abort,
}

pub(crate) struct State {
    logits: Box<Logits>,
    pub(crate) manners: Mutex<Manners>,
    /// Those that it was given last, or those of each adapter.
    pub(crate) weights: Mutex<Vec<(String, PathBuf)>>,
    /// Routes, in the order of the requests.
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) turns: AtomicUsize,
    pub(crate) open: AtomicUsize,
    pub(crate) is_down: AtomicBool,
}

pub(crate) struct Server {
    pub(crate) state: Arc<State>,
    address: SocketAddr,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Server {
    pub(crate) fn start(manners: Manners, logits: Box<Logits>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            logits,
            manners: Mutex::new(manners),
            weights: Mutex::default(),
            asked: Mutex::default(),
            turns: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                // whoever hangs up is served no more
                std::thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Self { state, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self, route: &str) -> usize {
        lock(&self.state.asked).iter().filter(|asked| asked.starts_with(route)).count()
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut lock(&self.state.manners));
    }

    /// As after a restart: with the weights of the start.
    pub(crate) fn forget_weights(&self) {
        lock(&self.state.weights).clear();
    }
}

pub(crate) type Served = std::io::Result<()>;

impl State {
    fn serve(&self, mut stream: TcpStream) -> Served {
        if self.is_down.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (route, body, told) = read_request(&stream)?;
        lock(&self.asked).push(route.clone());
        let manners = lock(&self.manners).clone();
        if manners.key.is_some_and(|key| told != format!("Bearer {key}")) {
            let said = json!({ "error": format!("who are you? {told}") });
            return answer(&mut stream, 401, &said);
        }
        let path = route.split('?').next().unwrap_or_default().to_owned();
        if manners.lacks.iter().any(|lacking| *lacking == path) {
            return answer(&mut stream, 404, &json!({ "detail": "Not Found" }));
        }
        match path.as_str() {
            "/v1/models" => {
                let model = json!({ "id": "policy", "max_model_len": 200 });
                answer(&mut stream, 200, &json!({ "data": [model] }))
            }
            "/version" | "/get_server_info" => {
                answer(&mut stream, 200, &json!({ "version": "0.32.0" }))
            }
            "/openapi.json" => answer(&mut stream, 200, &routes(&manners)),
            "/v1/completions" | "/generate" => self.generate(&mut stream, &body, &manners),
            "/v1/load_lora_adapter" | "/load_lora_adapter" => {
                let name = body["lora_name"].as_str().unwrap_or_default();
                self.take_weights(&mut stream, &manners, name, &body["lora_path"])
            }
            "/v1/unload_lora_adapter" | "/unload_lora_adapter" => {
                let name = body["lora_name"].as_str().unwrap_or_default();
                let mut weights = lock(&self.weights);
                let count = weights.len();
                weights.retain(|own| own.0 != name);
                let status = if weights.len() < count { 200 } else { 404 };
                answer(&mut stream, status, &json!({}))
            }
            "/collective_rpc" => {
                let folder = &body["kwargs"]["weights_path"];
                self.take_weights(&mut stream, &manners, "policy", folder)
            }
            "/update_weights_from_disk" => {
                self.take_weights(&mut stream, &manners, "policy", &body["model_path"])
            }
            "/pause"
            | "/resume"
            | "/reset_prefix_cache"
            | "/pause_generation"
            | "/continue_generation" => answer(&mut stream, 200, &json!({ "success": true })),
            _ => answer(&mut stream, 404, &json!({ "detail": "Not Found" })),
        }
    }

    fn take_weights(
        &self,
        stream: &mut TcpStream,
        manners: &Manners,
        name: &str,
        folder: &Value,
    ) -> Served {
        if manners.refuses_weights {
            let said = json!({ "error": { "message": "no space left on device" } });
            return answer(stream, 500, &said);
        }
        if !manners.keeps_old_weights {
            let mut folder = folder.as_str().unwrap_or_default().to_owned();
            if manners.takes_a_part {
                let version: f32 = folder.trim_start_matches("version-").parse().unwrap();
                folder = format!("version-{}", version * 0.9);
            }
            let folder = PathBuf::from(folder);
            let mut weights = lock(&self.weights);
            weights.retain(|own| own.0 != name);
            weights.push((name.to_owned(), folder));
        }
        answer(stream, 200, &json!({ "success": true, "results": [null] }))
    }

    fn generate(&self, stream: &mut TcpStream, body: &Value, manners: &Manners) -> Served {
        let name = if manners.sglang { &body["lora_path"] } else { &body["model"] };
        let name = name.as_str().unwrap_or("policy");
        let weights = lock(&self.weights).iter().find(|own| own.0 == name).cloned();
        if weights.is_none() && name != "policy" {
            return answer(stream, 404, &json!({ "error": { "message": "no such model" } }));
        }
        let weights = weights.map(|own| own.1);
        let ids = if manners.sglang { &body["input_ids"] } else { &body["prompt"] };
        let ids: Vec<u32> = serde_json::from_value(ids.clone()).unwrap();
        if body["stream"] == true {
            self.turns.fetch_add(1, Ordering::Relaxed);
            self.open.fetch_add(1, Ordering::Relaxed);
            let done = self.turn(stream, body, ids, weights.as_ref(), manners);
            self.open.fetch_sub(1, Ordering::Relaxed);
            return done;
        }
        let score = |place: usize| {
            log_softmax(&(self.logits)(weights.as_ref(), &ids[..place]))[ids[place] as usize]
        };
        let scores: Vec<f32> = (1..ids.len()).map(score).collect();
        let told = if manners.sglang {
            let pairs = ids[1..].iter().zip(&scores).map(|(id, score)| json!([score, id, null]));
            let first = json!([null, ids[0], null]);
            let pairs: Vec<Value> = std::iter::once(first).chain(pairs).collect();
            json!({ "output_ids": [0], "meta_info": { "input_token_logprobs": pairs } })
        } else {
            let place = |(id, score): (&u32, &f32)| json!({ id.to_string(): { "logprob": score } });
            let places: Vec<Value> = std::iter::once(Value::Null)
                .chain(ids[1..].iter().zip(&scores).map(place))
                .collect();
            json!({ "choices": [{ "prompt_logprobs": places, "text": "" }] })
        };
        answer(stream, 200, &told)
    }

    fn turn(
        &self,
        stream: &mut TcpStream,
        body: &Value,
        mut ids: Vec<u32>,
        weights: Option<&PathBuf>,
        manners: &Manners,
    ) -> Served {
        let own = if manners.sglang { &body["sampling_params"] } else { body };
        let budget =
            own["max_tokens"].as_u64().or(own["max_new_tokens"].as_u64()).unwrap() as usize;
        let seed = own["seed"].as_u64().or(own["sampling_seed"].as_u64()).unwrap();
        let ends: Vec<u32> = serde_json::from_value(own["stop_token_ids"].clone()).unwrap();
        let sampling = SamplingConfig {
            temperature: serde_json::from_value(own["temperature"].clone()).unwrap(),
            ..SamplingConfig::default()
        };
        let mut points = Points::new(seed, 0);
        // what a probe at the start asks for never fails
        let is_probe = own["temperature"] == 2.0;
        let mut fault = if is_probe { Fault::None } else { self.take_fault() };
        if fault == Fault::OutOfMemory {
            let said = json!({ "error": { "message": "CUDA out of memory" } });
            return answer(stream, 500, &said);
        }
        stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
        )?;
        let (mut drawn, mut logprobs): (Vec<u32>, Vec<f32>) = (Vec::new(), Vec::new());
        while drawn.len() < budget {
            if drawn.len() >= manners.after && fault != Fault::None {
                match std::mem::take(&mut fault) {
                    Fault::Cut => return Ok(()),
                    Fault::Hang => {
                        std::thread::sleep(Duration::from_secs(20));
                        return Ok(());
                    }
                    Fault::Nonsense => return stream.write_all(b"data: <html>no</html>\n\n"),
                    Fault::TooFewLogprobs => {
                        let event = told(manners, &[1, 2], &[-0.5], None);
                        return stream.write_all(&event);
                    }
                    Fault::OtherVocabulary => {
                        let event = told(manners, &[4_000_000], &[-0.5], None);
                        return stream.write_all(&event);
                    }
                    Fault::Abort => {
                        return stream.write_all(&told(manners, &[], &[], Some("abort")));
                    }
                    Fault::None | Fault::OutOfMemory => {}
                }
            }
            let mut logits = (self.logits)(weights, &ids);
            for (id, bias) in own["logit_bias"].as_object().into_iter().flatten() {
                logits[id.parse::<usize>().unwrap()] += bias.as_f64().unwrap() as f32;
            }
            let token = sample(&logits, ids.iter().copied(), &sampling, &mut points).unwrap();
            std::thread::sleep(manners.delay);
            ids.push(token.id);
            drawn.push(token.id);
            logprobs.push(if manners.processed { token.sampling_logprob } else { token.logprob });
            let is_end = ends.contains(&token.id);
            let reason =
                if is_end { Some("stop") } else { (drawn.len() == budget).then_some("length") };
            let first = if manners.sglang { 0 } else { drawn.len() - 1 };
            stream.write_all(&told(manners, &drawn[first..], &logprobs[first..], reason))?;
            if is_end {
                break;
            }
        }
        stream.write_all(b"data: [DONE]\n\n")
    }

    fn take_fault(&self) -> Fault {
        let mut manners = lock(&self.manners);
        if manners.faults == 0 {
            return Fault::None;
        }
        manners.faults -= 1;
        manners.fault
    }
}

/// An event; of SGLang with all tokens so far.
fn told(manners: &Manners, ids: &[u32], logprobs: &[f32], reason: Option<&str>) -> Vec<u8> {
    let event = if manners.sglang {
        let pairs: Vec<Value> =
            ids.iter().zip(logprobs).map(|(id, logprob)| json!([logprob, id, null])).collect();
        let reason = reason.map(|reason| json!({ "type": reason }));
        let meta = json!({
            "output_token_logprobs": pairs, "completion_tokens": ids.len(), "finish_reason": reason,
        });
        json!({ "text": "", "output_ids": ids, "meta_info": meta })
    } else {
        let logprobs = json!({ "token_logprobs": logprobs });
        json!({ "choices": [{ "token_ids": ids, "logprobs": logprobs, "finish_reason": reason }] })
    };
    format!("data: {event}\n\n").into_bytes()
}

fn routes(manners: &Manners) -> Value {
    let all = [
        "/pause",
        "/resume",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/pause_generation",
        "/continue_generation",
        "/update_weights_from_disk",
        "/load_lora_adapter",
        "/unload_lora_adapter",
    ];
    let there = all.iter().filter(|route| !manners.lacks.contains(route));
    let paths: serde_json::Map<String, Value> =
        there.map(|route| ((*route).to_owned(), json!({}))).collect();
    json!({ "paths": paths })
}

/// The route, the body and the authorization.
pub(crate) fn read_request(stream: &TcpStream) -> std::io::Result<(String, Value, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let route = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut told) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim();
        let Some((name, value)) = header.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => value.trim().clone_into(&mut told),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((route, serde_json::from_slice(&body).unwrap_or_default(), told))
}

pub(crate) fn answer(stream: &mut TcpStream, status: u16, body: &Value) -> Served {
    let text = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{text}",
        text.len()
    )
}
