//! A real Apache Kafka for the tests: jars through Maven, our two small Java programs compiled against them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{cache, exists, files, into_place, output, root};

/// Where Kafka is on this machine.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// The folder of the jars.
    pub libs: PathBuf,
    /// The folder of the compiled `tests/kafka/*.java` and the log configuration.
    pub classes: PathBuf,
}

impl Kafka {
    /// `java` with everything on its class path, quick to start. The caller adds the main class.
    pub fn java(&self, heap_megabytes: u32) -> Command {
        self.java_with(heap_megabytes, &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
    }

    /// The same as Kafka's own scripts would start it: slow at first and fast in the end.
    pub fn java_at_full_speed(&self, heap_megabytes: u32) -> Command {
        self.java_with(heap_megabytes, &["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"])
    }

    fn java_with(&self, heap_megabytes: u32, flags: &[&str]) -> Command {
        let mut java = Command::new("java");
        java.arg(format!("-Xmx{heap_megabytes}m")).args(flags);
        java.arg("-XX:+ExitOnOutOfMemoryError").arg("-cp").arg(self.class_path());
        java
    }

    fn class_path(&self) -> String {
        format!("{}:{}/*", self.classes.display(), self.libs.display())
    }
}

/// Makes Kafka available, fetching and compiling only what is missing.
///
/// # Errors
/// Java or Maven is missing, the jars cannot be fetched, or the sources do not compile.
pub fn install() -> Result<Kafka> {
    let sources = root().join("tests/kafka");
    let pom = std::fs::read_to_string(sources.join("pom.xml")).context("cannot read tests/kafka/pom.xml")?;
    let version = version(&pom)?;
    let home = cache()?.join(format!("kafka-{version}-{:08x}", fingerprint([pom.as_str()])));
    let libs = home.join("libs");
    if !libs.is_dir() {
        fetch(&sources.join("pom.xml"), version, &libs)?;
    }
    let java = files(&sources, &|path| path.extension().is_some_and(|end| end == "java"));
    let settings = sources.join("log4j2.properties");
    let texts = java.iter().chain([&settings]).map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let classes = home.join(format!("classes-{:08x}", fingerprint(texts.iter().map(String::as_str))));
    if !classes.is_dir() {
        compile(&java, &settings, &libs, &classes)?;
    }
    Ok(Kafka { libs, classes })
}

fn fetch(pom: &Path, version: &str, libs: &Path) -> Result<()> {
    if !exists("mvn") {
        bail!(
            "Maven is missing: it fetches Apache Kafka for the tests; hint: install `maven` with the system's package manager"
        );
    }
    eprintln!("==> fetch Apache Kafka {version} with Maven (about 60 MB, once per machine)");
    into_place(libs, |folder| {
        let mut maven = Command::new("mvn");
        maven.arg("-q").arg("-B").arg("-f").arg(pom).arg("dependency:copy-dependencies");
        maven.arg(format!("-DoutputDirectory={}", folder.display()));
        output(&mut maven).map(drop).context("Maven cannot fetch Apache Kafka")
    })
}

fn compile(sources: &[PathBuf], settings: &Path, libs: &Path, classes: &Path) -> Result<()> {
    if !exists("javac") {
        bail!(
            "javac is missing: the tests need a Java development kit, 17 or later; hint: install `default-jdk-headless` or your system's equivalent"
        );
    }
    into_place(classes, |folder| {
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "-encoding", "UTF-8", "-cp"]).arg(format!("{}/*", libs.display()));
        output(javac.arg("-d").arg(folder).args(sources)).context("cannot compile tests/kafka")?;
        std::fs::copy(settings, folder.join("log4j2.properties"))?;
        Ok(())
    })
}

fn version(pom: &str) -> Result<&str> {
    let (_, rest) = pom.split_once("<kafka.version>").context("tests/kafka/pom.xml has no kafka.version")?;
    Ok(rest.split('<').next().unwrap_or_default())
}

fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a str>) -> u32 {
    let mut hasher = DefaultHasher::new();
    texts.into_iter().for_each(|text| text.hash(&mut hasher));
    (hasher.finish() >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_the_pom() {
        let pom = std::fs::read_to_string(root().join("tests/kafka/pom.xml")).unwrap();
        assert!(version(&pom).unwrap().split('.').all(|part| part.parse::<u32>().is_ok()));
        assert!(version("<project/>").is_err());
    }
}
