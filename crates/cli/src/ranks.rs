//! The ranks that this process was started with: by `mpirun`, by `srun`, or none.

use crate::problem::Problem;
use paretopo_collective::{Collective, OneProcess};
use paretopo_training::TrainingError;
use std::sync::Arc;
use std::time::Duration;

/// Where launchers say how many processes they have started: Open MPI, MPICH and Intel MPI, Slurm
/// with PMIx.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"];
/// What Slurm also says in a shell that is no step of a parallel job, so that alone means nothing.
const WITH_SLURM: [&str; 2] = ["PMIX_RANK", "PMI_RANK"];

/// Where they say which of a machine's processes this one is.
const PLACES: [&str; 3] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];

/// A rank that has failed leaves it so long to rank 0 to say why, which ends the job.
const PATIENCE: Duration = Duration::from_secs(5);

/// The processes that train together, of which this is one.
pub(crate) enum Job {
    Alone,
    #[cfg(feature = "mpi")]
    Mpi(Arc<paretopo_mpi::Mpi>),
}

impl Job {
    /// The job that this process was started in.
    ///
    /// # Errors
    /// When there are several processes, and they cannot talk to each other.
    #[cfg(feature = "mpi")]
    pub(crate) fn join() -> Result<Self, Problem> {
        if launched() <= 1 {
            return Ok(Self::Alone);
        }
        let joined = paretopo_mpi::Mpi::join().map_err(Problem::failure)?;
        Ok(Self::Mpi(Arc::new(joined)))
    }

    /// The job that this process was started in.
    ///
    /// # Errors
    /// When there are several processes, since they cannot talk to each other.
    #[cfg(not(feature = "mpi"))]
    pub(crate) fn join() -> Result<Self, Problem> {
        match launched() {
            0 | 1 => Ok(Self::Alone),
            processes => Err(Problem::mistake(format!(
                "{processes} processes were started together, and this program is built without \
                 MPI\nhint: build it with `--features mpi`, or start one process"
            ))),
        }
    }

    /// What carries messages between its processes.
    pub(crate) fn collective(&self) -> Arc<dyn Collective> {
        match self {
            Self::Alone => Arc::new(OneProcess),
            #[cfg(feature = "mpi")]
            Self::Mpi(mpi) => mpi.clone(),
        }
    }

    /// Whether this process is the one that talks and writes.
    pub(crate) fn leads(&self) -> bool {
        self.collective().rank() == 0
    }

    /// Leaves in good order after work that was done. After work that failed it is not left: the
    /// launcher ends a job of which a process ends so.
    pub(crate) fn end(self, done: Result<(), TrainingError>) -> Result<(), Problem> {
        let leads = self.leads();
        if done.is_err() && !leads {
            std::thread::sleep(PATIENCE);
        }
        done?;
        match self {
            Self::Alone => {}
            #[cfg(feature = "mpi")]
            Self::Mpi(mpi) => {
                if let Some(mpi) = Arc::into_inner(mpi) {
                    mpi.leave();
                }
            }
        }
        Ok(())
    }
}

/// # Errors
/// When several processes were started together, each of which would do the same.
pub(crate) fn require_one() -> Result<(), Problem> {
    match launched() {
        0 | 1 => Ok(()),
        processes => Err(Problem::mistake(format!(
            "{processes} processes were started together, each of which would do the same\nhint: \
             start one; `train` alone is of several"
        ))),
    }
}

/// Which of its machine's processes this one is, from 0 on; 0 where it was started alone.
pub(crate) fn place_on_machine() -> usize {
    if launched() <= 1 {
        return 0;
    }
    let mut said = PLACES.iter().filter_map(|name| std::env::var(name).ok()?.parse().ok());
    said.next().unwrap_or(0)
}

/// How many processes were started together with this one, itself included; 0 where nothing is
/// said.
fn launched() -> usize {
    let said = |name: &str| std::env::var(name).ok();
    let is_step = WITH_SLURM.iter().any(|name| said(name).is_some());
    let sizes = SIZES.iter().filter(|name| is_step || !name.starts_with("SLURM"));
    let found = sizes.filter_map(|name| said(name)?.parse().ok());
    found.max().unwrap_or(0)
}
