//! Where attacks are played: the walls, the user, and a folder that holds what a trainer needs.

use super::attack::Attack;
use super::trainer::{self, Assignment, Said, Task};
use paretopo_settings::Seconds;
use paretopo_tools::{PythonConfig, PythonInterpreter, PythonLimits};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whom an ordinary user is.
const NOBODY: u32 = 65534;

/// Where attacks are played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// `python.cpython.walls`, or `monty`.
    pub(super) walls: &'static str,
    pub(super) ordinary: bool,
    /// `python.session`.
    pub(super) session: bool,
}

/// A folder with what a trainer of this setting needs, its own temporary folder among it.
pub(super) struct Stage {
    pub(super) folder: tempfile::TempDir,
    setting: Setting,
    config: serde_json::Value,
    command: Vec<PathBuf>,
    program: PathBuf,
}

impl Setting {
    /// `None` with a message where this machine cannot play it.
    pub(super) fn stage(self) -> Option<Stage> {
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
        config["session"] = self.session.into();
        if self.walls == "monty" {
            config["interpreter"] = "monty".into();
        } else if std::env::var("PARETOPO_WALLS").as_deref() != Ok("before") {
            config["cpython"]["walls"] = self.walls.into();
        }
        let command = vec![path.join("paretopo"), "python-worker".into()];
        let program = path.join("trainer");
        let setting = Self { ordinary: becomes, ..self };
        Some(Stage { folder, setting, config, command, program })
    }
}

/// A command that runs as an ordinary user, where the tests run as root.
pub(super) fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let user = NOBODY.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(program);
    command
}

impl Stage {
    /// A trainer that does what `assignment` says.
    pub(super) fn trainer(&self, assignment: &Assignment) -> std::process::Child {
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
        loop {
            match command.spawn() {
                // a test beside this one forked while the copy was written, and has not begun yet
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                spawned => return spawned.unwrap(),
            }
        }
    }

    pub(super) fn assignment(&self, attacks: Vec<Attack>, prelude: &str) -> Assignment {
        Assignment {
            command: self.command.clone(),
            config: self.config.clone(),
            attacks,
            prelude: prelude.to_owned(),
            task: Task::SufferAttacks,
        }
    }

    /// What a trainer is to do that no attack is part of.
    pub(super) fn task(&self, task: Task) -> Assignment {
        Assignment { task, ..self.assignment(Vec::new(), "") }
    }

    /// Lets a trainer do it, with a message where the machine cannot play the setting.
    pub(super) fn play(&self, task: Task) {
        let mut child = self.trainer(&self.task(task));
        assert!(child.wait().unwrap().success(), "{}", self.stderr());
        self.was_skipped();
    }

    /// Whether the machine cannot play the setting, with a message.
    pub(super) fn was_skipped(&self) -> bool {
        self.said().iter().any(|said| match said {
            Said::Skipped(reason) => {
                eprintln!("skipped {:?}: {reason}", self.setting);
                true
            }
            Said::Ended { .. } => false,
        })
    }

    /// What trainers have said so far.
    pub(super) fn said(&self) -> Vec<Said> {
        let text = std::fs::read_to_string(self.folder.path().join("report")).unwrap();
        // the last line may not be whole yet
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(super) fn stderr(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("stderr")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
