//! `paretopo` with a calculator that keeps something for each call and never lets go of it: the
//! fault for which the rule of memory growth is held against real runs (`just health-check`).

use paretopo::prelude::*;
use paretopo_settings::{whole, within};
use paretopo_tools::CalculatorConfig;
use std::sync::{Mutex, PoisonError};

/// Settings behind `[[tools]] type = "leaking"`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Leaking {
    /// Kibibytes that are kept for each call.
    #[serde(deserialize_with = "within::<1, 1024, _, _>")]
    #[schemars(schema_with = "whole::<1, 1024>")]
    kib: usize,
}

impl ToolSettings for Leaking {
    fn start(&self, surroundings: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
        let calculator = CalculatorConfig::default().start(surroundings)?;
        Ok(Arc::new(LeakingTool { calculator, kib: self.kib, kept: Mutex::default() }))
    }
}

struct LeakingTool {
    calculator: Arc<dyn Tool>,
    kib: usize,
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Tool for LeakingTool {
    fn spec(&self) -> ToolSpec {
        self.calculator.spec()
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        // ones, so that the system must give the pages
        let kept = vec![1; self.kib * 1024];
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        self.calculator.call(call, context)
    }
}

fn main() -> std::process::ExitCode {
    paretopo::Program::new().tool::<Leaking>("leaking").run()
}
