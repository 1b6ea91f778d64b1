//! Where an OpenEnv server is: its routes by HTTP and by WebSocket, whom to believe about it, and what
//! is sent along with each request.

use super::config::OpenEnvConfig;
use paretopo_retrieval::{Trust, is_encrypted};

/// A server's address. Making one asks nobody.
pub(super) struct Address {
    pub(super) is_encrypted: bool,
    /// `host:port`.
    pub(super) host: String,
    /// In front of its routes.
    path: String,
    pub(super) trust: Trust,
    /// Names and values.
    pub(super) headers: Vec<(String, String)>,
}

impl Address {
    /// # Errors
    /// Names the setting that is of no use on this machine.
    pub(super) fn of(config: &OpenEnvConfig) -> Result<Self, String> {
        let server = config.server();
        let is_encrypted = is_encrypted(&config.url);
        let rest = config.url.split_once("://").map_or("", |(_, rest)| rest);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.chars().all(|digit| digit.is_ascii_digit())
        });
        let port = if is_encrypted { 443 } else { 80 };
        Ok(Self {
            is_encrypted,
            host: if has_port { authority.to_owned() } else { format!("{authority}:{port}") },
            path: if path.is_empty() { String::new() } else { format!("/{path}") },
            trust: server.trust("environment")?,
            headers: server.headers("environment")?,
        })
    }

    /// A route by HTTP; it begins with a slash.
    pub(super) fn http(&self, route: &str) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}{}{route}", self.host, self.path)
    }

    /// A route by WebSocket.
    pub(super) fn socket(&self, route: &str) -> String {
        let scheme = if self.is_encrypted { "wss" } else { "ws" };
        format!("{scheme}://{}{}{route}", self.host, self.path)
    }

    /// The host without its port.
    pub(super) fn name(&self) -> &str {
        self.host.rsplit_once(':').map_or(&self.host, |(name, _)| name)
    }
}
