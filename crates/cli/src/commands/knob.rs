//! A method's knob: the setting that moves it along its front, and the values that it is run with.

use serde::Deserialize;

/// Either `key` with `values`, or `settings` where a value is more than one key's, or needs a
/// label.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Knob {
    /// What stands before the value in tables; without it the value alone does.
    #[serde(default)]
    name: Option<String>,
    /// The key that takes the values.
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    values: Vec<toml::Value>,
    #[serde(default)]
    settings: Vec<Setting>,
}

/// A place of the knob.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    /// Its name in tables.
    label: String,
    /// The settings that it means, as for `--set`.
    set: Vec<String>,
}

impl Knob {
    /// # Errors
    /// When there is nothing to turn, or twice as much.
    pub(super) fn check(&self) -> Result<(), String> {
        let by_key = self.key.is_some() || !self.values.is_empty();
        match (by_key, self.settings.is_empty()) {
            (true, true) if self.key.is_some() && !self.values.is_empty() => Ok(()),
            (true, true) => Err("`knob` needs a `key` and at least one of `values`".into()),
            (false, false) => Ok(()),
            (false, true) => Err("`knob` is empty\nhint: give it a `key` and `values`, or a list \
                                  `settings` of `{ label = .., set = [..] }`"
                .into()),
            (true, false) => Err("`knob` has both `values` and `settings`".into()),
        }
    }

    /// The label and the settings of each place.
    pub(super) fn places(&self) -> Vec<(String, Vec<String>)> {
        let named = |label: String| match &self.name {
            Some(name) => format!("{name} {label}"),
            None => label,
        };
        let by_value = self.values.iter().map(|value| {
            let label = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let key = self.key.as_deref().unwrap_or_default();
            (named(label), vec![format!("{key}={value}")])
        });
        let by_label =
            self.settings.iter().map(|place| (named(place.label.clone()), place.set.clone()));
        by_value.chain(by_label).collect()
    }

    /// All settings that it changes.
    pub(super) fn assignments(&self) -> Vec<String> {
        self.places().into_iter().flat_map(|(_, set)| set).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knob(text: &str) -> Result<Knob, String> {
        let knob: Knob = toml::from_str(text).unwrap();
        knob.check().map(|()| knob)
    }

    #[test]
    fn a_knob_has_a_label_and_settings_for_each_place() {
        let short = knob("key = \"estimator.beta\"\nvalues = [0.5, 1.0]").unwrap();
        let place = |label: &str, set: &str| (label.to_owned(), vec![set.to_owned()]);
        assert_eq!(
            short.places(),
            [place("0.5", "estimator.beta=0.5"), place("1.0", "estimator.beta=1.0")]
        );
        let long = "name = \"w\"\nsettings = [{ label = \"0.1\", set = [\"a=[0.9, 0.1]\"] }]";
        let long = knob(long).unwrap();
        assert_eq!(long.places(), [place("w 0.1", "a=[0.9, 0.1]")]);
        assert_eq!(long.assignments(), ["a=[0.9, 0.1]"]);
    }

    #[test]
    fn a_knob_that_turns_nothing_is_refused() {
        for (text, reason) in [
            ("", "is empty"),
            ("name = \"w\"", "is empty"),
            ("key = \"a\"", "needs a `key` and at least one"),
            ("values = [1]", "needs a `key` and at least one"),
            ("key = \"a\"\nvalues = [1]\nsettings = [{ label = \"x\", set = [] }]", "has both"),
        ] {
            let error = knob(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
