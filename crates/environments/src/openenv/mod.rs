//! Environments of OpenEnv servers, by the protocol of the packages `openenv` 0.10.0 and
//! `openenv-core` 0.3.0: sessions over a WebSocket, `reset` and `step`, tools by its MCP route.
//!
//! | file | what |
//! |---|---|
//! | `config.rs` | `[environment] type = "openenv"` |
//! | `address.rs` | where a server is, and whom to believe about it |
//! | `socket.rs` | messages over a WebSocket, each by a deadline |
//! | `server.rs` | a server: its schema, sessions that are opened, when it is left alone |
//! | `sessions.rs` | a session for each episode: turns, tools, rewards, its end |
//! | `environment.rs` | tasks by their seeds, and what episodes are worth |
//!
//! Left out: starting containers or Spaces, observations that are no text, the
//! task API of 0.10.0, and its harness and validation routes.

mod address;
mod config;
mod environment;
mod server;
mod sessions;
mod socket;
#[cfg(test)]
mod tests;

pub use config::{OpenEnvAction, OpenEnvConfig, OpenEnvReward, RewardOver, TurnPart};
