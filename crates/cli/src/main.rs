//! The binary `paretopo`: arguments, the choice of a backend, and errors for people.
//!
//! Exit codes: 0 done, 1 the run failed, 2 the user's mistake (arguments, configuration, files),
//! 3 out of memory, 130 interrupted.

mod allocator;
mod arguments;
mod backends;
mod commands;
mod embedded;
mod output;
mod policies;
mod problem;
mod programs;
mod progress;
mod signals;

use arguments::{Arguments, Command};
use clap::Parser;
use output::errln;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// Set by Ctrl-C and other signals; recipes look at it between steps.
static CANCELLED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::PythonWorker = arguments.command {
        return exit_code(paretopo_tools::python_worker());
    }
    if let Command::TemplateWorker = arguments.command {
        let limited = monty_alloc::set_limit(Some(paretopo_chat::TEMPLATE_WORKER_MEMORY), false)
            .map_err(std::io::Error::other);
        return exit_code(limited.and_then(|()| paretopo_chat::template_worker()));
    }
    if let Command::PythonSandbox { settings } = &arguments.command {
        return exit_code(paretopo_tools::python_sandbox(settings));
    }
    allocator::tell_failures();
    keep_freed_memory();
    paretopo_containment::silence_contained_panics();
    signals::watch(&CANCELLED);
    match run(arguments).and_then(|()| output::finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            errln!("error: {}", problem.message);
            ExitCode::from(problem.exit_code)
        }
    }
}

/// Does what the arguments say. To get no thread is a panic of the standard library, and means what
/// a failed allocation means.
fn run(arguments: Arguments) -> Result<(), problem::Problem> {
    let work = std::panic::AssertUnwindSafe(|| commands::run(arguments, &CANCELLED));
    std::panic::catch_unwind(work).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map_or("", String::as_str);
        if !text.starts_with("failed to spawn thread") {
            std::panic::resume_unwind(panic);
        }
        let lower = paretopo_training::Stage::now().lower();
        let message = format!(
            "the system gives no thread more (`ulimit -v`, `ulimit -u`): {text}\nhint: {lower}"
        );
        Err(problem::Problem { message, exit_code: problem::OUT_OF_MEMORY })
    })
}

/// How a worker ends: its parent hears of errors by the code alone.
fn exit_code(result: std::io::Result<()>) -> ExitCode {
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Large tensors are freed and allocated all the time; handing their pages back and forth costs
/// more than computing on them.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt only changes the allocator's thresholds, before any thread is started
        #[expect(unsafe_code, reason = "glibc offers its thresholds only as a C function")]
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        }
    }
}
