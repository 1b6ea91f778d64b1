//! Environments as a configuration chooses them.

use crate::data::DatasetSource;
use crate::{
    DataError, DatasetKind, Environment, KNOWN_DATASETS, MathConfig, OpenEnvConfig, QaConfig,
};
use paretopo_settings::{Chosen, Piece, Registry, Settings};
use paretopo_tools::{LoadObserver, Resources, ToolEntry};
use std::sync::{Arc, LazyLock};
use toml::{Table, Value};

/// Settings from which an environment is made: what `[environment]` with its `type` holds.
///
/// ```
/// use paretopo_environments::{
///     DataError, Environment, EnvironmentSettings, LoadObserver, Resources,
/// };
/// use paretopo_trajectory::{Split, Task};
///
/// /// So many sums; every fifth is for validation, and every fifth for the test.
/// struct Sums {
///     count: u32,
/// }
///
/// impl EnvironmentSettings for Sums {
///     fn build(
///         &self,
///         _: &Resources,
///         _: &mut dyn LoadObserver,
///     ) -> Result<Box<dyn Environment>, DataError> {
///         let mut tasks = [Vec::new(), Vec::new(), Vec::new()];
///         for a in 0..self.count {
///             let split = match a % 5 {
///                 0 => Split::Validation,
///                 1 => Split::Test,
///                 _ => Split::Train,
///             };
///             let (question, answers) = (format!("{a}+1?"), vec![(a + 1).to_string()]);
///             let task = Task { id: a.to_string(), question, answers, ..Task::default() };
///             tasks[split as usize].push(task);
///         }
///         Ok(Box::new(Played(tasks)))
///     }
/// }
///
/// /// The tasks of each split.
/// struct Played([Vec<Task>; 3]);
///
/// impl Environment for Played {
///     fn tasks(&self, split: Split) -> &[Task] {
///         &self.0[split as usize]
///     }
/// }
///
/// let sums = Sums { count: 10 }.build(&Resources::default(), &mut ())?;
/// assert_eq!(sums.tasks(Split::Train).len(), 6);
/// # Ok::<(), DataError>(())
/// ```
pub trait EnvironmentSettings: Send + Sync + 'static {
    /// Makes the environment; the observer hears what takes time.
    ///
    /// # Errors
    /// When data cannot be read or a setting makes no sense.
    fn build(
        &self,
        resources: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<Box<dyn Environment>, DataError>;

    /// Checks the settings that depend on each other.
    ///
    /// # Errors
    /// Names them.
    fn check(&self) -> Result<(), DataError> {
        Ok(())
    }

    /// The tools where a configuration lists none: none, unless it is said otherwise.
    fn usual_tools(&self) -> Vec<ToolEntry> {
        Vec::new()
    }

    /// The setting that names a data set, and which kind it plays; `None` where it plays none.
    fn dataset(&self) -> Option<(&'static str, DatasetKind)> {
        None
    }
}

/// An environment with its settings, as a configuration chooses it.
pub type EnvironmentConfig = Chosen<dyn EnvironmentSettings>;

/// The environments that a program knows.
pub type Environments = Registry<dyn EnvironmentSettings>;

/// Adds an environment to those that a program knows.
///
/// # Panics
/// When the name is taken or no plain word, or a setting is called `type`.
#[track_caller]
pub fn register_environment<E: EnvironmentSettings + Settings>(
    environments: &mut Environments,
    name: &str,
) {
    environments.register::<E>(name, |environment| Arc::new(environment));
}

/// An environment as a configuration would choose it, by the name under which it is registered.
///
/// # Panics
/// When TOML cannot express its settings.
pub fn environment<E: EnvironmentSettings + Settings>(
    name: &str,
    settings: E,
) -> EnvironmentConfig {
    Chosen::literal(name, settings, |settings| Arc::new(settings) as Arc<dyn EnvironmentSettings>)
}

impl Piece for dyn EnvironmentSettings {
    const KIND: &'static str = "environment";

    fn shipped() -> Arc<Registry<Self>> {
        static SHIPPED: LazyLock<Arc<Environments>> = LazyLock::new(|| {
            let mut all = Environments::default();
            register_environment::<MathConfig>(&mut all, "math");
            register_environment::<QaConfig>(&mut all, "qa");
            register_environment::<OpenEnvConfig>(&mut all, "openenv");
            Arc::new(all)
        });
        SHIPPED.clone()
    }
}

/// The same environment with the tasks of a data set, of the kind that it plays.
///
/// # Errors
/// When it plays none, or the data set is of another kind.
pub fn with_dataset(
    environment: &EnvironmentConfig,
    name: &str,
) -> Result<EnvironmentConfig, DataError> {
    let own = environment.name();
    let Some((key, plays)) = environment.dataset() else {
        return Err(DataError::Setting(format!(
            "`environment.type = \"{own}\"` plays no data sets by name"
        )));
    };
    let known = KNOWN_DATASETS.iter().find(|known| known.name == name).map(|known| known.kind);
    if let Some(kind) = known.filter(|kind| *kind != plays) {
        let kind = format!("{kind:?}").to_lowercase();
        return Err(DataError::Setting(format!(
            "`{name}` is a data set for `environment.type = \"{kind}\"`"
        )));
    }
    let mut settings = environment.settings().clone();
    let source = Table::try_from(DatasetSource::named(name)).expect("texts and numbers");
    let tag = [("type".to_owned(), Value::from("dataset"))];
    settings.insert(key.into(), Table::from_iter(tag.into_iter().chain(source)).into());
    Environments::in_use().choose(own, settings).map_err(DataError::Setting)
}
