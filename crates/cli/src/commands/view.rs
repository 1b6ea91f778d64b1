//! `view`: runs and trajectories on a page, served on this machine or written as one file.

use crate::problem::Problem;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

#[cfg(not(feature = "view"))]
pub(super) fn view(
    _runs: Vec<PathBuf>,
    _export: Option<&Path>,
    _address: &str,
    _cancelled: &'static AtomicBool,
) -> Result<(), Problem> {
    Err(Problem::mistake(
        "the page on runs is not compiled into this binary\nhint: build it with `cargo build \
         --release --features view`; `paretopo doctor RUN` says in text what is wrong with a run",
    ))
}

#[cfg(feature = "view")]
pub(super) fn view(
    runs: Vec<PathBuf>,
    export: Option<&Path>,
    address: &str,
    cancelled: &'static AtomicBool,
) -> Result<(), Problem> {
    use crate::output::{errln, outln};

    let folders = if runs.is_empty() { vec![PathBuf::from("runs")] } else { runs };
    for folder in &folders {
        if !folder.is_dir() {
            return Err(Problem::mistake(format!(
                "there is no folder `{}`\nhint: give the folder of a run, or one that holds runs",
                folder.display()
            )));
        }
    }
    let view = paretopo_view::View::new(folders, tokenizer_of);
    if let Some(file) = export {
        let page = paretopo_view::export(&view).map_err(Problem::failure)?;
        let failed =
            |error| Problem::failure(format!("cannot write `{}`: {error}", file.display()));
        std::fs::write(file, &page).map_err(failed)?;
        let runs = view.runs().len();
        outln!("{}: {runs} runs, {:.1} MB", file.display(), page.len() as f64 / 1e6);
        return Ok(());
    }
    let ready = |address: std::net::SocketAddr| {
        if !address.ip().is_loopback() {
            errln!("warning: whoever reaches {address} can read these runs");
        }
        outln!("open http://{address} in a browser; Ctrl-C ends it");
    };
    let stop = async {
        while !cancelled.load(std::sync::atomic::Ordering::Relaxed) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    paretopo_view::serve(view, address, ready, stop).map_err(Problem::mistake)
}

/// The tokenizer of a policy in the binary.
#[cfg(feature = "view")]
fn tokenizer_of(policy: &str) -> Option<&'static [u8]> {
    let files = crate::embedded::policy_files(policy)?;
    files.iter().find(|(name, _)| *name == "tokenizer.json").map(|(_, bytes)| *bytes)
}
