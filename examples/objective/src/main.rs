//! `paretopo` with an objective of its own.

use paretopo_example_objective::FreshCalls;

fn main() -> std::process::ExitCode {
    paretopo::Program::new().objective::<FreshCalls>("fresh_calls").run()
}
