//! Hostile programs that attack the protocol between trainer and worker, the machine, and the
//! programs beside them. `tests/fixtures/attacks` holds one a file; its head says what it tries and
//! what came of it before the walls of today stood.
//!
//! Each is played in a process of its own, the trainer (`walls/trainer.rs`), since some end it.
//! Innocent programs run beside it, by the same tool: not one of their outcomes may change.
//! `PARETOPO_ATTACKS=deep,signals` plays those whose names contain one of these.
//! `PARETOPO_WALLS=before` plays them against a binary (`PARETOPO_BINARY`) that has no choice of
//! walls.

mod innocents;
mod trainer;

use crate::checkout;
use paretopo_settings::Seconds;
use paretopo_tools::{PythonConfig, PythonInterpreter, PythonLimits};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use trainer::{Assignment, Said, Task};

/// Whom an ordinary user is.
const NOBODY: u32 = 65534;
/// An attack that keeps its trainer busy for longer has stopped it.
const STOPPED: Duration = Duration::from_secs(90);

/// A hostile program.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Attack {
    name: String,
    /// What it tries.
    tries: String,
    /// What came of it before, as seen.
    before: String,
    /// The only walls that promise to hold it; all, if empty.
    only: String,
    /// Seconds that it may take.
    seconds: f32,
    /// How often it runs, by each of two threads; a long one once.
    rounds: usize,
    /// Open files that the trainer may have.
    descriptors: u64,
    program: String,
}

impl Attack {
    /// Reads the head of comments, `# KEY: VALUE`, with lines that go on indented.
    fn read(path: &Path) -> Self {
        let program = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut values: Vec<(String, String)> = Vec::new();
        for line in program.lines().map_while(|line| line.strip_prefix('#')) {
            match (line.strip_prefix("   "), line.split_once(": ")) {
                (Some(more), _) => {
                    let (_, value) = values.last_mut().expect("a key stands first");
                    value.push(' ');
                    value.push_str(more.trim());
                }
                (None, Some((key, value))) => {
                    values.push((key.trim().to_owned(), value.trim().to_owned()));
                }
                (None, None) => panic!("{name}: `#{line}`"),
            }
        }
        let known = ["tries", "before", "only", "seconds", "descriptors"];
        assert!(values.iter().all(|(key, _)| known.contains(&key.as_str())), "{name}: {values:?}");
        let value = |key| values.iter().find(|(own, _)| own == key).map(|(_, value)| value);
        let needed = |key| value(key).unwrap_or_else(|| panic!("{name}: no `{key}`")).clone();
        Self {
            tries: needed("tries"),
            before: needed("before"),
            only: value("only").cloned().unwrap_or_default(),
            seconds: value("seconds").map_or(1.0, |text| text.parse().unwrap()),
            rounds: if value("seconds").is_none() { 2 } else { 1 },
            descriptors: value("descriptors").map_or(20_000, |text| text.parse().unwrap()),
            name,
            program,
        }
    }
}

/// All attacks, or those asked for, in the order of their names; what all begin with.
fn attacks() -> (Vec<Attack>, String) {
    let folder = checkout("tests/fixtures/attacks");
    let asked = std::env::var("PARETOPO_ATTACKS").unwrap_or_default();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let attacks = paths
        .iter()
        .filter(|path| path.file_name().unwrap() != "prelude.py")
        .map(|path| Attack::read(path))
        .filter(|attack| asked.split(',').any(|part| attack.name.contains(part)));
    (attacks.collect(), std::fs::read_to_string(folder.join("prelude.py")).unwrap())
}

/// Where attacks are played.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// `python.cpython.walls`.
    walls: &'static str,
    ordinary: bool,
}

/// A folder with what a trainer of this setting needs, its own temporary folder among it.
struct Stage {
    folder: tempfile::TempDir,
    setting: Setting,
    config: serde_json::Value,
    command: Vec<PathBuf>,
    program: PathBuf,
}

impl Setting {
    /// `None` with a message where this machine cannot play it.
    fn stage(self) -> Option<Stage> {
        // SAFETY: it only asks
        #[expect(unsafe_code, reason = "the question has no safe interface")]
        let root = unsafe { libc::geteuid() } == 0;
        let becomes = self.ordinary && root;
        let starts = |python: &str| {
            let mut command =
                if becomes { as_nobody(Path::new(python)) } else { Command::new(python) };
            command.args(["-I", "-c", ""]).output().is_ok_and(|output| output.status.success())
        };
        let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(|name| starts(name))
        else {
            eprintln!("skipped {self:?}: no `python3`");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let binary = std::env::var_os("PARETOPO_BINARY")
            .map_or_else(|| crate::python_worker()[0].clone(), PathBuf::from);
        std::fs::copy(binary, path.join("paretopo")).unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), path.join("trainer")).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(path.join("temporary")).unwrap();
        std::fs::write(path.join("victim"), "secret").unwrap();
        std::fs::write(path.join("report"), "").unwrap();
        if becomes {
            for own in ["temporary", "victim", "report"] {
                chown(path.join(own), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let limits = PythonLimits { seconds: Seconds::literal(20.0), ..PythonLimits::default() };
        let config = PythonConfig {
            interpreter: PythonInterpreter::Cpython,
            limits,
            output_characters: 4000,
            ..PythonConfig::default()
        };
        let mut config = serde_json::to_value(config).unwrap();
        config["cpython"]["interpreter"] = python.into();
        config["cpython"]["preload"] = serde_json::json!([]);
        if std::env::var("PARETOPO_WALLS").as_deref() != Ok("before") {
            config["cpython"]["walls"] = self.walls.into();
        }
        let command = vec![path.join("paretopo"), "python-worker".into()];
        let program = path.join("trainer");
        let setting = Self { ordinary: becomes, ..self };
        Some(Stage { folder, setting, config, command, program })
    }
}

/// A command that runs as an ordinary user, where the tests run as root.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let user = NOBODY.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(program);
    command
}

impl Stage {
    /// A trainer that does what `assignment` says.
    fn trainer(&self, assignment: &Assignment) -> std::process::Child {
        let path = self.folder.path();
        std::fs::write(path.join("assignment"), serde_json::to_vec(assignment).unwrap()).unwrap();
        let mut command = if self.setting.ordinary {
            as_nobody(&self.program)
        } else {
            Command::new(&self.program)
        };
        let (_, module) = trainer::MODULE.split_once("::").unwrap();
        command
            .args([&format!("{module}::trainer"), "--exact", "--nocapture", "--test-threads=1"])
            .env("PARETOPO_TRAINER", path)
            .env("TMPDIR", path.join("temporary"))
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path.join("stderr")).unwrap());
        command.spawn().unwrap()
    }

    fn assignment(&self, attacks: Vec<Attack>, prelude: &str) -> Assignment {
        Assignment {
            command: self.command.clone(),
            config: self.config.clone(),
            attacks,
            prelude: prelude.to_owned(),
            task: Task::SufferAttacks,
        }
    }

    /// What a trainer is to do that no attack is part of.
    fn task(&self, task: Task) -> Assignment {
        Assignment { task, ..self.assignment(Vec::new(), "") }
    }

    /// Lets a trainer do it, with a message where the machine cannot play the setting.
    fn play(&self, task: Task) {
        let mut child = self.trainer(&self.task(task));
        assert!(child.wait().unwrap().success(), "{}", self.stderr());
        self.was_skipped();
    }

    /// Whether the machine cannot play the setting, with a message.
    fn was_skipped(&self) -> bool {
        self.said().iter().any(|said| match said {
            Said::Skipped(reason) => {
                eprintln!("skipped {:?}: {reason}", self.setting);
                true
            }
            Said::Ended { .. } => false,
        })
    }

    /// What trainers have said so far.
    fn said(&self) -> Vec<Said> {
        let text = std::fs::read_to_string(self.folder.path().join("report")).unwrap();
        // the last line may not be whole yet
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn stderr(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("stderr")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Plays all attacks, starting a new trainer where one ended it; what got through.
fn play(setting: Setting) -> Vec<String> {
    let (attacks, prelude) = attacks();
    let Some(stage) = setting.stage() else { return Vec::new() };
    let mut waiting: VecDeque<Attack> = attacks.into();
    let (mut through, mut heard) = (Vec::new(), 0);
    while !waiting.is_empty() {
        let mut child =
            stage.trainer(&stage.assignment(waiting.iter().cloned().collect(), &prelude));
        let mut last = Instant::now();
        let ended = loop {
            let status = child.try_wait().unwrap();
            let said = stage.said();
            for said in &said[heard..] {
                last = Instant::now();
                match said {
                    Said::Skipped(reason) => {
                        eprintln!("skipped {setting:?}: {reason}");
                        child.wait().unwrap();
                        return through;
                    }
                    Said::Ended { name, findings, innocents, latest, own_latest, own } => {
                        let attack = waiting.pop_front().unwrap();
                        assert_eq!(&attack.name, name);
                        eprintln!(
                            "{}, {name}: {}; {innocents} innocent calls, the slowest took \
                            {latest:.2} s, the attack {own_latest:.2} s\n    {own}",
                            setting.walls,
                            if findings.is_empty() {
                                "held".to_owned()
                            } else {
                                findings.join("; ")
                            },
                        );
                        let promised = attack.only.is_empty() || attack.only == setting.walls;
                        if promised && !findings.is_empty() {
                            through.push(format!("{name}: {}", findings.join("; ")));
                        }
                    }
                }
            }
            heard = said.len();
            if let Some(status) = status {
                break Some(status);
            }
            if last.elapsed() > STOPPED {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if ended.is_some_and(|status| status.success()) {
            assert!(waiting.is_empty(), "the trainer forgot {} attacks", waiting.len());
            break;
        }
        let attack = waiting.pop_front().expect("an attack was played");
        let how = ended.map_or("was stopped".into(), |status| match status.signal() {
            Some(signal) => format!("ended by signal {signal}"),
            None => format!("failed: {}", stage.stderr()),
        });
        eprintln!("{}, {}: the trainer {how}", setting.walls, attack.name);
        through.push(format!("{}: the trainer {how}", attack.name));
    }
    through
}

#[track_caller]
fn check(setting: Setting) {
    let through = play(setting);
    assert!(through.is_empty(), "{setting:?}:\n{}", through.join("\n"));
}

#[test]
fn attacks_are_held_by_namespaces() {
    check(Setting { walls: "namespaces", ordinary: false });
}

#[test]
fn attacks_are_held_without_namespaces() {
    check(Setting { walls: "landlock", ordinary: false });
}

#[test]
fn attacks_are_held_as_an_ordinary_user() {
    check(Setting { walls: "strongest", ordinary: true });
}

#[test]
fn attacks_are_held_as_an_ordinary_user_without_namespaces() {
    check(Setting { walls: "landlock", ordinary: true });
}

/// Waits until none of these processes, by number and time of start, is left.
#[track_caller]
fn gone(processes: &[trainer::Process], within: Duration) {
    let started = Instant::now();
    while processes.iter().any(trainer::Process::lives) {
        assert!(started.elapsed() < within, "{processes:?} outlived their trainer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A trainer that is killed while programs run takes its workers along, at once; what they wrote
/// goes at the latest when the next one starts. A folder that an earlier process of the same number
/// left does not keep the next from starting.
fn leaves_nothing_when_killed(setting: Setting) {
    let Some(stage) = setting.stage() else { return };
    let temporary = stage.folder.path().join("temporary");
    let mut child = stage.trainer(&stage.task(Task::Spin));
    let started = Instant::now();
    let processes = stage.folder.path().join("temporary/processes");
    let workers: Vec<trainer::Process> = loop {
        if let Ok(text) = std::fs::read(&processes)
            && let Ok(workers) = serde_json::from_slice(&text)
        {
            break workers;
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(stage.was_skipped(), "{status}, {}", stage.stderr());
            return;
        }
        assert!(started.elapsed() < STOPPED, "{}", stage.stderr());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!workers.is_empty() && workers.iter().any(trainer::Process::lives));
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(processes).unwrap();
    gone(&workers, Duration::from_secs(3));
    let left = names(&temporary);
    stage.play(Task::StartBesideRemains);
    let still: Vec<&PathBuf> = left.iter().filter(|path| path.exists()).collect();
    assert!(still.is_empty(), "{still:?}");
}

#[test]
fn a_killed_trainer_leaves_nothing_with_namespaces() {
    leaves_nothing_when_killed(Setting { walls: "namespaces", ordinary: false });
}

#[test]
fn a_killed_trainer_leaves_nothing_without_namespaces() {
    leaves_nothing_when_killed(Setting { walls: "landlock", ordinary: false });
}

#[test]
fn a_killed_trainer_leaves_nothing_as_an_ordinary_user() {
    leaves_nothing_when_killed(Setting { walls: "strongest", ordinary: true });
}

/// Workers end for many reasons, as when the machine has no memory left. A program that was not the
/// reason is not refused for it.
fn load_bans_nobody(setting: Setting) {
    if let Some(stage) = setting.stage() {
        stage.play(Task::LoseWorkers);
    }
}

#[test]
fn load_bans_nobody_with_namespaces() {
    load_bans_nobody(Setting { walls: "namespaces", ordinary: false });
}

#[test]
fn load_bans_nobody_without_namespaces() {
    load_bans_nobody(Setting { walls: "landlock", ordinary: false });
}

/// Forty workers start at once, each beside the folders of the others.
fn workers_start_together(setting: Setting) {
    if let Some(stage) = setting.stage() {
        stage.play(Task::StartTogether);
    }
}

#[test]
fn workers_start_together_with_namespaces() {
    workers_start_together(Setting { walls: "namespaces", ordinary: false });
}

#[test]
fn workers_start_together_without_namespaces() {
    workers_start_together(Setting { walls: "landlock", ordinary: false });
}

#[test]
fn every_attack_says_what_it_tries_and_what_came_of_it() {
    let (attacks, _) = attacks();
    for attack in &attacks {
        let known = ["succeeded", "partly", "held"];
        let word = attack.before.split([':', ',', ';', ' ']).next().unwrap();
        assert!(known.contains(&word), "{}: before: {}", attack.name, attack.before);
        assert!(attack.tries.ends_with('.'), "{}: {}", attack.name, attack.tries);
    }
}
