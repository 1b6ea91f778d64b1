//! What keeps a run from telling a dashboard anything at all: mistakes of its configuration, which
//! are known before its first step.

/// What is wrong with the settings of a dashboard.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DashboardError {
    /// A variable that is to hold a credential is not set, or holds none.
    #[error(
        "`{key}`: the variable `{variable}` {reason}\nhint: set it where the run is started, or \
         leave the key out where the server asks for none"
    )]
    Variable {
        /// The key of the configuration.
        key: String,
        /// The variable that it names.
        variable: String,
        /// What is wrong with it; never what it holds.
        reason: String,
    },
    /// This build cannot ask such a server.
    #[error("`{key}`: {reason}")]
    Unreachable {
        /// The key of the configuration.
        key: String,
        /// Why.
        reason: String,
    },
    /// The thread that sends cannot be started.
    #[error("no thread for a dashboard: {0}")]
    Thread(String),
}
