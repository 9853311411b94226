//! A wasmill process under test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::eye::{guard, unguard};
use crate::ports;
use crate::scratch::{Scratch, tail};
use crate::signal::{Signal, send, wait};

/// How long a process may take until it is ready: the handler is compiled and the group joined.
const START: Duration = Duration::from_secs(60);

/// A pipeline that nobody runs.
const ANY: &str =
    "[pipelines.any]\ntopics = [\"in\"]\ngroup = \"any\"\nhandler = \"any.wasm\"\non_exhausted = \"stop\"\n";

/// The binary under test.
///
/// # Errors
/// It was not built.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("WASMILL_BIN") {
        Some(path) => path.into(),
        None => wasmill_setup::built::wasmill(),
    };
    if !path.is_file() {
        bail!("{} is not there; hint: run `cargo build -p wasmill` first, or `cargo xtask test`", path.display());
    }
    Ok(path)
}

/// The path of a handler of `tests/guests` by its name.
///
/// # Errors
/// It was not built.
pub fn guest(name: &str) -> Result<String> {
    let path = wasmill_setup::guests::file(name);
    if !path.is_file() {
        bail!("{} is not there; hint: run `cargo xtask setup` first, or `cargo xtask test`", path.display());
    }
    Ok(path.display().to_string())
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `[pipelines.NAME]` tables; `[kafka]` and `[admin]` are written for you. Empty: a table that [`once`] needs.
    pub pipelines: String,
    /// Written before the tables: top-level keys.
    pub top: String,
    /// `[kafka] bootstrap`.
    pub bootstrap: String,
    /// More lines of `[kafka]`: see [`Options::property`].
    pub kafka: String,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
    /// Another binary than the one under test.
    pub binary: Option<PathBuf>,
}

impl Options {
    /// Pipelines on a cluster.
    pub fn new(bootstrap: &str, pipelines: impl Into<String>) -> Self {
        Self {
            pipelines: pipelines.into(),
            top: String::new(),
            bootstrap: bootstrap.into(),
            kafka: String::new(),
            environment: Vec::new(),
            binary: None,
        }
    }

    /// With one more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With more lines of `[kafka]`.
    #[must_use]
    pub fn kafka(mut self, lines: &str) -> Self {
        self.kafka.push_str(lines);
        self.kafka.push('\n');
        self
    }

    /// With one more property of `[kafka]`.
    #[must_use]
    pub fn property(self, name: &str, value: &str) -> Self {
        self.kafka(&format!("properties.{name:?} = {value:?}"))
    }

    /// With several: `Person::properties` of `crate::company`.
    #[must_use]
    pub fn properties(self, properties: &[(String, String)]) -> Self {
        properties.iter().fold(self, |options, (name, value)| options.property(name, value))
    }

    fn toml(&self, port: u16) -> String {
        let (top, bootstrap, kafka) = (&self.top, &self.bootstrap, &self.kafka);
        // Commands that only ask for the cluster want a file with a pipeline, too.
        let pipelines = if self.pipelines.is_empty() { ANY } else { &self.pipelines };
        format!(
            "{top}\n[kafka]\nbootstrap = \"{bootstrap}\"\n{kafka}\n[admin]\nlisten = \"127.0.0.1:{port}\"\n\n{pipelines}\n"
        )
    }
}

/// Runs `wasmill WORDS --config FILE` with this configuration, and no process beside it. `input` is its standard input.
///
/// # Errors
/// It cannot be started.
pub fn once(options: &Options, words: &[&str], input: &str) -> Result<Output> {
    use std::io::Write as _;
    let folder = Scratch::new("once")?;
    let file = folder.path().join("wasmill.toml");
    std::fs::write(&file, options.toml(ports::free()?))?;
    let mut command = Command::new(options.binary.clone().map_or_else(binary, Ok)?);
    command.args(words).arg("--config").arg(file).current_dir(folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn().context("cannot start wasmill")?;
    // It may end before it has read anything.
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes()).ok();
    child.wait_with_output().context("wasmill was not waited for")
}

/// A running `wasmill run`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Mill {
    child: Child,
    port: u16,
    folder: Scratch,
    environment: Vec<(String, String)>,
    binary: PathBuf,
}

/// Starts the program in its folder.
fn launch(binary: &Path, folder: &Path, environment: &[(String, String)]) -> Result<Child> {
    let log = File::create(folder.join("wasmill.log"))?;
    let mut command = Command::new(binary);
    command.arg("run").arg(folder.join("wasmill.toml")).current_dir(folder).stdin(Stdio::null());
    command.stdout(File::create(folder.join("wasmill.out"))?).stderr(log);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let child = command.spawn().context("cannot start wasmill")?;
    guard(child.id())?;
    Ok(child)
}

impl Mill {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or was not ready in time; the end of its log is part of the message.
    pub fn start(options: &Options) -> Result<Self> {
        let mut mill = Self::spawn(options)?;
        mill.wait_ready(START)?;
        Ok(mill)
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// The binary is not there.
    pub fn spawn(options: &Options) -> Result<Self> {
        let folder = Scratch::new("mill")?;
        let port = ports::free()?;
        std::fs::write(folder.path().join("wasmill.toml"), options.toml(port))?;
        let binary = options.binary.clone().map_or_else(binary, Ok)?;
        let child = launch(&binary, folder.path(), &options.environment)?;
        Ok(Self { child, port, folder, environment: options.environment.clone(), binary })
    }

    /// Starts it once more after it ended, with the same folder and a new log, and waits until it is ready.
    ///
    /// # Errors
    /// As of [`Mill::start`].
    pub fn start_again(&mut self) -> Result<()> {
        unguard(self.child.id());
        self.child = launch(&self.binary, self.folder.path(), &self.environment)?;
        self.wait_ready(START)
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// The process ended, or was not ready in time.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        loop {
            let answer = self.get("/readyz");
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("wasmill ended with {status} before it was ready\n{}", self.log_end());
            }
            if Instant::now() > end {
                bail!("wasmill was not ready within {timeout:?}: {answer:?}\n{}", self.log_end());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `wanted` holds of the status.
    ///
    /// # Errors
    /// It did not in time; the message has the last status.
    pub fn wait_status(&self, what: &str, timeout: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + timeout;
        loop {
            let status = self.status();
            if let Ok(status) = &status
                && wanted(status)
            {
                return Ok(status.clone());
            }
            if Instant::now() > end {
                bail!("{what}: not within {timeout:?}; status {status:?}\n{}", self.log_end());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until its log has a line with `text`.
    ///
    /// # Errors
    /// It had none in time; the end of its log is part of the message.
    pub fn wait_log(&self, text: &str, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        while !self.log().contains(text) {
            if Instant::now() > end {
                bail!("no line with `{text}` within {timeout:?}\n{}", self.log_end());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Runs `wasmill WORDS` beside it, with its configuration: `status`, `resume`, `pause`, `skip`. Returns what was
    /// printed.
    ///
    /// # Errors
    /// The command failed; what it said is the message.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        let done = self.output(words)?;
        if !done.status.success() {
            bail!("wasmill {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// The same, whatever its exit code.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--config").arg(self.folder.path().join("wasmill.toml")).stdin(Stdio::null());
        command.output().context("cannot start wasmill")
    }

    /// Writes another configuration for it, with the same admin port. It goes on with the old one until it is told.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&self, options: &Options) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join("wasmill.toml"), options.toml(self.port))?)
    }

    /// `/api/v1/status`.
    ///
    /// # Errors
    /// There is no answer, or it is not JSON.
    pub fn status(&self) -> Result<Value> {
        let (code, text) = self.get("/api/v1/status")?;
        serde_json::from_str(&text).with_context(|| format!("the status is not JSON ({code}): {text}"))
    }

    /// `/metrics`, as Prometheus reads it.
    ///
    /// # Errors
    /// There is no answer.
    pub fn metrics(&self) -> Result<String> {
        Ok(self.get("/metrics")?.1)
    }

    /// A metric of one pipeline, the sum over its partitions.
    ///
    /// # Errors
    /// There is no answer, or the metric is none.
    pub fn metric(&self, name: &str, pipeline: &str) -> Result<f64> {
        let (text, label) = (self.metrics()?, format!("pipeline=\"{pipeline}\""));
        let of_pipeline =
            |row: &&str| row.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) && row.contains(&label);
        let values: Vec<f64> =
            text.lines().filter(of_pipeline).filter_map(|row| row.rsplit_once(' ')?.1.parse().ok()).collect();
        if values.is_empty() {
            bail!("no {name} of {pipeline} in:\n{text}");
        }
        Ok(values.iter().sum())
    }

    /// Code and text of a page of the admin port.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let url = self.url(path);
        let request =
            ureq::get(&url).config().http_status_as_error(false).timeout_global(Some(Duration::from_secs(5))).build();
        let mut answer = request.call().with_context(|| format!("no answer from {url}"))?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    }

    /// Code and answer of a call that changes something, made with the process's own token. The body is a component or JSON.
    ///
    /// # Errors
    /// There is no answer, or it is not JSON.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<(u16, Value)> {
        let url = self.url(path);
        let request = ureq::post(&url).header("Authorization", self.bearer()?).config();
        let request = request.http_status_as_error(false).timeout_global(Some(Duration::from_secs(120))).build();
        let mut answer = request.send(body).with_context(|| format!("no answer from {url}"))?;
        Ok((answer.status().as_u16(), answer.body_mut().read_json().with_context(|| format!("{url} answers no JSON"))?))
    }

    /// Code and answer of a page that needs the token.
    ///
    /// # Errors
    /// There is no answer, or it is not JSON.
    pub fn get_private(&self, path: &str) -> Result<(u16, Value)> {
        let url = self.url(path);
        let request = ureq::get(&url).header("Authorization", self.bearer()?).config();
        let request = request.http_status_as_error(false).timeout_global(Some(Duration::from_secs(20))).build();
        let mut answer = request.call().with_context(|| format!("no answer from {url}"))?;
        Ok((answer.status().as_u16(), answer.body_mut().read_json().with_context(|| format!("{url} answers no JSON"))?))
    }

    fn bearer(&self) -> Result<String> {
        let path = self.folder.path().join(".wasmill/admin-token");
        Ok(format!("Bearer {}", std::fs::read_to_string(path).context("no admin token")?.trim()))
    }

    /// Address of a page of the admin port.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        send(&mut self.child, signal)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time; the end of its log is part of the message.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        wait(&mut self.child, timeout).with_context(|| self.log_end())
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::Term)?;
        self.wait(Duration::from_secs(60))
    }

    /// SIGKILL, and its end.
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::Kill)?;
        self.wait(Duration::from_secs(10)).map(drop)
    }

    /// True if it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All of its log so far.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.folder.path().join("wasmill.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Those lines of its log that are JSON.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What it printed to standard output so far.
    pub fn printed(&self) -> String {
        let text = std::fs::read(self.folder.path().join("wasmill.out")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Its folder: configuration, log, whatever a test puts there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps its folder.
    pub fn keep(&mut self) {
        self.folder.keep();
    }

    fn log_end(&self) -> String {
        format!("the end of its log:\n{}", tail(&self.folder.path().join("wasmill.log"), 30))
    }
}

impl Drop for Mill {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        unguard(self.child.id());
        if std::thread::panicking() {
            eprintln!("{}", self.log_end());
        }
    }
}
