//! The Python tool as one of a list: its settings checked, how it starts, and which programs of the
//! system it starts, found without starting any.

use super::{PythonConfig, PythonInterpreter, PythonTool};
#[cfg(target_os = "linux")]
use crate::found::found;
use crate::{StartedProgram, Tool, ToolSettings, ToolSurroundings};
use std::sync::Arc;

impl ToolSettings for PythonConfig {
    fn start(&self, surroundings: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
        let worker = surroundings.resources.python_worker.clone();
        Ok(Arc::new(PythonTool::new(self.clone(), worker)?))
    }

    fn check(&self) -> Result<(), String> {
        if self.session && self.interpreter == PythonInterpreter::SandboxFusion {
            return Err(
                "`session` is true, but a `sandbox_fusion` server keeps nothing from call to call\n\
                 hint: `interpreter = \"monty\"` or `\"cpython\"` does"
                    .into(),
            );
        }
        Ok(())
    }

    fn programs(&self) -> Vec<StartedProgram> {
        let itself = |does: &str| StartedProgram { path: None, does: does.into() };
        match self.interpreter {
            PythonInterpreter::SandboxFusion => Vec::new(),
            PythonInterpreter::Monty => vec![itself("interprets the policy's programs")],
            #[cfg(target_os = "linux")]
            PythonInterpreter::Cpython => vec![
                itself("puts up the walls around the policy's programs"),
                StartedProgram {
                    path: Some(found(&self.cpython.interpreter)),
                    does: "runs the policy's programs, sandboxed".into(),
                },
            ],
            #[cfg(not(target_os = "linux"))]
            PythonInterpreter::Cpython => Vec::new(),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::CpythonConfig;
    use std::path::PathBuf;

    fn programs(interpreter: PythonInterpreter, program: &str) -> Vec<PathBuf> {
        let cpython = CpythonConfig { interpreter: program.into(), ..CpythonConfig::default() };
        let config = PythonConfig { interpreter, cpython, ..PythonConfig::default() };
        config.programs().into_iter().filter_map(|program| program.path).collect()
    }

    #[test]
    fn programs_are_named_by_the_path_at_which_they_are_found() {
        // every Unix system has one
        let shell = programs(PythonInterpreter::Cpython, "sh");
        assert!(shell[0].is_absolute() && shell[0].ends_with("sh"), "{shell:?}");
        let none = "no-such-program-of-paretopo";
        assert_eq!(programs(PythonInterpreter::Cpython, none), [PathBuf::from(none)]);
        let here = std::env::current_dir().unwrap();
        assert_eq!(programs(PythonInterpreter::Cpython, "env/python"), [here.join("env/python")]);
        assert_eq!(
            programs(PythonInterpreter::Cpython, "/opt/python"),
            [PathBuf::from("/opt/python")]
        );
        // named, but not started
        for other in [PythonInterpreter::Monty, PythonInterpreter::SandboxFusion] {
            assert!(programs(other, "sh").is_empty());
        }
    }
}
