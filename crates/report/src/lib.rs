//! Run folders -> a table, figures and a picture for the terminal. Reads files only; knows neither
//! burn nor how runs are made.

mod figures;
mod objective_figures;
mod objectives;
mod phases;
mod results;
mod statistics;
mod table;
mod terminal;

pub use figures::{curves_svg, front_svg};
pub use objective_figures::{archive_svg, pairs_svg, parallel_svg};
pub use objectives::{
    Indicators, ObjectiveSummary, objectives_table, shared_names, summarise_objectives,
};
pub use paretopo_records::RecordError;
pub use phases::{Phases, phases_table, read_phases};
pub use results::{RunResult, read_run};
pub use statistics::{
    bootstrap_interval, igd_plus, mean, paired_permutation_test, pareto_front, volume_of,
};
pub use table::{MethodSummary, environment_table, levels_table, summarise_methods, summary_table};
pub use terminal::{front_picture, objectives_picture};
