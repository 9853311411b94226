//! A process in a pod as strict people write it: folders that cannot be written, secrets with a group, volumes that anybody
//! may write, files behind links that are replaced.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options, binary, guest};
use wasmill_tests::ports;
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::shared;
use wasmill_tests::signal::{Signal, send, wait};
use wasmill_tests::versions::Version;

use crate::hot_swap::{events, serves, wait_event};

const SOON: Duration = Duration::from_secs(60);
/// A user and a group that no machine knows.
const NOBODY: u32 = 54_321;
const GROUP: u32 = 54_322;

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}

/// Whether this test may become another user, as root may.
fn is_root(folder: &Path) -> bool {
    std::os::unix::fs::chown(folder, Some(NOBODY), Some(GROUP)).is_ok()
}

#[test]
fn a_hardened_pod_runs_and_says_what_it_cannot_keep_and_which_key_to_set() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "hardened", 1)?;
    // Outside of the user's own folders, which others may not enter.
    let folder = open_folder()?;
    let root = folder.path();
    let (conf, secret, volume, home) = (root.join("conf"), root.join("secret"), root.join("cache"), root.join("home"));
    for path in [&conf, &secret, &volume, &home] {
        std::fs::create_dir(path)?;
    }
    std::fs::copy(binary()?, root.join("wasmill"))?;
    std::fs::copy(guest("echo")?, conf.join("handler.wasm"))?;
    let port = ports::free()?;
    let table = case.table("echo", "")?.replace(&guest("echo")?, "handler.wasm");
    let write = |admin: &str| -> Result<()> {
        let bootstrap = shared.broker.bootstrap();
        let text = format!(
            "[kafka]\nbootstrap = \"{bootstrap}\"\n[admin]\nlisten = \"0.0.0.0:{port}\"\nallow_remote = true\n{admin}\n{table}"
        );
        Ok(std::fs::write(conf.join("wasmill.toml"), text)?)
    };
    std::fs::write(secret.join("token"), "a token that is long enough\n")?;
    mode(&secret.join("token"), 0o440)?;
    mode(&volume, 0o777)?;
    let as_another = is_root(&home);
    if as_another {
        std::os::unix::fs::chown(secret.join("token"), Some(0), Some(GROUP))?;
        std::os::unix::fs::chown(&home, Some(0), Some(0))?;
    }
    for (admin, warned) in
        [(format!("token_file = \"{}\"", secret.join("token").display()), false), (String::new(), true)]
    {
        write(&admin)?;
        for path in [&conf, &home] {
            mode(path, 0o555)?;
        }
        let log = root.join("log");
        let mut command = Command::new(root.join("wasmill"));
        command.arg("run").arg(conf.join("wasmill.toml")).current_dir("/").env_clear();
        command.env("HOME", &home).env("WASMILL_CACHE", volume.join("wasmill"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        if as_another {
            command.uid(NOBODY).gid(GROUP);
        }
        let mut child = command.spawn()?;
        let ready = by_ip(port, &mut child, &log);
        shared.eye.produce(&case.input, &[Message::new("k", "v").on(0)])?;
        let count = shared.eye.end_offsets(&case.input)?[&0];
        let committed = shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, count)]), SOON);
        send(&mut child, Signal::Term)?;
        let ended = wait(&mut child, SOON);
        mode(&conf, 0o755)?;
        let log = std::fs::read_to_string(&log)?;
        ready.with_context(|| log.clone())?;
        committed.with_context(|| log.clone())?;
        ensure!(ended?.success(), "{log}");
        // Anybody could put another folder in the place of the cache's.
        ensure!(log.contains("hint: set WASMILL_CACHE to a folder"), "{log}");
        if as_another {
            ensure!(log.contains("the history of swaps is not written") && log.contains("hint: set state to"), "{log}");
            let token = log.contains("the admin token cannot be kept") && log.contains("hint: set admin.token_file");
            ensure!(token == warned, "{log}");
        }
    }
    Ok(())
}

/// A folder that any user may enter: not below the target folder, which may be in the home of one.
fn open_folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    mode(folder.path(), 0o755)?;
    Ok(folder)
}

/// As a kubelet probes: by the address, whatever the Host.
fn by_ip(port: u16, child: &mut std::process::Child, log: &Path) -> Result<()> {
    use std::io::{Read as _, Write as _};
    let end = Instant::now() + SOON;
    loop {
        let ask = || -> Result<String> {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 10.1.2.3:9464\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask();
        if answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            return Ok(());
        }
        let log = || std::fs::read_to_string(log).unwrap_or_default();
        ensure!(child.try_wait()?.is_none(), "it ended: {}", log());
        ensure!(Instant::now() < end, "not ready: {answer:?}\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A folder as the kubelet mounts a ConfigMap: files are links through `..data`, which is replaced.
struct Mounted<'a> {
    folder: &'a Path,
    number: u32,
}

impl Mounted<'_> {
    fn update(&mut self, handler: &Path) -> Result<()> {
        self.number += 1;
        let (before, now) = (format!("..{}", self.number - 1), format!("..{}", self.number));
        std::fs::create_dir(self.folder.join(&now))?;
        std::fs::copy(handler, self.folder.join(&now).join("handler.wasm"))?;
        std::fs::write(self.folder.join(&now).join("other"), &now)?;
        symlink(&now, self.folder.join("..data_tmp"))?;
        std::fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data"))?;
        if self.number == 1 {
            return Ok(symlink("..data/handler.wasm", self.folder.join("handler.wasm"))?);
        }
        Ok(std::fs::remove_dir_all(self.folder.join(before))?)
    }
}

#[test]
fn a_config_map_that_is_updated_is_swapped_in_once_and_not_when_another_file_of_it_changed() -> Result<()> {
    let (shared, folder, mounted) = (shared()?, Scratch::new("mounted")?, Scratch::new("config-map")?);
    let case = Case::new(&shared.eye, "mounted", 1)?;
    let (old, new) = (Version::write(folder.path(), "stamp", 0)?, Version::write(folder.path(), "stamp", 1)?);
    let last = Version::write(folder.path(), "stamp", 2)?;
    let mut map = Mounted { folder: mounted.path(), number: 0 };
    map.update(&old.path)?;
    let handler = mounted.path().join("handler.wasm").display().to_string();
    let table = case.table("echo", "swap.watch = true")?.replace(&guest("echo")?, &handler);
    let mut mill = Mill::start(&Options::new(&shared.broker.bootstrap(), table))?;
    // The same handler under other links: nothing is swapped, of which the next event is the proof.
    map.update(&old.path)?;
    map.update(&new.path)?;
    wait_event(&mill, &case, "swap")?;
    ensure!(serves(&mill)? == new.digest);
    map.update(&last.path)?;
    let end = Instant::now() + SOON;
    while serves(&mill)? != last.digest {
        ensure!(Instant::now() < end, "the second update is not swapped in: {}", mill.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(events(&mill, &case)? == ["start", "swap", "swap"], "{:?}", events(&mill, &case)?);
    ensure!(mill.stop()?.success());
    Ok(())
}
