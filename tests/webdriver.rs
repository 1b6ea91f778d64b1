//! A browser without a window, driven by the WebDriver protocol (W3C): as much of it as the tests of
//! the page need, over `chromedriver`'s HTTP.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long something on a page is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A session of Chromium, which ends with this.
pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
}

impl Browser {
    pub(crate) fn open() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("successfully on port ").map(|(_, port)| port.to_owned())
            })
            .expect("chromedriver says its port");
        let port: u16 = port.trim_end_matches('.').parse().unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(120)))
            .http_status_as_error(false)
            .build()
            .into();
        let root = format!("http://127.0.0.1:{port}/session");
        // tests may run as root in a container, where Chromium's own sandbox does not work
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"];
        let options = json!({ "args": arguments });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let capabilities = json!({ "capabilities": { "alwaysMatch": wanted } });
        let mut browser = Self { driver, agent, session: root.clone() };
        let opened = browser.post(&root, &capabilities);
        let id = opened["sessionId"].as_str().unwrap_or_else(|| panic!("{opened}"));
        browser.session = format!("{root}/{id}");
        browser
    }

    fn post(&self, address: &str, body: &Value) -> Value {
        let mut response = self.agent.post(address).send_json(body).unwrap();
        let answer: Value = response.body_mut().read_json().unwrap();
        answer["value"].clone()
    }

    pub(crate) fn go(&self, address: &str) {
        let answer = self.post(&format!("{}/url", self.session), &json!({ "url": address }));
        assert!(answer.is_null(), "{answer}");
    }

    /// What a script returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.post(&format!("{}/execute/sync", self.session), &body)
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn until(&self, expression: &str) {
        let began = Instant::now();
        loop {
            let found = self.script(&format!("return Boolean({expression})"));
            if found == json!(true) {
                return;
            }
            if began.elapsed() > PATIENCE {
                let shown = self.script("return document.body.innerText.slice(0, 3000)");
                panic!("`{expression}` is {found} on the page\n{}", shown.as_str().unwrap_or(""));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The text of what a selector finds first; empty where it finds nothing.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.innerText ?? ''");
        self.script(&script).as_str().unwrap_or_default().to_owned()
    }

    /// What the browser complained about: errors of scripts, what the page's policy refused.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let body = json!({ "type": "browser" });
        let logged = self.post(&format!("{}/se/log", self.session), &body);
        let entries = logged.as_array().into_iter().flatten();
        entries.map(|entry| entry["message"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
