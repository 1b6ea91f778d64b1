//! One line to an MCP server: started, greeted and asked for its tools within a time; killed, with
//! its process group, when it is dropped.

use super::McpConfig;
use crate::ServerConfig;
use paretopo_containment::{Launch, kill_process_group};
use paretopo_retrieval::why_untrusted;
use paretopo_trajectory::ToolSpec;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{CallToolRequestParams, ClientRequest, PaginatedRequestParams, PingRequest};
use rmcp::service::{ClientInitializeError, RoleClient, RunningService, serve_client};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpError,
};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of a message; more is nonsense.
const MOST: usize = 16 << 20;
/// Tools that a server may have.
const MOST_TOOLS: usize = 1000;
/// Bytes of its standard error that are kept.
const COMPLAINTS: usize = 4096;
/// Characters of its last words that are told.
const TOLD: usize = 300;

/// How long is waited for what a server says at its end.
const FAREWELL: Duration = Duration::from_millis(50);

/// A server that has greeted, with the tools that it offers.
pub(super) struct Session {
    service: RunningService<RoleClient, ()>,
    process: Option<Process>,
    pub(super) tools: Vec<ToolSpec>,
    /// Room for it, where servers are counted.
    _room: Option<OwnedSemaphorePermit>,
}

/// A server's process, killed with its group.
struct Process {
    child: Child,
    complaints: Arc<Mutex<Vec<u8>>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // it has a number until it was waited for, and the number is nobody else's until then
        if let Some(pid) = self.child.id() {
            kill_process_group(pid);
        }
    }
}

impl Process {
    fn start(launch: &Launch, program: &Path) -> Result<Self, String> {
        let mut command = launch.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = Command::from(command);
        let started = command.kill_on_drop(true).spawn();
        let said = |error| format!("cannot start `{}`: {error}", program.display());
        let mut child = started.map_err(said)?;
        let complaints = Arc::new(Mutex::new(Vec::new()));
        if let Some(stream) = child.stderr.take() {
            tokio::spawn(hear_complaints(stream, complaints.clone()));
        }
        Ok(Self { child, complaints })
    }

    /// The last line that it wrote to its standard error, behind a colon.
    fn last_words(&self) -> String {
        let said = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        last.map_or_else(String::new, |last| format!(": {}", cut(last)))
    }
}

/// Reads a server's standard error to its end, and keeps the last of it.
async fn hear_complaints(mut stream: ChildStderr, complaints: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        let mut kept = complaints.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&piece[..count]);
        let surplus = kept.len().saturating_sub(COMPLAINTS);
        kept.drain(..surplus);
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TOLD).collect()
}

impl Session {
    /// Starts a server, and waits until it has listed its tools.
    ///
    /// # Errors
    /// Why it has not, within `start_seconds` at most.
    pub(super) async fn open(
        config: &McpConfig,
        launch: Option<&Launch>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, String> {
        let opening = async {
            let (service, process) = match (&config.program, launch, &config.server) {
                (Some(program), Some(launch), _) => greet_program(launch, &program.file()).await?,
                (_, _, Some(server)) => (greet_server(server).await?, None),
                _ => return Err("there is no server".to_owned()),
            };
            let mut session = Self { service, process, tools: Vec::new(), _room: room };
            session.tools = session.list().await?;
            Ok(session)
        };
        let seconds = config.start_seconds;
        match tokio::time::timeout(seconds.duration(), opening).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("it did not greet and list its tools within {seconds} s")),
        }
    }

    /// Whether it takes no requests any more.
    pub(super) fn is_over(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// The last line that its process wrote to its standard error, behind a colon.
    pub(super) fn last_words(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::last_words)
    }

    async fn list(&self) -> Result<Vec<ToolSpec>, String> {
        let (mut tools, mut cursor) = (Vec::new(), None);
        loop {
            let page =
                cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
            let listed = self.service.peer().list_tools(page).await;
            let words = |error| format!("it does not list its tools: {error}{}", self.last_words());
            let listed = listed.map_err(words)?;
            tools.extend(listed.tools.into_iter().map(|tool| ToolSpec {
                name: tool.name.into_owned(),
                description: tool.description.unwrap_or_default().into_owned(),
                parameters: serde_json::Value::Object((*tool.input_schema).clone()),
            }));
            if tools.len() > MOST_TOOLS {
                return Err(format!("it lists more than {MOST_TOOLS} tools"));
            }
            match listed.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(tools),
            }
        }
    }

    /// Calls a tool. A call that is dropped is cancelled, which the server is told.
    pub(super) async fn call(
        &self,
        params: CallToolRequestParams,
    ) -> Result<rmcp::model::CallToolResult, rmcp::ServiceError> {
        let called = self.service.peer().call_tool(params).await;
        if matches!(&called, Err(error) if !matches!(error, rmcp::ServiceError::McpError(_))) {
            tokio::time::sleep(FAREWELL).await;
        }
        called
    }

    /// Whether it answers at all, within `patience`.
    pub(super) async fn is_alive(&self, patience: Duration) -> bool {
        let ping = ClientRequest::PingRequest(PingRequest::default());
        let asked = self.service.peer().send_request(ping);
        matches!(tokio::time::timeout(patience, asked).await, Ok(Ok(_)))
    }
}

async fn greet_program(
    launch: &Launch,
    program: &Path,
) -> Result<(RunningService<RoleClient, ()>, Option<Process>), String> {
    let mut process = Process::start(launch, program)?;
    let (Some(output), Some(input)) = (process.child.stdout.take(), process.child.stdin.take())
    else {
        return Err("its standard streams are no pipes".into());
    };
    let transport = AsyncRwTransport::new_client(output, input).with_max_line_length(MOST);
    let program = program.display();
    match serve_client((), transport).await {
        Ok(service) => Ok((service, Some(process))),
        Err(error) => {
            // what it says at its end may come a moment later
            tokio::time::sleep(FAREWELL).await;
            let words = process.last_words();
            Err(format!("`{program}` does not greet: {}{words}", cut(&error.to_string())))
        }
    }
}

async fn greet_server(server: &ServerConfig) -> Result<RunningService<RoleClient, ()>, String> {
    let url = &server.url;
    // it is asked where the configuration says and nowhere else
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0);
    #[cfg(feature = "https")]
    let client = client.tls_backend_preconfigured(server.trust("server")?.tls());
    let client = client.build().map_err(|error| format!("{url}: {error}"))?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
    for (name, value) in server.headers("server")? {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        config.custom_headers.insert(name, value);
    }
    config.max_json_response_size = MOST;
    config.max_sse_event_size = MOST;
    let transport = StreamableHttpClientTransport::with_client(client, config);
    let said = |error| format!("{url} does not greet: {}", why(&error));
    serve_client((), transport).await.map_err(said)
}

/// Why a server was not reached, which the protocol's crate keeps to itself, or what else went wrong.
fn why(error: &ClientInitializeError) -> String {
    let sent = match error {
        ClientInitializeError::TransportError { error, .. } => error.error.downcast_ref(),
        _ => None,
    };
    let Some(StreamableHttpError::<reqwest::Error>::Client(failed)) = sent else {
        return cut(&error.to_string());
    };
    let mut last: &dyn std::error::Error = failed;
    while let Some(source) = last.source() {
        last = source;
    }
    why_untrusted(failed).unwrap_or_else(|| cut(&last.to_string()))
}
