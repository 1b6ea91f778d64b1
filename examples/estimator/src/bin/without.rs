//! The same program without the estimator; the test shows what it says of the other's runs.

fn main() -> std::process::ExitCode {
    paretopo::Program::new().run()
}
