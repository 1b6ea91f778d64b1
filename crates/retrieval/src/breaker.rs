//! A circuit breaker (Nygard, "Release It!", 2007): a server that has failed again and again is
//! left alone for a while, so that a run goes on with errors instead of waiting out every deadline.

use paretopo_settings::{Pause, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// When a server is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Failures in a row; 0 for never.
    #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000>")]
    pub failures: u32,
    /// Seconds; then one request goes through and decides.
    pub seconds: Pause,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 8, seconds: const { Pause::literal(10.0) } }
    }
}

/// The server is being left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not asked, since its last {failures} requests failed; it is tried again after a pause")]
pub struct BreakerOpen {
    failures: u32,
}

/// The breaker of one server, shared by all who ask it.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Closed again from then on, for one request.
    until: Option<Instant>,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    /// Whether a request may be sent now; [`Self::report`] must follow it.
    ///
    /// # Errors
    /// While the server is left alone.
    pub fn enter(&self) -> Result<(), BreakerOpen> {
        self.enter_at(Instant::now())
    }

    fn enter_at(&self, now: Instant) -> Result<(), BreakerOpen> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.until {
            Some(until) if now < until => Err(BreakerOpen { failures: state.failures }),
            Some(_) => {
                // this one decides; the others wait for it
                state.until = Some(now + self.config.seconds.duration());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// How a request went.
    pub fn report(&self, succeeded: bool) {
        self.report_at(succeeded, Instant::now());
    }

    fn report_at(&self, succeeded: bool, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if succeeded {
            *state = State::default();
            return;
        }
        state.failures += 1;
        if self.config.failures > 0 && state.failures >= self.config.failures {
            state.until = Some(now + self.config.seconds.duration());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn opens_after_failures_in_a_row_and_lets_one_request_decide() {
        let breaker = Breaker::new(BreakerConfig { failures: 2, seconds: Pause::literal(10.0) });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for succeeded in [false, true, false] {
            assert!(breaker.enter_at(at(0)).is_ok());
            breaker.report_at(succeeded, at(0));
        }
        // one failure since the last success: still closed
        assert!(breaker.enter_at(at(0)).is_ok());
        breaker.report_at(false, at(0));
        assert!(breaker.enter_at(at(9)).is_err());
        // after ten seconds one may, and fails; the next must wait again
        assert!(breaker.enter_at(at(10)).is_ok());
        assert!(breaker.enter_at(at(10)).is_err());
        breaker.report_at(false, at(11));
        assert!(breaker.enter_at(at(20)).is_err());
        assert!(breaker.enter_at(at(21)).is_ok());
        breaker.report_at(true, at(21));
        assert!(breaker.enter_at(at(21)).is_ok());
    }
}
