//! What Landlock lets a process open.

use crate::namespaces::DEVICES;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The newest version of Landlock that is used as far as the kernel goes.
const VERSION: ABI = ABI::V6;

/// Places that an interpreter needs, besides its own folders.
pub(super) const SYSTEM: [&str; 8] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
];

/// The interpreter's files can be read, those below `scratch` written, nothing else opens; no TCP,
/// no signal and no abstract socket leads outside.
fn ruleset(readable: &[PathBuf], scratch: &Path) -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(Scope::from_all(VERSION))?
        .create()?
        .add_rules(path_beneath_rules(
            SYSTEM.iter().map(Path::new).chain(readable.iter().map(PathBuf::as_path)),
            AccessFs::from_read(VERSION),
        ))?
        .add_rules(path_beneath_rules(DEVICES, AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules([scratch], AccessFs::from_all(VERSION) & !AccessFs::Execute))
}

/// Restricts this process as far as the kernel's version of Landlock goes.
///
/// # Errors
/// Why not.
pub(super) fn restrict(readable: &[PathBuf], scratch: &Path) -> Result<(), String> {
    let status = ruleset(readable, scratch)
        .and_then(RulesetCreated::restrict_self)
        .map_err(|error| error.to_string())?;
    if status.ruleset == RulesetStatus::NotEnforced { Err(absent()) } else { Ok(()) }
}

/// The same as a descriptor, for a process that restricts itself later.
///
/// # Errors
/// Why not.
pub(super) fn prepared(readable: &[PathBuf], scratch: &Path) -> Result<OwnedFd, String> {
    let created = ruleset(readable, scratch).map_err(|error| error.to_string())?;
    Option::<OwnedFd>::from(created).ok_or_else(absent)
}

fn absent() -> String {
    "not in this kernel".into()
}
