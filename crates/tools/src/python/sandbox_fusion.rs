//! A client of [SandboxFusion](https://github.com/bytedance/SandboxFusion): programs run on a
//! server, by `POST /run_code`.

use super::{Ran, Unavailable};
use paretopo_retrieval::{Breaker, BreakerConfig, http_agent};
use paretopo_settings::{Seconds, whole, within};
use paretopo_trajectory::CallStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How the server is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxFusionConfig {
    /// The server's address, e.g. `http://127.0.0.1:8080`.
    pub url: String,
    /// Further attempts after the first, while the call's deadline allows.
    #[serde(default = "retries", deserialize_with = "within::<0, 1000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1000>")]
    pub retries: u32,
    /// When the server is left alone for a while.
    #[serde(default)]
    pub breaker: BreakerConfig,
}

fn retries() -> u32 {
    3
}

/// Bytes of an answer that are read; more is nonsense.
const MAX_ANSWER: u64 = 16 << 20;

#[derive(Serialize)]
struct Request<'a> {
    code: &'a str,
    language: &'static str,
    run_timeout: f64,
}

#[derive(Deserialize)]
struct Response {
    status: String,
    #[serde(default)]
    message: String,
    run_result: Option<RunResult>,
}

#[derive(Deserialize)]
struct RunResult {
    status: String,
    return_code: Option<i32>,
    stdout: Option<String>,
    stderr: Option<String>,
}

/// The client.
pub(super) struct SandboxFusion {
    config: SandboxFusionConfig,
    agent: ureq::Agent,
    breaker: Breaker,
}

impl SandboxFusion {
    pub(super) fn new(config: &SandboxFusionConfig) -> Self {
        Self { config: config.clone(), agent: http_agent(), breaker: Breaker::new(config.breaker) }
    }

    /// Runs a program for at most `seconds`, trying again while there is time.
    ///
    /// # Errors
    /// When the server is being left alone or fails; whether it or the program is late is not known.
    pub(super) fn run(&self, program: &str, seconds: Seconds) -> Result<Ran, Unavailable> {
        let deadline = Instant::now() + seconds.duration();
        let mut pause = Duration::from_millis(50);
        for attempt in 0..=self.config.retries {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if let Err(open) = self.breaker.enter() {
                return Err(Unavailable::Failed(format!("{}: {open}", self.config.url)));
            }
            let result = self.ask(program, left);
            self.breaker.report(result.is_ok());
            match result {
                Ok(outcome) => return Ok(outcome),
                Err(reason) if attempt == self.config.retries => {
                    return Err(Unavailable::Failed(format!("{}: {reason}", self.config.url)));
                }
                Err(_) => std::thread::sleep(
                    pause.min(deadline.saturating_duration_since(Instant::now())),
                ),
            }
            pause = pause.saturating_mul(2);
        }
        let text = format!("TimeoutError: no answer within {:.1} s", seconds.get());
        Ok((CallStatus::Timeout, text))
    }

    fn ask(&self, program: &str, left: Duration) -> Result<(CallStatus, String), String> {
        let url = format!("{}/run_code", self.config.url.trim_end_matches('/'));
        let request =
            Request { code: program, language: "python", run_timeout: left.as_secs_f64() };
        let sent =
            self.agent.post(&url).config().timeout_global(Some(left)).build().send_json(&request);
        let mut response = sent.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_vec()
            .map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("status {status}"));
        }
        let response: Response =
            serde_json::from_slice(&body).map_err(|error| format!("not the protocol: {error}"))?;
        outcome_of(response)
    }
}

/// What a program's run means; an error of the sandbox itself is one of ours.
fn outcome_of(response: Response) -> Result<(CallStatus, String), String> {
    let Some(run) = response.run_result.filter(|_| response.status != "SandboxError") else {
        return Err(format!("{} {}", response.status, response.message));
    };
    let mut text = run.stdout.unwrap_or_default();
    if run.status == "TimeLimitExceeded" {
        return Ok((CallStatus::Timeout, text + "TimeoutError: the server's limit"));
    }
    if run.return_code.unwrap_or(0) == 0 && run.status == "Finished" {
        return Ok((CallStatus::Ok, text));
    }
    let stderr = run.stderr.unwrap_or_default();
    let last = stderr.trim_end().lines().last().unwrap_or("Error: the program failed").to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let limit = last.starts_with("MemoryError") || last.starts_with("RecursionError");
    Ok((if limit { CallStatus::Limit } else { CallStatus::Error }, text + &last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(json: &str) -> Result<(CallStatus, String), String> {
        outcome_of(serde_json::from_str(json).expect("the protocol"))
    }

    #[test]
    fn answers_become_outcomes() {
        let ok = r#"{"status":"Success","message":"","run_result":{"status":"Finished","execution_time":0.01,"return_code":0,"stdout":"42\n","stderr":""}}"#;
        assert_eq!(outcome(ok), Ok((CallStatus::Ok, "42\n".into())));
        let failed = r#"{"status":"Failed","message":"","run_result":{"status":"Finished","return_code":1,"stdout":"a","stderr":"Traceback ...\nZeroDivisionError: division by zero\n"}}"#;
        assert_eq!(
            outcome(failed),
            Ok((CallStatus::Error, "a\nZeroDivisionError: division by zero".into()))
        );
        let late = r#"{"status":"Failed","message":"","run_result":{"status":"TimeLimitExceeded","return_code":null,"stdout":"","stderr":""}}"#;
        assert_eq!(outcome(late).map(|(status, _)| status), Ok(CallStatus::Timeout));
        assert!(
            outcome(r#"{"status":"SandboxError","message":"no room","run_result":null}"#)
                .unwrap_err()
                .contains("no room")
        );
    }
}
