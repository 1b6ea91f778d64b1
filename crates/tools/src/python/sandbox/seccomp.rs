//! The system calls that a program may make: a list of what an interpreter needs once it has
//! started. Everything else fails with `EPERM`: no process, thread, socket, signal, trace,
//! `execve`, `chmod`, `prctl`. No lock on a file, no advice on what is cached and no question for free
//! space either: of files and disks that all programs see, they would carry words from one to another.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

pub(super) fn is_there() -> bool {
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

/// The descriptor at which a session's fork receives its programs, as in `session.py`.
const LINK: u64 = 31;

/// Two filters: the list above with what depends on arguments, and `clone3`, whose arguments a
/// filter cannot see, as if the kernel had none. A session receives from one descriptor, without
/// flags; its programs have no other socket, and cannot make one or send.
pub(super) fn filters(sessions: bool) -> Result<[BpfProgram; 2], String> {
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
    ];
    rules.insert(
        libc::SYS_fcntl,
        asked
            .into_iter()
            .map(|what| rule(vec![condition(1, what as u64)?]))
            .collect::<Result<_, _>>()?,
    );
    if sessions {
        rules.insert(libc::SYS_recvmsg, vec![rule(vec![condition(0, LINK)?, condition(2, 0)?])?]);
    }
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

pub(super) fn hex(program: &BpfProgram) -> String {
    let bytes = program.iter().flat_map(|instruction| {
        let [a, b] = instruction.code.to_ne_bytes();
        let [c, d, e, f] = instruction.k.to_ne_bytes();
        [a, b, instruction.jt, instruction.jf, c, d, e, f]
    });
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
