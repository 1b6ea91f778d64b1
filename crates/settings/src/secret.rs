//! What is told to a server and to nobody else.

use std::env::VarError;
use std::fmt::{Debug, Formatter};

/// A key or a token. A configuration names the variable of the environment that holds it, since
/// configurations are written into the folders of runs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value of a variable.
    ///
    /// # Errors
    /// Why it is none that can be sent in a header, to be put behind the variable's name.
    pub fn of_variable(variable: &str) -> Result<Self, &'static str> {
        match std::env::var(variable) {
            Err(VarError::NotPresent) => Err("is not set"),
            Ok(value) if value.is_empty() => Err("is empty"),
            Ok(value) if value.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(value)),
            Ok(_) | Err(VarError::NotUnicode(_)) => {
                Err("holds a space, a line break or a letter beyond ASCII")
            }
        }
    }

    /// The value itself.
    pub fn exposed(&self) -> &str {
        &self.0
    }

    /// The value of an `Authorization` header (RFC 6750).
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text without it, which a server may have said back.
    pub fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "…")
    }
}

impl Debug for Secret {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_told() {
        let secret = Secret("abc123".into());
        assert_eq!(secret.bearer(), "Bearer abc123");
        assert_eq!(secret.hidden_in("got Bearer abc123, abc123"), "got Bearer …, …");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(Secret::of_variable("PARETOPO_NO_SUCH"), Err("is not set"));
    }
}
