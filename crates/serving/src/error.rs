//! What can be wrong with servers.

/// Why servers cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ServingError {
    /// None answers, or one does not what it is asked.
    #[error("{0}")]
    Failed(String),
    /// A server lacks what a run needs of it.
    #[error("the server `{url}` {what}\nhint: {hint}")]
    Lacks {
        /// Its address.
        url: String,
        /// What it lacks.
        what: String,
        /// How it is started so that it does not.
        hint: String,
    },
    /// A server computes with other weights than it was given.
    #[error(
        "the server `{url}` does not compute with the weights it was given (version {version}): {reason}\nhint: restart it, and see that no other run uses it and that it reads `{place}`; `generator.tolerance` is what may differ"
    )]
    Stale {
        /// Its address.
        url: String,
        /// Of the weights.
        version: u64,
        /// What shows it.
        reason: String,
        /// Where the weights are.
        place: String,
    },
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The server is away, busy or late. It may be asked again once it was seen to have its
    /// weights.
    Away,
    /// What it answers is not the protocol. Another attempt may be better.
    Nonsense,
    /// Asking again would change nothing.
    Final,
}

impl Failure {
    pub(crate) fn away(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Away, message: message.into() }
    }

    pub(crate) fn nonsense(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Nonsense, message: message.into() }
    }

    pub(crate) fn last_word(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Final, message: message.into() }
    }

    /// The same, said to be of a server.
    pub(crate) fn of(self, url: &str) -> Self {
        Self { message: format!("{url}: {}", self.message), ..self }
    }
}

impl From<Failure> for ServingError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.message)
    }
}
