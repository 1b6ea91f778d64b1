//! The binary `paretopo`: the pieces that we ship, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    paretopo::Program::new().run()
}
