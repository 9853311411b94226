//! A registry of the test's own, on loopback, which can be stopped and started again with what it holds.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::{Mutex, MutexGuard};

use crate::eye::{guard, unguard};
use crate::ports;
use crate::scratch::{Scratch, tail};

const START: Duration = Duration::from_secs(30);

/// The user of [`Options::users`], and the password.
pub const USER: (&str, &str) = ("robot", "pass word");
/// Its line in a file of htpasswd's, by bcrypt.
const USERS: &str = "robot:$2b$05$abcdefghijklmnopqrstuuIt/9/tGzLcigNq/.RWIDjeEVR30RSf.\n";

/// What kind of registry.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only [`USER`] may push and pull.
    pub users: bool,
    /// Where it listens, instead of 127.0.0.1.
    pub host: Option<String>,
    /// Certificate and key in PEM: it speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// A registry. It ends when this is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Mutex<Option<Child>>,
    address: SocketAddr,
    folder: Scratch,
}

impl Registry {
    /// Starts one and waits until it takes connections.
    ///
    /// # Errors
    /// It cannot be installed, or does not start; the end of its log is part of the message.
    pub fn start(options: &Options) -> Result<Self> {
        let folder = Scratch::new("registry")?;
        let host = options.host.as_deref().unwrap_or("127.0.0.1");
        let address: SocketAddr = format!("{host}:{}", ports::free()?).parse()?;
        let path = |name: &str| folder.path().join(name);
        let mut config = format!(
            "version: 0.1\nlog: {{ level: warn, accesslog: {{ disabled: false }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {:?} }} }}\nhttp:\n  addr: {address}\n  secret: test\n",
            path("data")
        );
        if let Some((certificate, key)) = &options.tls {
            config += &format!("  tls: {{ certificate: {certificate:?}, key: {key:?} }}\n");
        }
        if options.users {
            std::fs::write(path("users"), USERS)?;
            config += &format!("auth: {{ htpasswd: {{ realm: test, path: {:?} }} }}\n", path("users"));
        }
        std::fs::write(path("config.yml"), config)?;
        let registry = Self { child: Mutex::new(None), address, folder };
        registry.start_again()?;
        Ok(registry)
    }

    /// Starts it on the same port with what it held.
    ///
    /// # Errors
    /// It runs already, or does not start.
    pub fn start_again(&self) -> Result<()> {
        let mut slot = self.child();
        if slot.is_some() {
            bail!("the registry is running");
        }
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(wasmill_setup::registry::install()?);
        command.arg("serve").arg(self.folder.path().join("config.yml")).stdin(Stdio::null());
        let mut child = command.stdout(log.try_clone()?).stderr(log).spawn().context("cannot start the registry")?;
        guard(child.id())?;
        let end = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("the registry ended with {status}\n{}", tail(&self.log(), 20));
            }
            if Instant::now() > end {
                child.kill().ok();
                bail!("the registry does not listen\n{}", tail(&self.log(), 20));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        *slot = Some(child);
        Ok(())
    }

    /// Ends it. What it holds is kept.
    pub fn stop(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().ok();
            child.wait().ok();
            unguard(child.id());
        }
    }

    /// `host:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `oci://host:port/` and the rest.
    pub fn reference(&self, rest: &str) -> String {
        format!("oci://{}/{rest}", self.address)
    }

    /// The file in which it holds a blob, or a manifest, by its digest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let digits = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&digits[..2]).join(digits).join("data")
    }

    /// Takes a tag away.
    ///
    /// # Errors
    /// There is no such tag.
    pub fn forget(&self, name: &str, tag: &str) -> Result<()> {
        let repositories = self.folder.path().join("data/docker/registry/v2/repositories");
        let tag = repositories.join(name).join("_manifests/tags").join(tag);
        std::fs::remove_dir_all(&tag).with_context(|| format!("no {}", tag.display()))
    }

    /// Puts a blob there, and returns its digest.
    ///
    /// # Errors
    /// It is refused.
    pub fn upload(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let begun = ureq::post(format!("http://{}/v2/{name}/blobs/uploads/", self.address)).send_empty()?;
        let place = begun.headers().get("location").context("no place for an upload")?.to_str()?.to_owned();
        let digest = format!("sha256:{}", sha256(bytes));
        let mark = if place.contains('?') { '&' } else { '?' };
        ureq::put(format!("{place}{mark}digest={digest}")).send(bytes)?;
        Ok(digest)
    }

    /// Puts a manifest there.
    ///
    /// # Errors
    /// It is refused.
    pub fn put_manifest(&self, name: &str, tag: &str, manifest: &serde_json::Value) -> Result<()> {
        let kind = manifest["mediaType"].as_str().context("a manifest has a media type")?;
        let put = ureq::put(format!("http://{}/v2/{name}/manifests/{tag}", self.address));
        put.header("content-type", kind).send(manifest.to_string())?;
        Ok(())
    }

    /// What it wrote: among others a line for each request.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("registry.log")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// In hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    openssl::sha::sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes docker's configuration with a user and a password for a registry into a folder.
///
/// # Errors
/// It cannot be written.
pub fn docker_login(folder: &Path, registry: &str, (user, password): (&str, &str)) -> Result<()> {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let config = serde_json::json!({ "auths": { registry: { "auth": auth } } });
    std::fs::create_dir_all(folder)?;
    Ok(std::fs::write(folder.join("config.json"), config.to_string())?)
}
