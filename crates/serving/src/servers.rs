//! A set of servers that hold the same model: which one a row goes to, and the weights of all.

use crate::fingerprint::Fingerprint;
use crate::protocol::Protocol;
use crate::remote::RemoteGenerator;
use crate::server::{Server, Trouble};
use crate::{ServerConfig, ServingError};
use paretopo_generation::{GenerationError, GenerationSettings, Generator, Generators};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What a run needs of its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Ids that the policy knows.
    pub vocab_size: usize,
    /// Whether they get weights during the run, and if so whether as adapters.
    pub updates: Option<bool>,
}

/// Weights as servers get them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those that they were started with.
    AsStarted,
    /// All of them.
    Full {
        /// A checkpoint folder.
        folder: PathBuf,
    },
    /// An adapter beside those that they were started with.
    Adapter {
        /// Its folder.
        folder: PathBuf,
        /// A name that no other version has.
        name: String,
    },
}

impl Weights {
    pub(crate) fn adapter(&self) -> Option<&str> {
        match self {
            Self::Adapter { name, .. } => Some(name),
            Self::AsStarted | Self::Full { .. } => None,
        }
    }

    /// Where they are, for a person.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::AsStarted => "the checkpoint of `policy`".into(),
            Self::Full { folder } | Self::Adapter { folder, .. } => folder.display().to_string(),
        }
    }
}

/// The weights that all servers are to have.
pub(crate) struct Held {
    pub(crate) weights: Weights,
    pub(crate) version: u64,
    pub(crate) fingerprint: Fingerprint,
}

/// What an update was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Updated {
    /// Until the last server had the weights and was seen to.
    pub seconds: f64,
    /// The largest difference between a server and the trainer, in nats on average.
    pub difference: f64,
    /// Servers that did not answer, and why; they are given the weights before they are used.
    pub away: Vec<String>,
}

/// Servers that hold the same model.
pub struct Servers {
    pub(crate) fleet: Arc<Fleet>,
    longest: usize,
}

/// What the threads that talk to servers share.
pub(crate) struct Fleet {
    pub(crate) protocol: Protocol,
    pub(crate) config: ServerConfig,
    pub(crate) servers: Vec<Server>,
    pub(crate) vocab_size: usize,
    held: Mutex<Option<Arc<Held>>>,
}

impl Servers {
    /// Servers that have all that is needed.
    ///
    /// # Errors
    /// When one does not answer or lacks something; then how it is started that has it.
    pub fn probe(
        protocol: Protocol,
        config: &ServerConfig,
        needs: &Needs,
    ) -> Result<Self, ServingError> {
        config.check().map_err(ServingError::Failed)?;
        let found = of_each(&config.urls, |url| Server::probe(protocol, url, config, needs));
        let found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
        let longest = found.iter().map(|(_, longest)| *longest).min().unwrap_or(usize::MAX);
        let servers = found.into_iter().map(|(server, _)| server).collect();
        let fleet = Fleet {
            protocol,
            config: config.clone(),
            servers,
            vocab_size: needs.vocab_size,
            held: Mutex::default(),
        };
        Ok(Self { fleet: Arc::new(fleet), longest })
    }

    /// The most ids that a row may have on each of them.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Gives all servers a version of the weights, and sees that they compute with them. One that
    /// does not answer is given them before it is used again.
    ///
    /// # Errors
    /// When none answers, one refuses, or one computes with others.
    pub fn load(
        &self,
        weights: Weights,
        version: u64,
        fingerprint: Fingerprint,
    ) -> Result<Updated, ServingError> {
        let started = Instant::now();
        let held = Arc::new(Held { weights, version, fingerprint });
        *self.fleet.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
        let mut updated = Updated::default();
        for given in of_each(&self.fleet.servers, |server| server.give(&held)) {
            match given {
                Ok(difference) => updated.difference = updated.difference.max(difference),
                Err(Trouble::Failure(failure)) => updated.away.push(failure.message),
                Err(Trouble::Stale(error)) => return Err(error),
            }
        }
        if updated.away.len() == self.fleet.servers.len() {
            return Err(ServingError::Failed(format!(
                "no server took version {version} of the weights (`{}`): {}",
                held.weights.place(),
                updated.away.join("; ")
            )));
        }
        updated.seconds = started.elapsed().as_secs_f64();
        Ok(updated)
    }

    /// Sees that all servers still have the weights that they were given, such as after a rollout.
    ///
    /// # Errors
    /// Names one that has others.
    pub fn confirm(&self) -> Result<(), ServingError> {
        let Some(held) = self.fleet.held() else { return Ok(()) };
        of_each(&self.fleet.servers, |server| server.confirm(&held)).into_iter().collect()
    }
}

impl Fleet {
    pub(crate) fn held(&self) -> Option<Arc<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The place of the least loaded server that may be asked, if need be `avoided`; a row more is
    /// counted for it, which [`Self::leave`] takes back.
    pub(crate) fn enter(&self, avoided: Option<usize>) -> Option<usize> {
        let load = |place: &usize| self.servers[*place].in_flight.load(Ordering::Relaxed);
        let mut places: Vec<usize> =
            (0..self.servers.len()).filter(|place| load(place) < self.config.concurrency).collect();
        places.sort_by_key(|place| (Some(*place) == avoided, load(place)));
        let found =
            places.into_iter().find(|place| self.servers[*place].breaker.enter().is_ok())?;
        self.servers[found].in_flight.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    pub(crate) fn leave(&self, place: usize) {
        self.servers[place].in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Generators for Servers {
    fn open(
        &self,
        settings: &GenerationSettings,
    ) -> Result<Box<dyn Generator + '_>, GenerationError> {
        let recorded = settings.recorded;
        if recorded.entropy || recorded.alternatives > 0 {
            let reason = "a server tells neither entropies nor alternatives of tokens\nhint: \
                          leave `rollout.recorded.entropy` and `.alternatives` out";
            return Err(GenerationError::Refused(reason.into()));
        }
        Ok(Box::new(RemoteGenerator::new(self.fleet.clone(), settings.clone())))
    }
}

/// Does the same with each at the same time; the results in their order.
fn of_each<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = all.iter().map(|one| scope.spawn(move || work(one))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
