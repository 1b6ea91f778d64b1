//! `paretopo` with an estimator of its own.

use paretopo_example_estimator::MovingBaseline;

fn main() -> std::process::ExitCode {
    paretopo::Program::new().estimator::<MovingBaseline>("moving_baseline").run()
}
