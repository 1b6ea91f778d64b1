//! A tool that a program or a server of other people is: calls go out as JSON, what comes back is
//! what the model reads.

use super::{
    Asked, ProgramConfig, ServerConfig, Service, ServiceFailure, ServiceLimits, ServiceRequest,
};
use crate::{CallContext, StartedProgram, Tool, ToolSettings, ToolSurroundings, truncate_middle};
use paretopo_settings::{whole, within};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, ToolSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;

/// Calls a program, kept running, by lines of JSON; `docs/outside.md` has the protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandTool {
    /// What it does, in a sentence or two for the model.
    pub description: String,
    /// JSON schema of a call's arguments, as a text.
    #[serde(default = "no_arguments")]
    pub parameters: String,
    /// The program.
    pub program: ProgramConfig,
    /// How patiently it is asked.
    #[serde(default)]
    pub limits: ServiceLimits,
    /// Longest text that the model reads, in characters; longer output loses its middle.
    #[serde(default = "usual_output", deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub output_characters: usize,
}

/// Calls a server by HTTP, with the same objects of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTool {
    /// What it does, in a sentence or two for the model.
    pub description: String,
    /// JSON schema of a call's arguments, as a text.
    #[serde(default = "no_arguments")]
    pub parameters: String,
    /// The server.
    pub server: ServerConfig,
    /// How patiently it is asked.
    #[serde(default)]
    pub limits: ServiceLimits,
    /// Longest text that the model reads, in characters; longer output loses its middle.
    #[serde(default = "usual_output", deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub output_characters: usize,
}

fn no_arguments() -> String {
    r#"{"type": "object"}"#.into()
}

fn usual_output() -> usize {
    4096
}

/// A schema of arguments.
///
/// # Errors
/// When it is no JSON, or not the schema of an object.
fn schema(text: &str) -> Result<Value, String> {
    let hint = "hint: a schema such as '{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \
                \"string\"}}}'";
    match serde_json::from_str::<Value>(text) {
        Ok(schema) if schema.get("type") == Some(&"object".into()) => Ok(schema),
        Ok(_) => Err(format!("`parameters` has no `\"type\": \"object\"`\n{hint}")),
        Err(error) => Err(format!("`parameters` is no JSON: {error}\n{hint}")),
    }
}

impl ToolSettings for CommandTool {
    fn start(&self, _: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
        let spec = ToolSpec {
            name: "command".into(),
            description: self.description.clone(),
            parameters: schema(&self.parameters)?,
        };
        let asked = Asked::Program(self.program.clone());
        Ok(Arc::new(ServiceTool::start(spec, &asked, &self.limits, self.output_characters)?))
    }

    fn check(&self) -> Result<(), String> {
        schema(&self.parameters)?;
        self.program.check()
    }

    fn programs(&self) -> Vec<StartedProgram> {
        vec![self.program.started("answers the policy's calls")]
    }
}

impl ToolSettings for HttpTool {
    fn start(&self, _: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
        let spec = ToolSpec {
            name: "http".into(),
            description: self.description.clone(),
            parameters: schema(&self.parameters)?,
        };
        let asked = Asked::Server(self.server.clone());
        Ok(Arc::new(ServiceTool::start(spec, &asked, &self.limits, self.output_characters)?))
    }

    fn check(&self) -> Result<(), String> {
        schema(&self.parameters)?;
        self.server.check("server")
    }
}

/// The tool.
struct ServiceTool {
    spec: ToolSpec,
    service: Service,
    output_characters: usize,
}

impl ServiceTool {
    fn start(
        spec: ToolSpec,
        asked: &Asked,
        limits: &ServiceLimits,
        output_characters: usize,
    ) -> Result<Self, String> {
        let service = Service::start(asked, limits, "tool", &spec.name)?;
        Ok(Self { spec, service, output_characters })
    }

    fn outcome(&self, answer: Result<Map<String, Value>, ServiceFailure>) -> ToolOutcome {
        let (status, text) = match answer {
            Err(ServiceFailure::Late(reason)) => {
                let text = format!("TimeoutError: {reason}");
                return ToolOutcome::new(CallStatus::Timeout, text, 0.0).with_fault(Fault::Tool);
            }
            Err(ServiceFailure::Failed(reason)) => return to_blame(&reason),
            Ok(answer) => match (answer.get("text"), answer.get("error")) {
                (Some(Value::String(text)), None | Some(Value::Null)) => {
                    (CallStatus::Ok, text.clone())
                }
                (None | Some(Value::Null), Some(Value::String(error))) => {
                    (CallStatus::Error, error.clone())
                }
                _ => return to_blame("the answer has neither one text `text` nor one `error`"),
            },
        };
        let (text, truncated) = truncate_middle(&text, self.output_characters);
        ToolOutcome { truncated, ..ToolOutcome::new(status, text, 0.0) }
    }
}

/// The outcome of a call that whoever was asked is itself to blame for.
fn to_blame(reason: &str) -> ToolOutcome {
    let text = format!("ToolError: {reason}");
    ToolOutcome::new(CallStatus::Error, text, 0.0).with_fault(Fault::Tool)
}

impl Tool for ServiceTool {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        let started = Instant::now();
        let body = serde_json::json!({
            "type": "call",
            "name": call.name,
            "arguments": call.arguments,
            "trajectory": context.trajectory.as_str(),
        });
        let body = body.as_object().cloned().unwrap_or_default();
        let deadline = Some(context.deadline);
        let answer = self.service.ask(ServiceRequest { body, deadline, is_repeatable: false });
        ToolOutcome { seconds: started.elapsed().as_secs_f32(), ..self.outcome(answer) }
    }
}
