//! The walls around CPython. `paretopo python-sandbox SETTINGS` puts them up around itself and
//! becomes the interpreter:
//!
//! | layer | holds |
//! |---|---|
//! | empty environment, own process group, standard descriptors only | nothing is inherited |
//! | `no_new_privs` | no program gains rights by being executed |
//! | Landlock | files: the interpreter's are readable, the scratch folder is writable, all others do not open; no TCP; no signals outside |
//! | seccomp, in each fork that runs a program | system calls: a list of what an interpreter needs; no process, thread, socket, signal, trace, `execve`, `chmod` |
//! | rlimits, in each fork | address space, CPU time, file size, open files, processes |
//! | the supervisor (`cpython.py`) and the pool | wall-clock time, output |

use super::CpythonConfig;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that supervises others.
const SUPERVISOR: &str = include_str!("cpython.py");

/// What the launcher is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LauncherSettings {
    pub(super) interpreter: PathBuf,
    /// Folders that hold the interpreter and its packages.
    pub(super) readable: Vec<PathBuf>,
    pub(super) scratch: PathBuf,
    pub(super) config: CpythonConfig,
}

/// What the supervisor is told.
#[derive(Serialize)]
struct SupervisorSettings<'a> {
    scratch: &'a Path,
    preload: &'a [String],
    filters: Vec<String>,
    /// A descriptor of `/proc/self/statm`.
    statm: Option<i32>,
}

/// Puts the walls up and becomes the interpreter; returns only what went wrong.
pub(super) fn enter(settings: &str) -> Result<std::convert::Infallible, String> {
    let LauncherSettings { interpreter, readable, scratch, config } =
        serde_json::from_str(settings).map_err(|error| error.to_string())?;
    // SAFETY: prctl with these arguments only sets a flag of this process
    #[expect(unsafe_code, reason = "the flag has no safe interface")]
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err("the kernel refuses `no_new_privs`".into());
    }
    let statm = std::fs::File::open("/proc/self/statm").ok().map(|file| {
        let descriptor = file.into_raw_fd();
        // SAFETY: the descriptor is open and this process's own
        #[expect(unsafe_code, reason = "the flag has no safe interface")]
        unsafe {
            libc::fcntl(descriptor, libc::F_SETFD, 0);
        }
        descriptor
    });
    let mut missing = Vec::new();
    if let Err(reason) = landlock(&readable, &scratch) {
        missing.push(format!("landlock ({reason})"));
    }
    let filters = filters().and_then(|filters| {
        if seccomp_is_there() { Ok(filters) } else { Err("not in this kernel".into()) }
    });
    let filters = filters.map_or_else(
        |reason| {
            missing.push(format!("seccomp ({reason})"));
            Vec::new()
        },
        |filters| filters.iter().map(hex).collect(),
    );
    if !missing.is_empty() && config.missing_layers == super::MissingLayers::Refuse {
        return Err(format!(
            "this machine lacks {}\nhint: `python.cpython.missing_layers = \"go_on\"` runs programs without",
            missing.join(", ")
        ));
    }
    let told = SupervisorSettings { scratch: &scratch, preload: &config.preload, filters, statm };
    let told = serde_json::to_string(&told).map_err(|error| error.to_string())?;
    let mut command = Command::new(&interpreter);
    command.args(["-I", "-B", "-u", "-c", SUPERVISOR, &told]).env_clear().current_dir(&scratch);
    // packages for linear algebra start a thread for each core unless told otherwise
    command.envs([
        ("LANG", "C.UTF-8"),
        ("OPENBLAS_NUM_THREADS", "1"),
        ("OMP_NUM_THREADS", "1"),
        ("MKL_NUM_THREADS", "1"),
    ]);
    Err(format!("{}: {}", interpreter.display(), command.exec()))
}

/// Restricts this process as far as the kernel's version of Landlock goes.
fn landlock(readable: &[PathBuf], scratch: &Path) -> Result<(), String> {
    let abi = ABI::V6;
    let devices = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];
    let system = [
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/share/zoneinfo",
        "/etc/ld.so.cache",
        "/etc/localtime",
    ];
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(
                system.iter().map(Path::new).chain(readable.iter().map(PathBuf::as_path)),
                AccessFs::from_read(abi),
            ))?
            .add_rules(path_beneath_rules(devices, AccessFs::ReadFile | AccessFs::WriteFile))?
            .add_rules(path_beneath_rules([scratch], AccessFs::from_all(abi) & !AccessFs::Execute))?
            .restrict_self()
    };
    let status = restrict().map_err(|error: landlock::RulesetError| error.to_string())?;
    if status.ruleset == RulesetStatus::NotEnforced {
        Err("not in this kernel".into())
    } else {
        Ok(())
    }
}

fn seccomp_is_there() -> bool {
    // SAFETY: asks whether a mode is known, by a filter that cannot be read
    #[expect(unsafe_code, reason = "the question has no safe interface")]
    let refused = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::null::<u8>(), 0, 0)
    };
    refused != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// What an interpreter needs once it has started; everything else fails with `EPERM`.
const ALLOWED: &[i64] = &[
    // reading, writing, files
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fadvise64,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_umask,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // memory
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // time
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    // itself
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_futex,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The same calls by their names of old, which only some architectures have.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OF_OLD: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_arch_prctl,
    libc::SYS_alarm,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OF_OLD: &[i64] = &[];

/// Two filters: the list above with what depends on arguments, and `clone3`, whose arguments a
/// filter cannot see, as if the kernel had none.
fn filters() -> Result<[BpfProgram; 2], String> {
    let condition = |argument, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
            .map_err(|error| error.to_string())
    };
    let rule = |conditions: Vec<SeccompCondition>| {
        SeccompRule::new(conditions).map_err(|error| error.to_string())
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_OF_OLD).map(|call| (*call, Vec::new())).collect();
    // limits are read, not set
    rules.insert(libc::SYS_prlimit64, vec![rule(vec![condition(0, 0)?, condition(2, 0)?])?]);
    let asked = [
        libc::TCGETS,
        libc::TIOCGWINSZ,
        libc::FIOCLEX,
        libc::FIONCLEX,
        libc::FIONBIO,
        libc::FIONREAD,
    ];
    rules.insert(
        libc::SYS_ioctl,
        asked.into_iter().map(|what| rule(vec![condition(1, what)?])).collect::<Result<_, _>>()?,
    );
    // descriptors are duplicated and flagged, not handed to signals
    let asked = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETLK,
        libc::F_SETLK,
    ];
    rules.insert(
        libc::SYS_fcntl,
        asked
            .into_iter()
            .map(|what| rule(vec![condition(1, what as u64)?]))
            .collect::<Result<_, _>>()?,
    );
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(|error: seccompiler::BackendError| error.to_string())?;
    let compile = |rules, otherwise, then| {
        let filter = SeccompFilter::new(rules, otherwise, then, architecture)
            .map_err(|error| error.to_string())?;
        BpfProgram::try_from(filter).map_err(|error| error.to_string())
    };
    let permission = SeccompAction::Errno(libc::EPERM as u32);
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    rules.insert(libc::SYS_clone3, Vec::new());
    Ok([
        compile(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), SeccompAction::Allow, absent)?,
        compile(rules, permission, SeccompAction::Allow)?,
    ])
}

fn hex(program: &BpfProgram) -> String {
    let bytes = program.iter().flat_map(|instruction| {
        let [a, b] = instruction.code.to_ne_bytes();
        let [c, d, e, f] = instruction.k.to_ne_bytes();
        [a, b, instruction.jt, instruction.jf, c, d, e, f]
    });
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
