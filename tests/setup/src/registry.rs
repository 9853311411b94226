//! A registry for the tests of handlers that are pushed and pulled: the program of Debian's package `docker-registry`,
//! unpacked beside Apache Kafka. Nothing is installed on the machine, and nobody has to be root.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{cache, exists, files, into_place, output};

const PROGRAM: &str = "docker-registry";

/// Makes the registry available; fetches it only if it is missing.
///
/// # Errors
/// It is not on the path, and this is no Debian, or its package cannot be fetched.
pub fn install() -> Result<PathBuf> {
    if exists(PROGRAM) {
        return Ok(PROGRAM.into());
    }
    let folder = cache()?.join(PROGRAM);
    let program = folder.join("usr/bin").join(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    missing_tools(&exists)?;
    eprintln!("==> fetch {PROGRAM} from Debian's archive (5 MB, once per machine)");
    into_place(&folder, |folder| {
        let package = fetch(folder).with_context(|| format!("the package {PROGRAM} cannot be fetched"))?;
        output(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(folder))?;
        std::fs::remove_file(package)?;
        Ok(())
    })?;
    if !program.is_file() {
        bail!("the package {PROGRAM} has no {}", program.display());
    }
    Ok(program)
}

fn missing_tools(exists: &dyn Fn(&str) -> bool) -> Result<()> {
    match ["apt-get", "dpkg-deb"].into_iter().find(|tool| !exists(tool)) {
        Some(tool) => bail!(
            "`{PROGRAM}` is missing, and so is `{tool}`, which would fetch it: the tests push handlers to a registry; hint: \
             build github.com/distribution/distribution and put it on the path as `{PROGRAM}`"
        ),
        None => Ok(()),
    }
}

/// Downloads the package into `folder`: by the package lists of the machine, or, where these are missing or too old, by
/// lists of our own, since those of the machine belong to its owner.
fn fetch(folder: &Path) -> Result<PathBuf> {
    let download = |options: &[String]| output(apt(folder).args(options).args(["download", PROGRAM]));
    if download(&[]).is_err() {
        let state = folder.join("apt");
        let [lists, archives] = [state.join("lists"), state.join("cache")];
        std::fs::create_dir_all(lists.join("partial"))?;
        std::fs::create_dir_all(archives.join("archives/partial"))?;
        let options = [("Dir::State::lists", &lists), ("Dir::Cache", &archives)]
            .map(|(key, path)| format!("-o{key}={}", path.display()));
        output(apt(folder).args(&options).arg("update"))?;
        download(&options)?;
        std::fs::remove_dir_all(state)?;
    }
    let packages = files(folder, &|path| path.extension().is_some_and(|end| end == "deb"));
    packages.into_iter().next().with_context(|| format!("apt-get left no package in {}", folder.display()))
}

fn apt(folder: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    // Root's downloads are made by a user who cannot write here, of which there would be a warning.
    apt.current_dir(folder).env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-oAPT::Sandbox::User=root"]);
    apt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_apt_it_is_said_what_to_do_instead() {
        let text = missing_tools(&|tool| tool == "apt-get").unwrap_err().to_string();
        assert!(text.contains("so is `dpkg-deb`") && text.contains("hint: build github.com/distribution"), "{text}");
        assert!(missing_tools(&|_| true).is_ok());
    }
}
