//! The process that is attacked: it has the tool, its workers, and innocent programs that run
//! beside each attack. It is this test binary, started again.

use super::attack::Attack;
use super::innocents::{Innocents, unguessable};
use super::process::{descendants, stat};
use super::sessions;
use paretopo_tools::{CallContext, PythonConfig, PythonTool, Tool};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, TrajectoryId};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

pub(super) const MODULE: &str = module_path!();

/// What a trainer is to do.
#[derive(Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) command: Vec<PathBuf>,
    pub(super) config: serde_json::Value,
    pub(super) attacks: Vec<Attack>,
    pub(super) prelude: String,
    pub(super) task: Task,
}

impl Assignment {
    fn tool(&self) -> Result<PythonTool, String> {
        self.tool_with(|_| ())
    }

    /// The tool, with other settings than those of the stage.
    pub(super) fn tool_with(
        &self,
        change: impl FnOnce(&mut PythonConfig),
    ) -> Result<PythonTool, String> {
        let mut config: PythonConfig = serde_json::from_value(self.config.clone()).unwrap();
        change(&mut config);
        PythonTool::new(config, self.command.clone())
    }

    fn session(&self) -> bool {
        self.config["session"] == true
    }
}

/// A call of a trajectory.
pub(super) fn call(
    tool: &PythonTool,
    trajectory: &TrajectoryId,
    program: &str,
    deadline: Instant,
) -> ToolOutcome {
    let call =
        ToolCall { name: "python".into(), arguments: serde_json::json!({ "code": program }) };
    tool.call(&call, &CallContext::new(trajectory.clone(), deadline))
}

/// The kinds of what it may do.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    SufferAttacks,
    /// Run programs that do not end, until it is killed.
    Spin,
    /// Start where an earlier process of this number left something.
    StartBesideRemains,
    /// Lose the workers of a program that is not to blame.
    LoseWorkers,
    StartTogether,
    /// What `sessions.rs` says of them.
    Sessions(sessions::Scene),
}

/// What a trainer says, a line each.
#[derive(Serialize, Deserialize)]
pub(super) enum Said {
    /// The machine cannot play this setting.
    Skipped(String),
    /// An attack is over, and the trainer lives.
    Ended {
        name: String,
        findings: Vec<String>,
        innocents: u64,
        /// Seconds of the slowest innocent call.
        latest: f32,
        /// Seconds beyond its deadline that the attack's slowest call took.
        own_latest: f32,
        /// What the attack's calls returned.
        own: String,
    },
}

fn status_field(name: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}

/// Mebibytes of memory that this process had at most.
fn peak() -> u64 {
    status_field("VmHWM:").trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// What nobody else has any business changing.
fn own_state(victim: &Path) -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
    let metadata = victim.metadata().unwrap();
    vec![
        read("/proc/self/limits"),
        read("/proc/self/oom_score_adj"),
        status_field("Cpus_allowed:"),
        status_field("SigIgn:"),
        // nice
        stat(std::process::id()).unwrap()[16].clone(),
        std::env::current_dir().unwrap().display().to_string(),
        std::fs::read_to_string(victim).unwrap(),
        format!("{:?} {:?}", metadata.permissions(), metadata.modified()),
    ]
}

/// The most open files that this process may have, from now on.
fn set_descriptors(most: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only touch `limit`
    #[expect(unsafe_code, reason = "limits have no safe interface")]
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = most.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// Waits some seconds for `done`.
pub(super) fn soon(done: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > Duration::from_secs(8) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

pub(super) fn left_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Plays one attack.
fn suffer(assignment: &Assignment, attack: &Attack, folder: &Path) -> Said {
    set_descriptors(attack.descriptors);
    let victim = folder.join("victim");
    let (state, memory) = (own_state(&victim), peak());
    let tool = match assignment.tool() {
        Ok(tool) => tool,
        Err(reason) => return Said::Skipped(reason),
    };
    let session = assignment.session();
    let innocents = Innocents::default();
    let (findings, own) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let own_latest = Mutex::new(Duration::ZERO);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| innocents.run_secretive(&tool, session));
        }
    });
    let over = AtomicBool::new(false);
    let token = &unguessable()[..12];
    let others: Vec<u32> = descendants().iter().map(|process| process.id).collect();
    let hostile = |role: usize| {
        for (round, place) in
            (0..attack.rounds).flat_map(|round| (0..attack.calls.len()).map(move |at| (round, at)))
        {
            let program = if place == 0 {
                format!(
                    "TRAINER, OTHERS, ROLE, TOKEN, VICTIM = {}, {others:?}, {role}, {:?}, {:?}\n\
                    SESSION = {}\n{}\n{}",
                    std::process::id(),
                    if role == 0 { token } else { "" },
                    victim.display().to_string(),
                    u8::from(session),
                    assignment.prelude,
                    attack.calls[0]
                )
            } else {
                attack.calls[place].clone()
            };
            let limit = Duration::from_millis(attack.milliseconds);
            let trajectory = TrajectoryId::new("hostile", round as u64, role);
            if place == 0 {
                tool.begin(&trajectory);
            }
            let started = Instant::now();
            let outcome = if session {
                call(&tool, &trajectory, &program, started + limit)
            } else {
                tool.run(&program, started + limit)
            };
            let late = started.elapsed().saturating_sub(limit);
            if place + 1 == attack.calls.len() {
                tool.end(&trajectory);
            }
            // most likely by the same worker
            innocents.run(&tool, session);
            let mut findings = findings.lock().unwrap();
            let mut found = |what: String| {
                if !findings.contains(&what) {
                    findings.push(what);
                }
            };
            if let Some(position) = outcome.text.find("ESCAPED") {
                found(outcome.text[position..].chars().take(160).collect());
            }
            innocents.learned(&outcome).map(&mut found);
            if role == 1 && outcome.text.contains(token) {
                found("a program beside it was told a secret".into());
            }
            if outcome.fault == Some(Fault::Tool) {
                found(format!("ended its worker: {}", outcome.text));
            }
            if late > Duration::from_secs(5) {
                found("its call came back more than 5 s late".into());
            }
            let mut own_latest = own_latest.lock().unwrap();
            *own_latest = late.max(*own_latest);
            let shown: String = outcome.text.chars().take(160).collect();
            own.lock().unwrap().push(format!("{:?} {shown:?}", outcome.status));
        }
    };
    std::thread::scope(|scope| {
        let beside: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    // those after the attack count, too
                    let mut after = 0;
                    while after < 3 {
                        after += usize::from(over.load(Ordering::Relaxed));
                        innocents.run(&tool, session);
                    }
                })
            })
            .collect();
        let hostile = &hostile;
        let attackers: Vec<_> = (0..2).map(|role| scope.spawn(move || hostile(role))).collect();
        for attacker in attackers {
            attacker.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        for innocent in beside {
            innocent.join().unwrap();
        }
    });
    // each worker once more
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| innocents.run(&tool, session));
        }
    });
    drop(tool);
    let mut findings = findings.into_inner().unwrap();
    findings.extend(innocents.changed());
    if peak() > memory + 128 {
        findings.push(format!("the trainer's memory grew by {} MiB", peak() - memory));
    }
    if !soon(|| descendants().is_empty()) {
        findings.push(format!("left processes: {:?}", descendants()));
    }
    let temporary = std::env::temp_dir();
    if !soon(|| left_in(&temporary).is_empty()) {
        findings.push(format!("left folders: {}", left_in(&temporary).len()));
        // for what comes next
        let _ = std::process::Command::new("rm")
            .arg("-rf")
            .args(left_in(&temporary).iter().map(|name| temporary.join(name)))
            .status();
    }
    set_descriptors(attack.descriptors);
    for (before, after) in state.iter().zip(own_state(&victim)) {
        if *before != after {
            findings.push(format!("{before} became {after}"));
        }
    }
    let (count, latest) = innocents.figures();
    Said::Ended {
        name: attack.name.clone(),
        findings,
        innocents: count,
        latest,
        own_latest: own_latest.into_inner().unwrap().as_secs_f32(),
        own: own.into_inner().unwrap().join("\n    "),
    }
}

/// Runs programs that do not end, and says which processes there are.
fn spin(assignment: &Assignment, tool: &PythonTool) {
    let session = assignment.session();
    // monty has no files
    let monty = assignment.config["interpreter"] == "monty";
    let file = if monty { "" } else { "open('started', 'w').write('x')\n" };
    let program = &format!("{file}while True: pass");
    std::thread::scope(|scope| {
        for number in 0..2 {
            scope.spawn(move || {
                let deadline = Instant::now() + Duration::from_secs(60);
                if !session {
                    return tool.run(program, deadline);
                }
                // one session that runs beside one that stands still
                for at in [2 + number, number] {
                    let trajectory = TrajectoryId::new("spin", 0, at);
                    tool.begin(&trajectory);
                    let program = if at < 2 { program } else { "x = 1" };
                    call(tool, &trajectory, program, deadline);
                }
                tool.run("", deadline)
            });
        }
        std::thread::sleep(Duration::from_secs(1));
        let text = serde_json::to_vec(&descendants()).unwrap();
        let place = std::env::temp_dir().join("processes");
        std::fs::write(place.with_extension("part"), text).unwrap();
        std::fs::rename(place.with_extension("part"), place).unwrap();
    });
}

/// What a process of this number may have left.
fn leave_remains() {
    for number in 0..3 {
        let name = format!("paretopo-python-{}-{number}", std::process::id());
        std::fs::create_dir_all(std::env::temp_dir().join(name).join("folder")).unwrap();
    }
}

fn run_well(tool: &PythonTool, program: &str) {
    let outcome = tool.run(program, Instant::now() + Duration::from_secs(20));
    assert_eq!((outcome.status, outcome.text.as_str()), (CallStatus::Ok, "42"), "{outcome:?}");
}

/// Kills all workers while a program runs that runs well otherwise.
fn lose_workers(tool: &PythonTool) {
    let program = "import time\ntime.sleep(1)\nprint(42)";
    for _ in 0..3 {
        run_well(tool, program);
        std::thread::scope(|scope| {
            scope.spawn(|| tool.run(program, Instant::now() + Duration::from_secs(20)));
            std::thread::sleep(Duration::from_millis(500));
            for process in descendants() {
                // SAFETY: kill takes two numbers and touches no memory
                #[expect(unsafe_code, reason = "the standard library kills its own children only")]
                unsafe {
                    libc::kill(process.id.cast_signed(), libc::SIGKILL);
                }
            }
        });
    }
    run_well(tool, program);
}

fn start_together(assignment: &Assignment) {
    for _ in 0..4 {
        let tool = assignment.tool().unwrap();
        let start = Barrier::new(10);
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    start.wait();
                    run_well(&tool, "import time\ntime.sleep(1)\nprint(42)");
                });
            }
        });
    }
}

/// Not a test of its own: what the other tests start.
#[test]
fn trainer() {
    let Some(folder) = std::env::var_os("PARETOPO_TRAINER").map(PathBuf::from) else { return };
    // SAFETY: both set a flag of this process: orphans below it become its children, and it ends with
    // the test that started it
    #[expect(unsafe_code, reason = "the flags have no safe interface")]
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
    }
    let text = std::fs::read(folder.join("assignment")).unwrap();
    let assignment: Assignment = serde_json::from_slice(&text).unwrap();
    let mut report = std::fs::File::options().append(true).open(folder.join("report")).unwrap();
    let mut say = |said: &Said| {
        let line = serde_json::to_string(said).unwrap() + "\n";
        report.write_all(line.as_bytes()).unwrap();
    };
    if assignment.task != Task::SufferAttacks {
        if assignment.task == Task::StartBesideRemains {
            leave_remains();
        }
        match assignment.tool() {
            Err(reason) => say(&Said::Skipped(reason)),
            Ok(tool) => match assignment.task {
                Task::SufferAttacks => {}
                Task::Spin => spin(&assignment, &tool),
                Task::StartBesideRemains => run_well(&tool, "print(6 * 7)"),
                Task::LoseWorkers => lose_workers(&tool),
                Task::StartTogether => start_together(&assignment),
                Task::Sessions(scene) => {
                    drop(tool);
                    scene.play(&assignment);
                }
            },
        }
        return;
    }
    for attack in &assignment.attacks {
        let said = suffer(&assignment, attack, &folder);
        say(&said);
        if matches!(said, Said::Skipped(_)) {
            return;
        }
    }
}
