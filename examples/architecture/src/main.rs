//! A program that knows GPT-NeoX besides the architectures that paretopo ships.

use paretopo::Program;
use paretopo_example_architecture::NeoxFamily;
use paretopo_models::{AutoFamily, OneOf};
use std::process::ExitCode;

fn main() -> ExitCode {
    Program::new().models::<OneOf<NeoxFamily, AutoFamily>>().run()
}
