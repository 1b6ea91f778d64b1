//! Servers of other people's behind TLS: MCP, tools and rewards by HTTP, OpenEnv. An authority of the
//! test's own signs their certificates, and a small proxy speaks TLS in front of servers that do not.

use crate::serving::server::Manners;
use crate::{Killed, checkout};
use paretopo_environments::{OpenEnvConfig, Resources, ToolEnvironment, environment};
use paretopo_serving::{Needs, Protocol, Servers};
use paretopo_settings::Seconds;
use paretopo_tools::{
    Asked, CallContext, ListedTool, McpConfig, ServerConfig, Service, ServiceLimits, ToolEntry,
    ToolSurroundings,
};
use paretopo_trajectory::{CallStatus, Split, ToolCall, TrajectoryId};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig as TlsConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// An authority that nobody knows, in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut own = CertificateParams::new(Vec::new()).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let signed = own.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("own.pem"), signed.pem()).unwrap();
        Self { issuer: Issuer::new(own, key), folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("own.pem")
    }

    /// The address of a proxy in front of `target` whose certificate is for `names`; it has expired
    /// where `is_old`.
    fn proxy(&self, target: SocketAddr, names: &[&str], is_old: bool) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut own = CertificateParams::new(names).unwrap();
        if is_old {
            (own.not_before, own.not_after) =
                (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let signed = own.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let tls = TlsConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || forward(listener, target, TlsAcceptor::from(Arc::new(tls))));
        format!("https://127.0.0.1:{port}")
    }
}

/// Passes on what comes in by TLS, for as long as the test runs.
fn forward(listener: TcpListener, target: SocketAddr, tls: TlsAcceptor) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let Ok(mut inside) = tls.accept(stream).await else { return };
                let Ok(mut outside) = TcpStream::connect(target).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
}

fn mcp(url: &str, ca_file: Option<PathBuf>) -> Result<Vec<ListedTool>, String> {
    let server = ServerConfig {
        bearer_from: Some("PATH".into()),
        ca_file,
        ..ServerConfig::new(format!("{url}/mcp"))
    };
    let start_seconds = Seconds::literal(10.0);
    let config = McpConfig { server: Some(server), start_seconds, ..McpConfig::default() };
    let resources = Resources::default();
    let mut surroundings =
        ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
    ToolEntry::new("mcp", config).start(&mut surroundings)
}

#[test]
fn an_mcp_server_is_believed_by_the_authority_of_a_file() {
    let authority = Authority::new();
    let script = checkout("crates/tools/src/mcp/hostile.py");
    let mut command = Command::new("python3");
    command.arg(script).arg("http").arg(authority.folder.path());
    // the token that it wants to be sent
    command.arg(std::env::var("PATH").unwrap()).stdout(Stdio::piped());
    let mut server = Killed(command.spawn().unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let target = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap()));

    let url = authority.proxy(target, &["127.0.0.1"], false);
    let tools = mcp(&url, Some(authority.file())).unwrap();
    let call = ToolCall { name: "say".into(), arguments: serde_json::json!({ "a": "x" }) };
    let id = TrajectoryId::new("test", 0, 0);
    let context = CallContext::new(id, Instant::now() + Duration::from_secs(20));
    let outcome = tools[0].tool.call(&call, &context);
    assert_eq!(outcome.status, CallStatus::Ok, "{outcome:?}");
    assert!(outcome.text.starts_with("say x "), "{outcome:?}");

    let refused = |url: &str, file: Option<PathBuf>| mcp(url, file).err().unwrap();
    let unknown = refused(&url, None);
    let start = format!("`tools.mcp`: {url}/mcp does not greet: its certificate is signed by no");
    assert!(unknown.starts_with(&start), "{unknown}");
    assert!(unknown.contains("\nhint: `ca_file` names a file"), "{unknown}");
    // with a file, its authorities alone are believed
    let other = refused(&url, Some(Authority::new().file()));
    assert!(other.starts_with(&start), "{other}");
    let old = refused(&authority.proxy(target, &["127.0.0.1"], true), Some(authority.file()));
    assert!(old.ends_with("its certificate has expired"), "{old}");
    let named = authority.proxy(target, &["elsewhere.example"], false);
    let named = refused(&named, Some(authority.file()));
    assert!(named.contains("its certificate is for another name"), "{named}");
    let plain = refused(&format!("https://{target}"), Some(authority.file()));
    assert!(plain.contains("what it answers is no TLS\nhint: "), "{plain}");
}

/// Answers greetings and calls of the protocol of `docs/outside.md`.
fn answering() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = Vec::new();
            let mut piece = [0; 4096];
            while !asked.ends_with(b"}") {
                match stream.read(&mut piece) {
                    Ok(count @ 1..) => asked.extend_from_slice(&piece[..count]),
                    _ => break,
                }
            }
            let asked = String::from_utf8(asked).unwrap();
            let Some((_, body)) = asked.split_once("\r\n\r\n") else { continue };
            let request: serde_json::Value = serde_json::from_str(body).unwrap();
            let answer = serde_json::json!({ "id": request["id"], "text": "12" }).to_string();
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close");
            let _ = stream.write_all(format!("{head}\r\n\r\n{answer}").as_bytes());
        }
    });
    address
}

#[test]
fn a_server_of_calls_and_rewards_is_believed_by_the_authority_of_a_file() {
    let authority = Authority::new();
    let url = authority.proxy(answering(), &["127.0.0.1"], false);
    let start = |ca_file: Option<PathBuf>| {
        let server = ServerConfig { ca_file, ..ServerConfig::new(&url) };
        let limits = ServiceLimits { retries: 0, concurrency: 1, ..ServiceLimits::default() };
        Service::start(&Asked::Server(server), &limits, "tool", "test")
    };
    assert!(start(Some(authority.file())).is_ok());
    let unknown = start(None).unwrap_err();
    let said = format!("no answer to the greeting: {url}: its certificate is signed by no");
    assert!(unknown.starts_with(&said), "{unknown}");
    assert!(unknown.contains("\nhint: `ca_file`"), "{unknown}");
}

#[test]
fn an_inference_server_is_believed_by_the_authority_of_a_file() {
    let authority = Authority::new();
    let server = crate::serving::serve(Manners::default());
    let target = server.url().strip_prefix("http://").unwrap().parse().unwrap();
    let url = authority.proxy(target, &["127.0.0.1"], false);
    let probed = |url: &str, ca_file: Option<PathBuf>| {
        let config = serde_json::json!({ "urls": [url], "ca_file": ca_file });
        let config = serde_json::from_value(config).unwrap();
        let needs = Needs { vocab_size: 200, updates: Some(false) };
        let found = Servers::probe(Protocol::Vllm, &config, &needs);
        found.map(|servers| servers.longest()).map_err(|error| error.to_string())
    };
    assert_eq!(probed(&url, Some(authority.file())), Ok(200));
    let unknown = probed(&url, None).unwrap_err();
    assert!(unknown.contains("its certificate is signed by no authority"), "{unknown}");
    assert!(unknown.contains("\nhint: `ca_file`"), "{unknown}");
    let needless = probed(&server.url(), Some(authority.file())).unwrap_err();
    assert!(
        needless.starts_with("`generator.ca_file`: no server is asked by `https`"),
        "{needless}"
    );
}

#[test]
fn an_openenv_server_is_played_by_wss() {
    let authority = Authority::new();
    let plain = crate::openenv::sums_server();
    let target = plain.strip_prefix("http://").unwrap().parse().unwrap();
    let url = authority.proxy(target, &["127.0.0.1"], false);
    let built = |url: &str, ca_file: Option<PathBuf>| {
        let config = OpenEnvConfig {
            url: url.into(),
            ca_file,
            observation: Some("text".into()),
            train: 3,
            validation: 1,
            test: 1,
            tools: false,
            ..OpenEnvConfig::default()
        };
        let objectives = &paretopo_environments::usual_objectives()[..1];
        let chosen = environment("openenv", config);
        ToolEnvironment::build(&chosen, &[], objectives, &Resources::default(), &mut ())
            .map_err(|error| error.to_string())
    };
    for url in [url.clone(), url.replace("https", "wss")] {
        let environment = built(&url, Some(authority.file())).unwrap();
        let partner = environment.partner().unwrap();
        let task = &environment.tasks(Split::Train)[2];
        assert_eq!(task.question, "What is 12+5?");
        let id = TrajectoryId::new("test", 2, 0);
        partner.begin(task, &id);
        let context = CallContext::new(id.clone(), Instant::now() + Duration::from_secs(20));
        // longer than sessions go without being looked at
        std::thread::sleep(Duration::from_secs(5));
        let reply = partner.answer("17", &context);
        assert!(reply.done && reply.error.is_none(), "{reply:?}");
        assert_eq!(reply.rewards.get("reward"), Some(1.0));
        partner.end(&id);
    }
    let unknown = built(&url, None).err().unwrap();
    let said =
        format!("`environment.url`: {url}/schema: its certificate is signed by no authority");
    assert!(unknown.starts_with(&said), "{unknown}");
    assert!(unknown.contains("\nhint: `ca_file`"), "{unknown}");
}
