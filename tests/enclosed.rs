//! MCP servers behind walls: what a hostile one does not get at, and that a published one works there.
//! Where a machine refuses namespaces, it is tested that a server is refused with the reason.

use crate::checkout;
use paretopo_tools::{
    CallContext, EnclosureConfig, ListedTool, McpConfig, ProgramConfig, Resources, ToolEntry,
    ToolSurroundings,
};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, TrajectoryId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The interpreter itself, where `python3` may be a script that looks for it; and its folder.
fn python() -> (PathBuf, PathBuf) {
    let ask = "import os, sys; print(os.path.realpath(sys.executable), sys.base_prefix)";
    let output = Command::new("python3").args(["-c", ask]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (file, folder) = text.trim().split_once(' ').unwrap();
    (file.into(), folder.into())
}

/// Whether this machine has what walls are made of; the test of refusals is told.
pub(crate) fn has_walls() -> bool {
    let made = Command::new("unshare").args(["-Urnpm", "--fork", "true"]).status();
    let has = made.is_ok_and(|status| status.success());
    if !has {
        eprintln!("no walls: this machine refuses namespaces");
    }
    has
}

fn started(program: ProgramConfig, walls: EnclosureConfig) -> Result<Vec<ListedTool>, String> {
    let config = McpConfig { program: Some(program), walls: Some(walls), ..McpConfig::default() };
    let resources = Resources { python_worker: crate::python_worker(), ..Resources::default() };
    let mut surroundings =
        ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
    ToolEntry::new("mcp", config).start(&mut surroundings)
}

/// The hostile server, behind walls through which it reads its own file.
fn hostile(mut walls: EnclosureConfig) -> Vec<ListedTool> {
    let (python, base) = python();
    let script = checkout("tests/fixtures/hostile_server.py");
    walls.readable.extend([base, script.clone()]);
    started(ProgramConfig::new(python, &[script.to_str().unwrap()]), walls).unwrap()
}

fn call(tools: &[ListedTool], name: &str, arguments: Value) -> ToolOutcome {
    let tool = tools.iter().find(|tool| tool.name == name).unwrap();
    let call = ToolCall { name: name.into(), arguments };
    let deadline = Instant::now() + Duration::from_secs(20);
    tool.tool.call(&call, &CallContext::new(TrajectoryId::new("test", 0, 0), deadline))
}

fn outcome(tools: &[ListedTool], program: &str) -> ToolOutcome {
    call(tools, "try", json!({ "program": program }))
}

/// What came of a program.
#[track_caller]
fn tried(tools: &[ListedTool], program: &str) -> String {
    let outcome = outcome(tools, program);
    assert_eq!(outcome.status, CallStatus::Ok, "{program}: {outcome:?}");
    outcome.text
}

fn in_python(path: &Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}

#[test]
fn a_hostile_server_does_not_get_out() {
    if !has_walls() {
        let (python, _) = python();
        let refused = started(ProgramConfig::new(python, &[]), EnclosureConfig::default());
        let refused = refused.err().unwrap();
        assert!(refused.contains("this machine refuses "), "{refused}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [secret, shown, given] = ["secret", "shown", "given"].map(|name| {
        let inside = folder.path().join(name);
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("text"), name).unwrap();
        inside
    });
    let walls = EnclosureConfig {
        readable: vec![shown.clone()],
        writable: vec![given.clone()],
        ..EnclosureConfig::default()
    };
    let tools = &hostile(walls);
    let read = |path: &Path| tried(tools, &format!("result = open({}).read()", in_python(path)));
    let write = |path: &Path| {
        tried(tools, &format!("result = open({}, 'w').write('mine')", in_python(path)))
    };
    assert_eq!(read(&shown.join("text")), "shown");
    assert_eq!(read(&given.join("text")), "given");
    assert!(read(&secret.join("text")).starts_with("FileNotFoundError"), "{}", read(&secret));
    let own = checkout("Cargo.toml");
    for hidden in ["/etc/passwd", "/proc/self/environ", "/sys/kernel", own.to_str().unwrap()] {
        let said = read(Path::new(hidden));
        assert!(said.starts_with("FileNotFoundError"), "{hidden}: {said}");
    }
    // it writes where it may, and nothing else changes
    assert_eq!(write(&given.join("text")), "4");
    assert_eq!(std::fs::read_to_string(given.join("text")).unwrap(), "mine");
    for closed in [&shown.join("text"), &shown.join("new"), Path::new("/new"), Path::new("/usr/x")]
    {
        let said = write(closed);
        assert!(said.contains("Read-only file system"), "{}: {said}", closed.display());
    }
    assert_eq!(write(Path::new("scratch")), "4");
    assert_eq!(
        tried(tools, "import os; result = os.getcwd(), os.environ['HOME']"),
        "('/scratch', '/scratch')"
    );
    for socket in ["AF_INET, s.SOCK_STREAM", "AF_INET6, s.SOCK_DGRAM", "AF_UNIX, s.SOCK_STREAM"] {
        let said = tried(tools, &format!("import socket as s; s.socket(s.{socket})"));
        assert!(said.starts_with("PermissionError"), "{socket}: {said}");
    }
    // nobody else's processes, and no rights
    let killed = tried(tools, &format!("import os; os.kill({}, 0)", std::process::id()));
    assert!(killed.starts_with("ProcessLookupError"), "{killed}");
    let raw = |call: i64, arguments: &str| {
        let program = format!(
            "import ctypes, os; c = ctypes.CDLL(None, use_errno=True)\n\
             result = (c.syscall({call}, {arguments}), os.strerror(ctypes.get_errno()))"
        );
        tried(tools, &program)
    };
    let refused = "(-1, 'Operation not permitted')";
    // a user's namespace; `ptrace`; life without a parent; `bpf`; a file of memory
    assert_eq!(raw(libc::SYS_unshare, "0x10000000"), refused);
    assert_eq!(raw(libc::SYS_clone, "0x10000011, 0, 0, 0, 0"), refused);
    assert_eq!(raw(libc::SYS_ptrace, "0, 0, 0, 0"), refused);
    assert_eq!(raw(libc::SYS_prctl, "1, 0, 0, 0, 0"), refused);
    assert_eq!(raw(libc::SYS_bpf, "0, 0, 0"), refused);
    assert_eq!(raw(libc::SYS_memfd_create, "b'x', 0"), refused);
    assert_eq!(raw(libc::SYS_clone3, "0, 0"), "(-1, 'Function not implemented')");
    // other programs may be started, as servers do
    let started = "import subprocess; result = subprocess.run(['/bin/echo', 'hi'], \
                   capture_output=True).stdout";
    assert_eq!(tried(tools, started), "b'hi\\n'");
}

#[test]
fn what_a_server_takes_is_bounded() {
    if !has_walls() {
        return;
    }
    let walls = EnclosureConfig {
        memory: 200 << 20,
        files: 4 << 20,
        processes: 20,
        ..EnclosureConfig::default()
    };
    let tools = &hostile(walls);
    let large = tried(tools, "held = bytearray(300 << 20)");
    assert!(large.starts_with("MemoryError"), "{large}");
    let full = tried(tools, "open('a', 'wb').write(bytes(8 << 20))");
    assert!(full.starts_with("OSError"), "{full}");
    let full = "for n in range(9): open(str(n), 'wb').write(bytes(1 << 20))";
    let full = tried(tools, full);
    assert!(full.contains("No space left"), "{full}");
    // several that each stay below, and more of them than there may be: the server ends
    let held = "import os, time\nfor n in range(3):\n    if os.fork() == 0:\n        \
                held = bytearray(b'x') * (150 << 20); time.sleep(60)\ntime.sleep(60)";
    let many = "import os, time\nfor n in range(60):\n    if os.fork() == 0: time.sleep(60)\n\
                time.sleep(60)";
    for (program, words) in [(held, "`walls.memory`, 200 MiB"), (many, "Error: [Errno 11]")] {
        let begun = Instant::now();
        let outcome = outcome(tools, program);
        assert!(begun.elapsed() < Duration::from_secs(15), "{outcome:?}");
        // as root the number is looked at; for others the system refuses at once
        let is_named = outcome.text.contains(words)
            || (program == many && outcome.text.contains("`walls.processes`, 20"));
        assert!(is_named, "{outcome:?}");
        // and there is a new one
        assert_eq!(tried(tools, "result = 6 * 7"), "42");
    }
}

#[test]
fn what_walls_lack_is_named_and_nothing_outlives_them() {
    if !has_walls() {
        return;
    }
    let refused =
        |program: ProgramConfig, walls: EnclosureConfig| started(program, walls).err().unwrap();
    let missing =
        EnclosureConfig { readable: vec!["/no/such/folder".into()], ..EnclosureConfig::default() };
    let named = refused(ProgramConfig::new("sh", &[]), missing);
    assert_eq!(named, "`tools.mcp`: `walls.readable`: `/no/such/folder` is not there");
    // a script whose interpreter is there, but not behind the walls
    let folder = tempfile::tempdir().unwrap();
    let (shell, script) = (folder.path().join("shell"), folder.path().join("script"));
    std::os::unix::fs::symlink("/bin/sh", &shell).unwrap();
    std::fs::write(&script, format!("#!{}\necho here >&2\n", shell.display())).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let alone = refused(ProgramConfig::new(&script, &[]), EnclosureConfig::default());
    let words = format!("cannot start `{}`: No such file", script.display());
    assert!(alone.contains(&words) && alone.contains("hint: `walls.readable`"), "{alone}");
    let seen = EnclosureConfig { readable: vec![shell], ..EnclosureConfig::default() };
    let seen = refused(ProgramConfig::new(&script, &[]), seen);
    assert!(seen.ends_with(": here"), "{seen}");
    let elsewhere = ProgramConfig { cwd: Some("/root".into()), ..ProgramConfig::new("sh", &[]) };
    let elsewhere = refused(elsewhere, EnclosureConfig::default());
    assert!(elsewhere.contains("it runs where `walls.readable`"), "{elsewhere}");
    // one that has a child which leaves its group is gone with it
    let tools = hostile(EnclosureConfig::default());
    let mark = format!("paretopo-left-{}", std::process::id());
    let program = format!(
        "import os, subprocess\nresult = subprocess.Popen(['/bin/sleep', '61'], \
         start_new_session=True, env={{'MARK': '{mark}'}}).pid"
    );
    assert!(tried(&tools, &program).parse::<u32>().is_ok());
    let left = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let environ = std::fs::read(process.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environ).contains(&format!("MARK={mark}"))
        })
    };
    let until = |is: bool, fault: &str| {
        let begun = Instant::now();
        while left() != is {
            assert!(begun.elapsed() < Duration::from_secs(10), "{fault}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // its environment can be read a moment after its parent knows that it runs
    until(true, "the child was not seen");
    drop(tools);
    until(false, "a child outlived its server");
}

#[test]
fn a_server_that_dies_behind_walls_says_its_last_words() {
    if !has_walls() {
        return;
    }
    let tools = hostile(EnclosureConfig::default());
    let outcome = outcome(&tools, "import os; os.write(2, b'no licence\\n'); os._exit(3)");
    assert_eq!((outcome.status, outcome.fault), (CallStatus::Error, Some(Fault::Tool)));
    assert!(outcome.text.contains("no licence"), "{outcome:?}");
}
