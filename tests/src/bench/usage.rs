//! What a process uses, seen from outside and for every process in the same way: `/proc`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};

/// How often CPU time is read: five reads for two steps of what is read.
const EVERY: Duration = Duration::from_millis(5);
/// Steps of CPU time in a second. Linux shows all programs 100, whatever it counts with itself.
const STEPS: f64 = 100.0;

/// A process, or one thread of it, that is being watched.
#[derive(Debug)]
pub struct Usage {
    /// Its folder in `/proc`.
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

/// What was seen of a process.
#[derive(Clone, Debug)]
pub struct Seen {
    samples: Vec<Sample>,
    /// Its highest resident set in MB (1024² bytes).
    pub peak_mb: f64,
}

/// CPU seconds, user and system of all threads, at a time in milliseconds since the epoch.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time: f64,
    cpu: f64,
}

impl Usage {
    /// Begins.
    pub fn watch(pid: u32) -> Self {
        Self::watch_in(PathBuf::from(format!("/proc/{pid}")))
    }

    /// Watches one thread of a process, by the first 15 bytes of its name.
    ///
    /// # Errors
    /// The process has no such thread.
    pub fn watch_thread(pid: u32, name: &str) -> Result<Self> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))?;
        let named =
            |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
        let found = tasks.flatten().map(|task| task.path()).find(named);
        found.map(Self::watch_in).with_context(|| format!("process {pid} has no thread `{name}`"))
    }

    fn watch_in(folder: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, stat) = (Arc::clone(&stop), folder.join("stat"));
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            loop {
                // Looked at before the sample: the last one must be younger than whatever ended the watch.
                let last = stopped.load(Ordering::Relaxed);
                samples.extend(cpu(&stat).map(|cpu| Sample { time: now(), cpu }));
                if last {
                    return samples;
                }
                std::thread::sleep(EVERY);
            }
        });
        Self { folder, stop, thread }
    }

    /// Ends; the process must still be there.
    ///
    /// # Errors
    /// It is not, or this is no Linux.
    pub fn end(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.thread.join().map_err(|_| anyhow!("the thread that watches has panicked"))?;
        ensure!(!samples.is_empty(), "there is no {}/stat; hint: the benchmark needs Linux", self.folder.display());
        let status = std::fs::read_to_string(self.folder.join("status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().context("VmHWM")?;
        Ok(Seen { samples, peak_mb: kilobytes / 1024.0 })
    }
}

impl Seen {
    /// The part of a CPU that it had, between two times in milliseconds since the epoch: 1.0 is all of one. Of a time before
    /// the first sample nothing is known, and so it is left out.
    ///
    /// # Errors
    /// It was not watched to the end, or only in its last moment.
    pub fn share_between(&self, start: f64, end: f64) -> Result<f64> {
        let start = self.samples.first().map_or(start, |first| first.time.next_up().max(start));
        ensure!(start < end, "it was not watched while it counted");
        Ok(self.cpu_between(start, end)? * 1000.0 / (end - start))
    }

    /// CPU seconds between two times in milliseconds since the epoch.
    ///
    /// # Errors
    /// It was not watched for all of that time.
    pub fn cpu_between(&self, start: f64, end: f64) -> Result<f64> {
        Ok(self.cpu_at(end)? - self.cpu_at(start)?)
    }

    /// Between two samples CPU time is taken to have gone by evenly.
    fn cpu_at(&self, time: f64) -> Result<f64> {
        let after = self.samples.partition_point(|sample| sample.time < time);
        let (before, after) = (self.samples.get(after.wrapping_sub(1)), self.samples.get(after));
        let (before, after) = before.zip(after).context("the process was not watched at that time")?;
        Ok(before.cpu + (after.cpu - before.cpu) * (time - before.time) / (after.time - before.time))
    }
}

/// CPU seconds so far.
fn cpu(stat: &Path) -> Option<f64> {
    cpu_in(&std::fs::read_to_string(stat).ok()?)
}

fn cpu_in(stat: &str) -> Option<f64> {
    // The program's name stands in brackets and may have spaces and brackets itself.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / STEPS)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_brackets() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 9 0 100 1 2";
        assert_eq!(cpu_in(stat), Some(2.0));
        assert_eq!(cpu_in("7 (a"), None);
    }

    #[test]
    fn cpu_time_between_two_samples_goes_by_evenly_and_outside_of_them_is_unknown() {
        let samples = [(1000.0, 1.0), (1010.0, 1.5), (1020.0, 1.5)].map(|(time, cpu)| Sample { time, cpu }).to_vec();
        let seen = Seen { samples, peak_mb: 0.0 };
        assert!((seen.cpu_between(1005.0, 1015.0).unwrap() - 0.25).abs() < 1e-9);
        assert!(seen.cpu_between(999.0, 1015.0).is_err());
        assert!(seen.cpu_between(1005.0, 1021.0).is_err());
    }
}
