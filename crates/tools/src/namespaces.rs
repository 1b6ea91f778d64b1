//! A place of its own for a process: namespaces for users, processes, mounts, network, IPC and the
//! host's name, as bubblewrap makes them, whose calls these are. Not bubblewrap itself: each program
//! of the Python tool gets namespaces of processes and mounts of its own, as a fork of an interpreter
//! that has its packages loaded, and that program cannot be started by another.
//!
//! What is seen inside: the folders that are named, read-only or not; four devices; a scratch folder,
//! or an empty place to mount one at. No `/proc`, no `/sys`, no `/tmp`, nobody's processes, no network
//! device.

use rustix::fs::{CWD, Mode};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The namespaces, as flags of `clone`.
pub(crate) const ALL: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;
/// Devices that may be read and written.
pub(crate) const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];
/// The user and group that a program sees itself as.
const INSIDE: u32 = 1000;

/// What is seen inside.
#[derive(Debug)]
pub(crate) struct Furniture<'a> {
    /// Files and folders; those that do not exist are passed over.
    pub(crate) readable: &'a [PathBuf],
    /// Folders that can be written, too.
    pub(crate) writable: &'a [PathBuf],
    /// Where there is a scratch folder.
    pub(crate) scratch: &'a str,
    /// Bytes that the scratch folder takes; `None` where it is mounted later.
    pub(crate) room: Option<usize>,
    /// Any folder: the root is built there.
    pub(crate) temporary: &'a Path,
}

/// Furnishes the namespaces that this process was cloned into. `outside` are the ids of the user and
/// the group that it had before.
///
/// # Errors
/// What the machine refuses.
pub(crate) fn furnish(furniture: &Furniture<'_>, outside: (u32, u32)) -> Result<(), String> {
    map_ids(outside).map_err(refused("a map of user ids"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(refused("private mounts"))?;
    // what lies in another one comes behind it
    let mut places = BTreeMap::new();
    for place in outermost(furniture.readable) {
        if let Some(tree) = taken_along(&place, libc::MOUNT_ATTR_RDONLY)? {
            places.insert(place, tree);
        }
    }
    for place in outermost(furniture.writable) {
        if let Some(tree) = taken_along(&place, 0)? {
            places.insert(place, tree);
        }
    }
    for device in DEVICES.map(|device| Path::new(device).to_owned()) {
        let tree = clone_tree(&device).map_err(refused("a device"))?;
        places.insert(device, tree);
    }
    let temporary = furniture.temporary;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("root", temporary, "tmpfs", flags, c"size=1m,mode=755").map_err(refused("tmpfs"))?;
    for (place, tree) in &places {
        put(tree, &temporary.join(place.strip_prefix("/").unwrap_or(place)))
            .map_err(|error| format!("`{}`: {error}", place.display()))?;
    }
    let scratch = temporary.join(&furniture.scratch[1..]);
    std::fs::create_dir_all(&scratch).map_err(refused("a folder"))?;
    if let Some(bytes) = furniture.room {
        let size = CString::new(format!("size={bytes},mode=700")).map_err(refused("a size"))?;
        mount("scratch", &scratch, "tmpfs", flags, size.as_c_str()).map_err(refused("tmpfs"))?;
    }
    rustix::process::chdir(temporary).map_err(refused("its root"))?;
    rustix::process::pivot_root(".", ".").map_err(refused("pivot_root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(refused("to unmount"))?;
    rustix::process::chdir("/").map_err(refused("its root"))?;
    let read_only = flags | MountFlags::BIND | MountFlags::RDONLY;
    mount_remount("/", read_only, c"").map_err(refused("a read-only root"))?;
    name_the_host().map_err(refused("a host's name"))
}

/// The same everywhere, so that programs read the same.
fn name_the_host() -> std::io::Result<()> {
    let name = c"sandbox";
    // SAFETY: the name and its length are those of a constant
    #[expect(unsafe_code, reason = "the call has no safe interface here")]
    let result = unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn refused<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("this machine refuses {what}: {error}")
}

/// One user and one group, which need no rights outside; the group only after giving up the others.
fn map_ids((user, group): (u32, u32)) -> std::io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{INSIDE} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{INSIDE} {group} 1"))
}

/// The places that exist and lie in no other of them.
fn outermost(places: &[PathBuf]) -> BTreeSet<PathBuf> {
    let all: BTreeSet<PathBuf> = places.iter().filter(|at| at.exists()).cloned().collect();
    let within = |place: &Path| place.ancestors().skip(1).any(|above| all.contains(above));
    all.iter().filter(|place| !within(place)).cloned().collect()
}

/// A place with all that is mounted below it; none where it has gone meanwhile.
fn taken_along(place: &Path, kind: u64) -> Result<Option<OwnedFd>, String> {
    let tree = match clone_tree(place) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        tree => tree.map_err(refused("a clone of a mount"))?,
    };
    let attributes = libc::mount_attr {
        attr_set: kind | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the descriptor is open, the path is an empty string, and the structure has the size
    // that is given
    #[expect(unsafe_code, reason = "the call has no safe interface")]
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(Some(tree))
    } else {
        Err(refused("mounts without devices")(std::io::Error::last_os_error()))
    }
}

fn clone_tree(place: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, place, flags)
}

/// Mounts a tree at a place that is made for it.
fn put(tree: &OwnedFd, place: &Path) -> std::io::Result<()> {
    let parent = place.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(parent)?;
    let of = rustix::fs::fstat(tree)?;
    if rustix::fs::FileType::from_raw_mode(of.st_mode).is_dir() {
        std::fs::create_dir_all(place)?;
    } else {
        let made = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        rustix::fs::open(place, made | rustix::fs::OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    }
    let nameless: &CStr = c"";
    move_mount(tree, nameless, CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// Gives up all capabilities inside but these, which are kept when another program is executed.
///
/// # Errors
/// What the machine refuses.
pub(crate) fn keep_capabilities(kept: CapabilitySet) -> Result<(), String> {
    kept_alone(kept).map_err(refused("capabilities"))
}

fn kept_alone(kept: CapabilitySet) -> rustix::io::Result<()> {
    for capability in (CapabilitySet::all() - kept).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // one that this kernel does not know
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    rustix::thread::set_capabilities(None, sets)?;
    for capability in kept.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_within_another_is_not_taken_twice() {
        let named = ["/usr/lib/python3", "/usr/lib", "/usr", "/nonexistent"].map(PathBuf::from);
        assert_eq!(outermost(&named), BTreeSet::from([PathBuf::from("/usr")]));
    }
}
