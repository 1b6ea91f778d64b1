//! The compiled-in backends, best first, and the choice among them.

use crate::problem::Problem;
use crate::ranks::place_on_machine;
use paretopo_models::ModelFamily;
use paretopo_training::EntryPoints;

/// Declares the backends that some build may have, best first, by the names of their features.
macro_rules! backends {
    ($($feature:tt $($entry_points:ident)::+;)+) => {
        /// Every name that `--backend` may take in some build.
        const KNOWN: &[&str] = &[$($feature),+];

        /// All backends that cargo features compiled in, for a family of models.
        #[expect(clippy::vec_init_then_push, reason = "each entry depends on a feature")]
        pub(crate) fn compiled_in<F: ModelFamily>() -> Vec<EntryPoints> {
            #[allow(
                unused_mut,
                clippy::allow_attributes,
                reason = "without any backend nothing is pushed"
            )]
            let mut found = Vec::new();
            $(
                #[cfg(feature = $feature)]
                found.push($($entry_points)::+::<F>());
            )+
            found
        }
    };
}

backends! {
    "cuda" paretopo_backend_cuda::entry_points;
    "flex" paretopo_backend_flex::entry_points;
    "ndarray" paretopo_backend_ndarray::entry_points;
    "wgpu" paretopo_backend_wgpu::entry_points;
}

/// The device of a backend without a wish: of several processes on a machine, each has a card of its
/// own.
fn usual_device(backend: &EntryPoints) -> usize {
    if backend.has_cards() { place_on_machine() } else { 0 }
}

/// The backend and the index of its device; without a wish the first that works.
pub(crate) fn choose(
    compiled: &[EntryPoints],
    wish: Option<&str>,
) -> Result<(EntryPoints, usize), Problem> {
    let names = || {
        compiled.iter().map(|backend| format!("`{}`", backend.name)).collect::<Vec<_>>().join(", ")
    };
    let Some(wish) = wish else {
        let present =
            compiled.iter().find(|backend| (backend.probe)(usual_device(backend)).is_ok());
        return present
            .map(|backend| (*backend, usual_device(backend)))
            .ok_or_else(|| Problem::mistake("no compiled-in backend finds its device"));
    };
    let (name, index) = wish.split_once(':').map_or((wish, None), |(name, at)| (name, Some(at)));
    let parsed = index.map(|index| {
        let wrong = || format!("`--backend {wish}`: `{index}` is not a device index");
        index.parse().map_err(|_| Problem::mistake(wrong()))
    });
    let index: Option<usize> = parsed.transpose()?;
    let Some(backend) = compiled.iter().find(|backend| backend.name == name) else {
        return Err(Problem::mistake(if KNOWN.contains(&name) {
            format!(
                "the backend `{name}` is not compiled into this binary (it has {})\nhint: build it with `cargo build --release --features {name}`",
                names()
            )
        } else {
            format!("there is no backend `{name}` (this binary has {})", names())
        }));
    };
    let index = index.unwrap_or_else(|| usual_device(backend));
    (backend.probe)(index).map_err(|reason| {
        Problem::mistake(format!("the backend `{wish}` cannot be used: {reason}"))
    })?;
    Ok((*backend, index))
}
