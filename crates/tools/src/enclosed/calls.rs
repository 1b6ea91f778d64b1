//! The system calls that a program behind walls is refused (`EPERM`). What it may do is a list too long
//! to write down; what it needs none of is short: sockets but for pairs, namespaces, mounts, looks into
//! other processes, parts of the kernel that have had holes.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};
use std::collections::BTreeMap;

const REFUSED: &[i64] = &[
    // connections; a pair of sockets leads nowhere else
    libc::SYS_socket,
    // mounts and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // looks into other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // memory that no limit counts
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_msgget,
    // parts of the kernel that few need and attacks like
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // the machine
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
];

/// Of the interface with short pointers (x32), calls have this bit besides; some have numbers of their
/// own: `ptrace`, `kexec_load`, `process_vm_readv`, `process_vm_writev`.
#[cfg(target_arch = "x86_64")]
const SHORT_POINTERS: i64 = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const OF_SHORT_POINTERS: [i64; 4] = [521, 528, 539, 540];

/// Flags of `clone` that make namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Refuses them to this process, and to all that come from it.
///
/// # Errors
/// When the kernel has no filters.
pub(super) fn refuse() -> Result<(), String> {
    for filter in filters()? {
        apply_filter(&filter).map_err(|error| format!("this machine refuses seccomp: {error}"))?;
    }
    Ok(())
}

/// The list with what depends on arguments, and `clone3`, whose arguments a filter cannot see, as if
/// the kernel had none.
fn filters() -> Result<[BpfProgram; 2], String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let masked = |flag: i32| {
        let flag = flag as u64;
        rule(0, SeccompCmpOp::MaskedEq(flag), flag)
    };
    let makes_namespaces = NAMESPACES.into_iter().map(masked).collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_clone, makes_namespaces);
    // who lives without its parent would outlive the run
    let parting = rule(0, SeccompCmpOp::Eq, libc::PR_SET_PDEATHSIG as u64)?;
    rules.insert(libc::SYS_prctl, vec![parting]);
    // characters put into a terminal are read as what a person has typed
    let typed = [libc::TIOCSTI, libc::TIOCLINUX].map(|what| rule(1, SeccompCmpOp::Eq, what));
    rules.insert(libc::SYS_ioctl, typed.into_iter().collect::<Result<Vec<_>, _>>()?);
    #[cfg(target_arch = "x86_64")]
    {
        let short: Vec<_> =
            rules.iter().map(|(call, rules)| (call | SHORT_POINTERS, rules.clone())).collect();
        rules.extend(short);
        rules.extend(OF_SHORT_POINTERS.map(|call| (call | SHORT_POINTERS, Vec::new())));
    }
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    let permission = SeccompAction::Errno(libc::EPERM as u32);
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([compiled(clone3, absent)?, compiled(rules, permission)?])
}

fn rule(argument: u8, holds: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, holds, value);
    let condition = condition.map_err(|error| error.to_string())?;
    SeccompRule::new(vec![condition]).map_err(|error| error.to_string())
}

fn compiled(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    then: SeccompAction,
) -> Result<BpfProgram, String> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(|error: seccompiler::BackendError| error.to_string())?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, then, architecture)
        .map_err(|error| error.to_string())?;
    BpfProgram::try_from(filter).map_err(|error| error.to_string())
}
