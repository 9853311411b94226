//! What became of a pipeline's handlers: one line of JSON for each event, in `.wasmill/history/PIPELINE.jsonl` beside
//! wasmill.toml. Nothing depends on it but people, and the answer to whether a restart brought an older handler back.
//! A shadow's report quotes messages, so the file is for its owner alone.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use anyhow::Context as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::answer::{Boundary, Named};

/// Records that are kept in memory, and read when a process starts.
const MAX_RECENT_RECORDS: usize = 200;
/// A file of so many bytes is put aside, in the place of the one that was put aside before.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Of a file that has more, written by somebody else, nothing is read.
const MAX_READ_BYTES: u64 = 64 << 20;
/// Its owner reads and writes it.
const FILE_MODE: u32 = 0o600;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The process started with its configuration's handler.
    Start,
    /// A version took over for all messages.
    Swap,
    /// A version took over for a share of the messages, or a larger one.
    Canary,
    /// A version was put beside the one that serves.
    Shadow,
    /// A shadow has seen what it was to see.
    Report,
    /// A version was watched as long as it was to be, and nothing was found.
    Confirmed,
    /// The version before took over again.
    Rollback,
    /// A version was not let in.
    Refused,
    /// A word of a later version, for whoever asks a process of that version.
    #[serde(untagged)]
    Other(String),
}

impl What {
    /// In a word, as JSON has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Start => "start",
            Self::Swap => "swap",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
            Self::Report => "report",
            Self::Confirmed => "confirmed",
            Self::Rollback => "rollback",
            Self::Refused => "refused",
            Self::Other(word) => word,
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, as RFC 3339 has it.
    pub at: String,
    /// What happened.
    pub what: What,
    /// Who or what asked.
    pub by: String,
    /// The version that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Named>,
    /// The version that it was about.
    pub to: Named,
    /// Why, of a refusal or of a way back; how it went, of a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where each partition passed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Boundary>,
    /// The longest that a lane stood still for it, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// What a shadow would have done otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<serde_json::Value>,
    /// The process.
    pub pid: u32,
}

impl Record {
    /// What happened now.
    pub fn now(what: What, by: &str, from: Option<Named>, to: Named) -> Self {
        Self {
            at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            what,
            by: by.to_owned(),
            from,
            to,
            reason: None,
            partitions: Vec::new(),
            pause_us: None,
            report: None,
            pid: std::process::id(),
        }
    }

    /// The digest of the version that served from then on, if this changed it.
    fn served(&self) -> Option<&str> {
        matches!(self.what, What::Start | What::Swap | What::Rollback).then_some(self.to.digest.as_str())
    }
}

/// A pipeline's history.
pub struct History {
    path: Option<PathBuf>,
    recent: Mutex<VecDeque<Record>>,
    /// It has been told that the file is not written.
    told: AtomicBool,
}

impl History {
    /// Reads what there is of this pipeline in `folder`. `None`: nothing is kept behind the process.
    pub fn open(folder: Option<&Path>, pipeline: &str) -> Self {
        let path = folder.map(|folder| folder.join(format!("{pipeline}.jsonl")));
        let text = path.as_ref().map(|path| read(path)).unwrap_or_default();
        let lines = text.lines().rev().take(MAX_RECENT_RECORDS);
        // A line that was cut by a crash, or that a later version wrote, is nobody's concern.
        let known = |record: &Record| !matches!(record.what, What::Other(_));
        let recent: Vec<Record> = lines.filter_map(|line| serde_json::from_str(line).ok()).filter(known).collect();
        Self { path, recent: Mutex::new(recent.into_iter().rev().collect()), told: AtomicBool::new(false) }
    }

    /// The digest of the version that served last.
    pub fn served_last(&self) -> Option<Named> {
        self.recent.lock().iter().rev().find(|record| record.served().is_some()).map(|record| record.to.clone())
    }

    /// The events, the latest last.
    pub fn recent(&self) -> Vec<Record> {
        self.recent.lock().iter().cloned().collect()
    }

    /// Adds one. A disk that takes nothing is told of and changes nothing else.
    pub fn add(&self, record: Record) {
        let mut recent = self.recent.lock();
        if recent.len() == MAX_RECENT_RECORDS {
            recent.pop_front();
        }
        if let Some(path) = &self.path
            && let Err(error) = append(path, &record)
        {
            let first = !self.told.swap(true, Ordering::Relaxed);
            if first {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the history of swaps is not written, and a restart does not know it; hint: set state to a folder that \
                     can be written"
                );
            }
        }
        recent.push_back(record);
    }
}

/// What is in a history's file; nothing if it cannot be read, which is told of unless there is none.
fn read(path: &Path) -> String {
    match wasmill_config::file::read_text(path, MAX_READ_BYTES) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the history of swaps is not read");
            }
            String::new()
        }
    }
}

fn append(path: &Path, record: &Record) -> anyhow::Result<()> {
    let name = || path.display().to_string();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(name)?;
    }
    if let Ok(meta) = fs::metadata(path) {
        // Opening a pipe would wait for its reader.
        anyhow::ensure!(meta.is_file(), "{} is no regular file", name());
        // Versions before 0600 left files that others can read.
        if meta.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(FILE_MODE)).with_context(name)?;
        }
        if meta.len() > MAX_FILE_BYTES {
            fs::rename(path, path.with_extension("jsonl.1")).with_context(name)?;
        }
    }
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    let mut file: File = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path).with_context(name)?;
    // In one write: a second process with the same configuration appends to the same file.
    file.write_all(&line).with_context(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(what: What, digest: &str) -> Record {
        Record::now(what, "test", None, Named { digest: digest.to_owned(), source: "a.wasm".to_owned() })
    }

    #[test]
    fn the_next_process_knows_what_served_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::open(Some(folder.path()), "orders");
        assert_eq!(history.served_last(), None);
        for one in [record(What::Start, "a"), record(What::Swap, "b"), record(What::Refused, "c")] {
            history.add(one);
        }
        history.add(record(What::Other("of-tomorrow".to_owned()), "d"));
        // As a crash would leave it.
        let path = folder.path().join("orders.jsonl");
        let text = fs::read_to_string(&path).expect("a file") + "{\"at\": \"20";
        fs::write(&path, text).expect("a file");
        let next = History::open(Some(folder.path()), "orders");
        assert_eq!(next.served_last().map(|named| named.digest).as_deref(), Some("b"));
        assert_eq!(next.recent().len(), 3);
        assert_eq!(History::open(Some(folder.path()), "other").recent(), []);
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    #[test]
    fn a_history_is_read_by_its_owner_alone_and_so_is_one_of_an_earlier_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("orders.jsonl");
        History::open(Some(folder.path()), "orders").add(record(What::Start, "a"));
        assert_eq!(mode(&path), FILE_MODE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("permissions");
        let history = History::open(Some(folder.path()), "orders");
        history.add(record(What::Swap, "b"));
        assert_eq!((mode(&path), history.recent().len()), (FILE_MODE, 2));
        // What is put aside, too.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("permissions");
        File::options().write(true).open(&path).and_then(|file| file.set_len(MAX_FILE_BYTES + 1)).expect("a file");
        history.add(record(What::Swap, "c"));
        assert_eq!([mode(&path), mode(&path.with_extension("jsonl.1"))], [FILE_MODE; 2]);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_history_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("orders.jsonl");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        let (done, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let history = History::open(Some(folder.path()), "orders");
            history.add(record(What::Start, "a"));
            done.send(history.recent().len())
        });
        assert_eq!(wait.recv_timeout(std::time::Duration::from_secs(30)), Ok(1));
    }

    #[test]
    fn an_event_is_shown_in_the_word_in_which_it_is_written() {
        use What::{Canary, Confirmed, Other, Refused, Report, Rollback, Shadow, Start, Swap};
        let later = Other("of-tomorrow".to_owned());
        for what in [Start, Swap, Canary, Shadow, Report, Confirmed, Rollback, Refused, later] {
            assert_eq!(serde_json::to_value(&what).expect("plain data"), what.as_str());
            assert_eq!(serde_json::from_value::<What>(what.as_str().into()).expect("a word"), what);
        }
    }

    #[test]
    fn as_many_as_are_of_use_stay_in_memory() {
        let history = History::open(None, "orders");
        for number in 0..=MAX_RECENT_RECORDS {
            history.add(record(What::Swap, &number.to_string()));
        }
        let recent = history.recent();
        assert_eq!((recent.len(), recent[0].to.digest.as_str()), (MAX_RECENT_RECORDS, "1"));
    }
}
