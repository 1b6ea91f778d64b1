//! Memory that runs out: whoever was out of it says so and what to lower, with an exit code of its
//! own, at whatever allocation; a kill by the kernel is told by the next process of the run.

use crate::unattended::{command, said};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A control group with little memory, of version 1 or 2; `None` with a message where this user may
/// make none.
fn small_group(bytes: u64) -> Option<PathBuf> {
    let name = format!("paretopo-test-{}", std::process::id());
    for (root, limit) in [("memory", "memory.limit_in_bytes"), ("", "memory.max")] {
        let group = Path::new("/sys/fs/cgroup").join(root).join(&name);
        if std::fs::create_dir(&group).is_ok() {
            if std::fs::write(group.join(limit), bytes.to_string()).is_ok() {
                return Some(group);
            }
            std::fs::remove_dir(&group).unwrap();
        }
    }
    eprintln!("skipped: no control group with a limit on memory can be made here");
    None
}

#[test]
fn a_kill_by_the_kernel_is_told_by_the_next_process() {
    let Some(group) = small_group(12 << 20) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let run = scratch.path().join("run");
    let plain = command("train", &run);
    let mut limited = Command::new("sh");
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.display());
    limited.args(["-c", &enter]).arg(plain.get_program()).args(plain.get_args());
    let output = limited.env("RAYON_NUM_THREADS", "1").output().unwrap();
    // the group is free when its last process is gone
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::remove_dir(&group).is_err() {
        assert!(Instant::now() < deadline, "{} is in use", group.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(output.status.signal(), Some(9), "{}", said(&output));
    let output = command("train", &run).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let message = said(&output);
    let told = "did not end by itself, before its first step: the kernel ran out of memory and has \
                ended ";
    for part in [told, "hint: lower `rollout.batch_size`"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// A library that lets the n-th allocation of at least 16 KiB fail, or counts them.
#[cfg(target_env = "gnu")]
const SHIM: &str = r#"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
static long count, failing;
static const char *report;
__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAILING_ALLOCATION");
    report = getenv("ALLOCATIONS");
    unsetenv("LD_PRELOAD"); /* the tools' workers are not meant */
    count = 0;
    failing = text ? atol(text) : 0;
}
__attribute__((destructor)) static void end(void) {
    FILE *file = report ? fopen(report, "w") : NULL;
    if (file) { fprintf(file, "%ld", count); fclose(file); }
}
static int fails(size_t bytes) {
    return bytes >= 16384 && __sync_add_and_fetch(&count, 1) == failing;
}
void *malloc(size_t n) { return fails(n) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return fails(n * m) ? NULL : __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return fails(n) ? NULL : __libc_realloc(p, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    void *found = fails(n) ? NULL : __libc_memalign(a, n);
    if (!found) return ENOMEM;
    *p = found;
    return 0;
}
"#;

/// `PARETOPO_ALLOCATIONS` of them fail, 8 if it is not set.
#[cfg(target_env = "gnu")]
#[test]
fn an_allocation_that_fails_says_who_was_out_of_memory_and_loses_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, shim) = (scratch.path().join("shim.c"), scratch.path().join("shim.so"));
    std::fs::write(&source, SHIM).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-fno-builtin", "-o"]).arg(&shim).arg(&source);
    if !compiler.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no C compiler `cc`");
        return;
    }
    let (whole, report) = (scratch.path().join("whole"), scratch.path().join("count"));
    let output = command("train", &whole)
        .env("LD_PRELOAD", &shim)
        .env("ALLOCATIONS", &report)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let weights = |run: &Path| std::fs::read(run.join("policy/model.safetensors")).unwrap();
    let total: u64 = std::fs::read_to_string(&report).unwrap().parse().unwrap();
    assert!(total > 1000, "only {total} allocations were seen");
    let points: u64 =
        std::env::var("PARETOPO_ALLOCATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let (mut stages, mut marked) = (std::collections::BTreeMap::<String, u64>::new(), 0);
    for point in 0..points {
        let run = scratch.path().join("run");
        let failing = 1 + total * (2 * point + 1) / (2 * points);
        let output = command("train", &run)
            .env("LD_PRELOAD", &shim)
            .env("FAILING_ALLOCATION", failing.to_string())
            .output()
            .unwrap();
        let message = said(&output);
        assert_eq!(output.status.code(), Some(3), "{failing} of {total}: {message}");
        let stage = message.split("error: out of memory while ").nth(1).unwrap();
        let (stage, rest) = stage.split_once(": the system gives no ").unwrap();
        assert!(rest.contains(" bytes more\nhint: "), "{message}");
        *stages.entry(stage.to_owned()).or_default() += 1;
        // the run folder knows, if there was one already, and nothing is lost
        let is_marked = run.join("running.json").exists();
        marked += u64::from(is_marked);
        let output = command("train", &run).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let told = format!("out of memory while {stage}: the system gives no ");
        assert_eq!(said(&output).contains(&told), is_marked, "{}", said(&output));
        assert!(weights(&run) == weights(&whole), "{failing} of {total}: other weights");
        std::fs::remove_dir_all(&run).unwrap();
    }
    eprintln!("{total} allocations of 16 KiB and more; {points} failed: {stages:?}");
    assert!(stages.len() >= 2 && marked > points / 2, "{stages:?}, {marked} marked");
}

/// A limit on the address space makes allocations, mappings and threads fail anywhere.
#[test]
fn a_limit_on_memory_ends_a_run_with_its_own_exit_code() {
    let scratch = tempfile::tempdir().unwrap();
    let mut codes = Vec::new();
    // the program itself takes 70
    for mib in [80, 90, 100, 120, 250, 400] {
        let run = scratch.path().join(format!("{mib}"));
        let plain = command("train", &run);
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("ulimit -v {}; exec \"$0\" \"$@\"", mib * 1024)])
            .arg(plain.get_program())
            .args(plain.get_args())
            // the tool's workers would run into the limit as well, which fails calls and no run
            .args(["--set", "environment.tool_enabled=false"])
            .env("RAYON_NUM_THREADS", "1");
        let output = limited.output().unwrap();
        let (code, message) = (output.status.code(), said(&output));
        assert_eq!(output.status.signal(), None, "{mib} MiB: {message}");
        assert!(matches!(code, Some(0 | 3)), "{mib} MiB: {code:?} {message}");
        if code == Some(3) {
            assert!(message.contains("hint: "), "{mib} MiB: {message}");
            let mut again = command("train", &run);
            again.args(["--set", "environment.tool_enabled=false"]);
            let again = again.output().unwrap();
            assert!(again.status.success(), "{mib} MiB: {}", said(&again));
        }
        codes.push(code);
    }
    eprintln!("{codes:?}");
    assert!(codes.contains(&Some(3)), "{codes:?}");
}
