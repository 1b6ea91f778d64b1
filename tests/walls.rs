//! Hostile programs that attack the protocol between trainer and worker, the machine, and the
//! programs beside them. `tests/fixtures/attacks` holds one a file; its head says what it tries and
//! what came of it before the walls of today stood.
//!
//! Each is played in a process of its own, the trainer (`walls/trainer.rs`), since some end it.
//! Innocent programs run beside it, by the same tool: not one of their outcomes may change.
//! `PARETOPO_ATTACKS=deep,signals` plays those whose names contain one of these; if it is set but
//! empty, all. Without it all are played in namespaces, elsewhere those that got through before.
//! Those of `tests/fixtures/session_attacks` are several calls of a session; the innocent ones
//! beside them are, too. `PARETOPO_WALLS=before` plays the others against a binary
//! (`PARETOPO_BINARY`) that has no choice of walls.

mod attack;
mod innocents;
mod process;
mod sessions;
mod stage;
mod trainer;

use attack::attacks;
use process::Process;
use stage::Setting;
use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trainer::{Said, Task};

/// An attack that keeps its trainer busy for longer has stopped it.
const STOPPED: Duration = Duration::from_secs(90);

/// Plays all attacks, starting a new trainer where one ended it; what got through.
fn play(setting: Setting) -> Vec<String> {
    let (attacks, prelude) = attacks(setting.session);
    let Some(stage) = setting.stage() else { return Vec::new() };
    let mut waiting: VecDeque<attack::Attack> = attacks.into();
    let strongest = setting.walls == "namespaces";
    if !strongest && !setting.session && std::env::var_os("PARETOPO_ATTACKS").is_none() {
        // they take minutes in each setting; what never got through is played in one
        let once = |attack: &attack::Attack| {
            !attack.before.starts_with("held") || attack.before.contains("y the first new walls")
        };
        waiting.retain(once);
    }
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
    check(Setting { walls: "namespaces", ordinary: false, session: false });
}

#[test]
fn attacks_are_held_without_namespaces() {
    check(Setting { walls: "landlock", ordinary: false, session: false });
}

#[test]
fn attacks_are_held_as_an_ordinary_user() {
    check(Setting { walls: "strongest", ordinary: true, session: false });
}

#[test]
fn attacks_are_held_as_an_ordinary_user_without_namespaces() {
    check(Setting { walls: "landlock", ordinary: true, session: false });
}

#[test]
fn attacks_in_sessions_are_held_by_namespaces() {
    check(Setting { walls: "namespaces", ordinary: false, session: true });
}

#[test]
fn attacks_in_sessions_are_held_without_namespaces() {
    check(Setting { walls: "landlock", ordinary: false, session: true });
}

#[test]
fn attacks_in_sessions_are_held_as_an_ordinary_user() {
    check(Setting { walls: "strongest", ordinary: true, session: true });
}

#[test]
fn attacks_in_sessions_are_held_as_an_ordinary_user_without_namespaces() {
    check(Setting { walls: "landlock", ordinary: true, session: true });
}

/// Waits until none of these processes, by number and time of start, is left.
#[track_caller]
fn gone(processes: &[Process], within: Duration) {
    let started = Instant::now();
    while processes.iter().any(Process::lives) {
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
    let workers: Vec<Process> = loop {
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
    assert!(!workers.is_empty() && workers.iter().any(Process::lives));
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
    leaves_nothing_when_killed(Setting { walls: "namespaces", ordinary: false, session: false });
}

#[test]
fn a_killed_trainer_leaves_nothing_without_namespaces() {
    leaves_nothing_when_killed(Setting { walls: "landlock", ordinary: false, session: false });
}

#[test]
fn a_killed_trainer_leaves_nothing_as_an_ordinary_user() {
    leaves_nothing_when_killed(Setting { walls: "strongest", ordinary: true, session: false });
}

#[test]
fn a_killed_trainer_leaves_no_session_with_namespaces() {
    leaves_nothing_when_killed(Setting { walls: "namespaces", ordinary: false, session: true });
}

#[test]
fn a_killed_trainer_leaves_no_session_without_namespaces() {
    leaves_nothing_when_killed(Setting { walls: "landlock", ordinary: true, session: true });
}

#[test]
fn a_killed_trainer_leaves_no_session_of_monty() {
    leaves_nothing_when_killed(Setting { walls: "monty", ordinary: false, session: true });
}

/// Plays a scene with sessions of both interpreters, and behind either wall.
fn in_sessions(scene: sessions::Scene) {
    for walls in ["monty", "namespaces", "landlock"] {
        if let Some(stage) = (Setting { walls, ordinary: false, session: true }).stage() {
            stage.play(Task::Sessions(scene));
        }
    }
}

#[test]
fn sessions_keep_names_for_their_trajectory_alone() {
    in_sessions(sessions::Scene::KeepNames);
}

#[test]
fn sessions_end_with_their_trajectories() {
    in_sessions(sessions::Scene::EndWithTrajectories);
}

#[test]
fn sessions_end_at_limits_and_say_so() {
    in_sessions(sessions::Scene::EndAtLimits);
}

#[test]
fn limits_hold_over_the_calls_of_a_session() {
    in_sessions(sessions::Scene::HoldLimitsOverCalls);
}

#[test]
fn sessions_are_bounded_in_number() {
    in_sessions(sessions::Scene::AreBounded);
}

#[test]
fn sessions_stand_still_between_calls() {
    for (walls, ordinary) in [("namespaces", false), ("landlock", false), ("landlock", true)] {
        if let Some(stage) = (Setting { walls, ordinary, session: true }).stage() {
            stage.play(Task::Sessions(sessions::Scene::StandStill));
        }
    }
}

#[test]
fn sessions_are_like_a_model_of_them() {
    in_sessions(sessions::Scene::LikeAModel);
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
    load_bans_nobody(Setting { walls: "namespaces", ordinary: false, session: false });
}

#[test]
fn load_bans_nobody_without_namespaces() {
    load_bans_nobody(Setting { walls: "landlock", ordinary: false, session: false });
}

/// Forty workers start at once, each beside the folders of the others.
fn workers_start_together(setting: Setting) {
    if let Some(stage) = setting.stage() {
        stage.play(Task::StartTogether);
    }
}

#[test]
fn workers_start_together_with_namespaces() {
    workers_start_together(Setting { walls: "namespaces", ordinary: false, session: false });
}

#[test]
fn workers_start_together_without_namespaces() {
    workers_start_together(Setting { walls: "landlock", ordinary: false, session: false });
}

#[test]
fn every_attack_says_what_it_tries_and_what_came_of_it() {
    let (mut attacks, _) = attack::attacks(false);
    attacks.extend(attack::attacks(true).0);
    for attack in &attacks {
        let known = ["succeeded", "partly", "held"];
        let word = attack.before.split([':', ',', ';', ' ']).next().unwrap();
        assert!(known.contains(&word), "{}: before: {}", attack.name, attack.before);
        assert!(attack.tries.ends_with('.'), "{}: {}", attack.name, attack.tries);
    }
}
