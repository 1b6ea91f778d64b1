//! `paretopo` with an environment and a tool of its own.

use paretopo_example_environment::{Boxes, Packing};

fn main() -> std::process::ExitCode {
    paretopo::Program::new().environment::<Boxes>("boxes").tool::<Packing>("packing").run()
}
