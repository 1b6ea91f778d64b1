//! The programs that a configuration has a run start, for people who want to know before they start
//! it. A configuration is code: it names programs. Finding out which starts none.

use crate::output::outln;
use crate::problem::Problem;
use paretopo_training::RunConfig;
use std::collections::BTreeSet;
use std::path::Path;

/// What a run starts, a line for each, sorted; with several configurations each program once.
fn listed<'a>(configs: impl IntoIterator<Item = &'a RunConfig>) -> Result<Vec<String>, Problem> {
    let itself = std::env::current_exe().map_err(|error| {
        Problem::failure(format!("cannot find this program's own file: {error}"))
    })?;
    let mut programs = BTreeSet::new();
    for config in configs {
        programs.insert(format!("{} (this program): renders chat templates", itself.display()));
        let tools = config.tools();
        let of_tools = tools.iter().flat_map(|entry| entry.tool.programs());
        let judges = config.objectives.iter().filter_map(|objective| objective.judge());
        for program in of_tools.chain(judges.flat_map(|judge| judge.programs())) {
            let does = program.does;
            programs.insert(match program.path {
                None => format!("{} (this program): {does}", itself.display()),
                Some(path) => format!("{}: {does}", shown(&path)),
            });
        }
    }
    Ok(programs.into_iter().collect())
}

/// The same below the table or the configuration that they belong to; `mark` begins each line.
pub(crate) fn print<'a>(
    configs: impl IntoIterator<Item = &'a RunConfig>,
    mark: &str,
) -> Result<(), Problem> {
    outln!("\n{mark}a run starts these programs and no others:");
    for program in listed(configs)? {
        outln!("{mark}  {program}");
    }
    Ok(())
}

/// The path, and what it is a link to.
fn shown(path: &Path) -> String {
    match std::fs::canonicalize(path) {
        Ok(target) if target == path => path.display().to_string(),
        Ok(target) => format!("{} ({})", path.display(), target.display()),
        Err(_) => format!("{} (not found)", path.display()),
    }
}
