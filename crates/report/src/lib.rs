//! Run folders -> a table, figures and a picture for the terminal.
//!
//! ```
//! use paretopo_records::{Evaluation, write_evaluation};
//! use paretopo_report::{read_run, summarise_methods, summary_table};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // what two runs have left in their folders
//!     let folder = tempfile::tempdir()?;
//!     let mut runs = Vec::new();
//!     for (seed, em) in [(1, 0.5), (2, 0.75)] {
//!         let run = folder.path().join(seed.to_string());
//!         std::fs::create_dir(&run)?;
//!         let evaluation =
//!             Evaluation { em, calls: 1.0, accuracy_efficiency: [em, 0.5], ..Default::default() };
//!         write_evaluation(&run, &evaluation)?;
//!         runs.push(read_run(&run, "grpo", seed)?);
//!     }
//!
//!     let summaries = summarise_methods(&runs, &[]);
//!     assert_eq!((summaries[0].runs, summaries[0].em), (2, 0.625));
//!     // the volumes of (0.5, 0.5) and (0.75, 0.5) are 0.25 and 0.375
//!     assert_eq!(summaries[0].hypervolume, 0.3125);
//!     assert!(summary_table(&summaries).contains("0.625 [0.500, 0.750]"));
//!     Ok(())
//! }
//! ```
//!
//! It reads what runs left, keeps the ledger of finished ones (`runs.jsonl`), and knows neither
//! burn nor how runs are made.

mod archive_figure;
mod collapse;
mod controls;
mod figures;
mod front;
mod front_figure;
mod front_names;
mod front_table;
mod fronts;
mod interquartile;
mod labels;
mod ledger;
mod lettering;
mod marks;
mod objective_figures;
mod objectives;
mod palette;
mod phases;
mod rectangle;
mod results;
mod significance;
mod spread;
mod statistics;
mod table;
mod terminal;

pub use archive_figure::archive_svg;
pub use collapse::lowest_calls;
pub use controls::{Controls, LevelSkill};
pub use figures::curves_svg;
pub use front::{Front, Place, front_hypervolume, staircase};
pub use front_figure::{Behind, front_svg, part_of_larger};
pub use front_table::{against_table, controls_table, fronts_table};
pub use fronts::{
    Against, Estimate, Frame, FrontSummary, lead_against_each, method_names, summarise_fronts,
};
pub use interquartile::{interquartile_interval, interquartile_mean, probability_of_improvement};
pub use ledger::{Curve, Line, append_to_ledger, read_ledger};
pub use objective_figures::{pairs_svg, parallel_svg};
pub use objectives::{
    Indicators, ObjectiveSummary, objectives_table, shared_names, summarise_objectives,
};
pub use palette::{Palette, Style, styles};
pub use paretopo_records::RecordError;
pub use phases::{Phases, phases_table, read_phases};
pub use results::{RunResult, by_preference, read_run, row_name, with_measured_efficiency};
pub use significance::{holm, paired_permutation_test, seeds_for, visible_effect};
pub use statistics::{bootstrap_interval, igd_plus, mean, pareto_front, volume_of};
pub use table::{MethodSummary, environment_table, levels_table, summarise_methods, summary_table};
pub use terminal::{front_picture, objectives_picture};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
