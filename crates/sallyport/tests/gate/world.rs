//! A gate of its own for each test: a fresh data folder, a free port, a scriptable upstream.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Options, Upstream};

use crate::client::{Answer, Connection, request};

/// The upstream key of all tests: it must never be seen by a client.
pub(crate) const UPSTREAM_KEY: &str = "sk-upstream-0123456789abcdefghijklmnopqrstuvwxyz-secret";

/// A running gate.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) admin_key: String,
    pub(crate) project_id: String,
    pub(crate) project_key: String,
    child: Option<Child>,
}

impl World {
    /// A gate in front of an upstream, with the usual settings.
    pub(crate) fn new() -> World {
        World::with("")
    }

    /// A gate with lines of configuration.
    pub(crate) fn with(config: &str) -> World {
        let upstream = Upstream::start(Options { key: Some(UPSTREAM_KEY.into()), ..Options::default() });
        let url = upstream.url();
        World::start(upstream, config, &[("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", &url)])
    }

    /// A gate with the embedded model only.
    pub(crate) fn local(config: &str) -> World {
        World::start(Upstream::start(Options::default()), config, &[])
    }

    pub(crate) fn start(upstream: Upstream, config: &str, environment: &[(&str, &str)]) -> World {
        World::start_in(None, &[], upstream, config, environment)
    }

    /// As [`World::start`], with its data in a folder of the caller's, and behind a program that becomes the gate.
    pub(crate) fn start_in(
        data: Option<&Path>,
        launcher: &[&str],
        upstream: Upstream,
        config: &str,
        environment: &[(&str, &str)],
    ) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("sallyport.toml"), patient(config)).expect("written");
        if let Some(data) = data {
            std::os::unix::fs::symlink(data, folder.path().join("data")).expect("a link");
        }
        let (child, address) = spawn(folder.path(), launcher, environment);
        let text = std::fs::read_to_string(folder.path().join("boot.json")).expect("the bootstrap file");
        let boot: Value = serde_json::from_str(&text).expect("JSON");
        let field = |name: &str| boot[name].as_str().expect("a text").to_owned();
        World {
            upstream,
            address,
            admin_key: field("admin_key"),
            project_id: field("project_id"),
            project_key: field("project_key"),
            folder,
            child: Some(child),
        }
    }

    /// Ends the gate with a signal and starts it again on the same data.
    pub(crate) fn restart(&mut self, signal: &str) {
        self.stop(signal);
        self.resume();
    }

    /// Starts a stopped gate again.
    pub(crate) fn resume(&mut self) {
        let url = self.upstream.url();
        let (child, address) = spawn(
            self.folder.path(),
            &[],
            &[("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", &url)],
        );
        (self.child, self.address) = (Some(child), address);
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("running").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn stop(&mut self, signal: &str) {
        self.signal(signal);
        self.child.take().expect("running").wait().expect("ended");
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// Sends one request with a key.
    pub(crate) fn call(&self, key: &str, method: &str, target: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {key}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        self.raw(&request(method, target, &headers, body.as_bytes()))
    }

    /// A data-plane POST with the project's key.
    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.call(&self.project_key, "POST", target, body)
    }

    /// Sends bytes and reads one answer.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut connection = self.connect();
        connection.send(bytes);
        connection.answer().unwrap_or_else(|| panic!("no answer; the gate said:\n{}", self.diagnostics()))
    }

    /// Sends a POST with the project's key and headers on top, and leaves the answer to be read, or not.
    pub(crate) fn begin(&self, target: &str, body: &Value, more: &[(&str, &str)]) -> Connection {
        let bearer = format!("Bearer {}", self.project_key);
        let headers = [&[("Authorization", bearer.as_str()), ("Content-Type", "application/json")], more].concat();
        let mut connection = self.connect();
        connection.send(&request("POST", target, &headers, body.to_string().as_bytes()));
        connection
    }

    /// The same, with its answer.
    pub(crate) fn post_with(&self, target: &str, body: &Value, more: &[(&str, &str)]) -> Answer {
        self.begin(target, body, more).answer().expect("an answer")
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// A new project with a key: its id, the key.
    pub(crate) fn project(&self, name: &str) -> (String, String) {
        let made =
            self.call(&self.admin_key, "POST", "/v1/organization/projects", &serde_json::json!({"name": name})).json();
        let id = made["id"].as_str().expect("an id").to_owned();
        let key = self.key(&id, "first");
        (id, key["value"].as_str().expect("a secret").to_owned())
    }

    /// A new key of a project, as the API shows it once.
    pub(crate) fn key(&self, project: &str, name: &str) -> Value {
        let path = format!("/v1/organization/projects/{project}/api_keys");
        self.call(&self.admin_key, "POST", &path, &serde_json::json!({"name": name})).json()
    }

    pub(crate) fn diagnostics(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// The request log so far, once it has so many lines.
    pub(crate) fn log_lines(&self, at_least: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let text = std::fs::read_to_string(self.folder.path().join("stdout")).unwrap_or_default();
            let lines: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
            if lines.len() >= at_least {
                return lines;
            }
            assert!(Instant::now() < deadline, "the log has {} lines: {text}", lines.len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts the binary on a data folder and waits until it says where it listens.
fn spawn(folder: &Path, launcher: &[&str], environment: &[(&str, &str)]) -> (Child, SocketAddr) {
    let file =
        |name: &str| std::fs::OpenOptions::new().create(true).append(true).open(folder.join(name)).expect("a file");
    let seen = std::fs::metadata(folder.join("stderr")).map_or(0, |data| data.len());
    let words: Vec<&str> = launcher.iter().copied().chain([env!("CARGO_BIN_EXE_sallyport")]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().envs(environment.iter().copied());
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", "info"]);
    command.arg("--config").arg(folder.join("sallyport.toml"));
    command.arg("--data").arg(folder.join("data")).arg("--bootstrap-json").arg(folder.join("boot.json"));
    let mut child =
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).spawn().expect("the gate starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read(folder.join("stderr")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[usize::try_from(seen).expect("small").min(text.len())..]).into_owned();
        let open = text.split("Sallyport is open at ").nth(1).and_then(|rest| rest.split('\n').next());
        let address = open.and_then(|url| url.split("://").nth(1));
        if let Some(address) = address.and_then(|address| address.trim().parse().ok()) {
            return (child, address);
        }
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none() && Instant::now() < deadline, "the gate did not start: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The configuration, with answers that wait for their verdicts however busy the machine is, where it does not say else.
fn patient(config: &str) -> String {
    const WAIT: &str = "[guards]\nanswer_wait_max = 60\n";
    match config {
        _ if config.contains("answer_wait_max") => config.to_owned(),
        _ if config.contains("[guards]\n") => config.replace("[guards]\n", WAIT),
        _ => format!("{config}\n{WAIT}"),
    }
}
