//! Room: how much memory this process and its children can still take, by the limits around it.
//!
//! A container whose memory is used up is ended as a whole, lanes and all. So what needs much at once asks first.

use std::fmt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory that is left, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can still be taken.
    pub bytes: u64,
    /// The limit itself.
    pub limit: u64,
    /// Whose limit it is.
    pub whose: Whose,
}

/// Whose limit is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The container's, or whatever else this control group is.
    Group,
    /// That of one process's data: `ulimit -d`, `prlimit --data`.
    Process,
    /// What the machine has available.
    Machine,
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, limit) = (ByteSize(self.bytes), ByteSize(self.limit));
        match self.whose {
            Whose::Group => write!(f, "{left} are left of the {limit} that the container may use"),
            Whose::Process => write!(f, "a process may have {limit} of data (`ulimit -d`)"),
            Whose::Machine => write!(f, "the machine has {left} available"),
        }
    }
}

/// The least room there is for a new process. `None`: nothing is known, as on other systems than Linux.
pub fn for_a_process() -> Option<Room> {
    let data = getrlimit(Resource::Data);
    let process = data.current.map(|limit| Room { bytes: limit, limit, whose: Whose::Process });
    let all = [group(Path::new("/")), process, machine(Path::new("/"))];
    all.into_iter().flatten().min_by_key(|room| room.bytes)
}

/// The limit of the container, and what is left of it.
pub fn of_the_container() -> Option<Room> {
    group(Path::new("/"))
}

/// Raises the limit of open files to what this process may raise it to, and says what it is then. `None`: there is none.
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum || setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        return current;
    }
    maximum
}

/// The nearest limit among the control group and those above it, of either version.
fn group(root: &Path) -> Option<Room> {
    let text = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut found: Vec<Room> = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, limit, used) = match controllers {
            "" => (root.join("sys/fs/cgroup"), "memory.max", "memory.current"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be that of the host, and the group itself is mounted at the top.
        let mut folders: Vec<PathBuf> =
            Path::new(path.trim_start_matches('/')).ancestors().map(|below| base.join(below)).collect();
        folders.push(base);
        found.extend(folders.iter().filter_map(|folder| group_of(folder, limit, used)));
    }
    found.into_iter().min_by_key(|room| room.bytes)
}

fn group_of(folder: &Path, limit: &str, used: &str) -> Option<Room> {
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = number(limit)?;
    // Version 1 has no word for no limit, but a number beyond any machine.
    if limit >= 1 << 60 {
        return None;
    }
    // Files that were read and are read no more count as used, and are given up when memory is needed.
    let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let file = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let idle = file("total_inactive_file ").or_else(|| file("inactive_file ")).unwrap_or(0);
    let used = number(used).unwrap_or(0).saturating_sub(idle);
    Some(Room { bytes: limit.saturating_sub(used), limit, whose: Whose::Group })
}

fn machine(root: &Path) -> Option<Room> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let (bytes, limit) = (kib("MemAvailable:")? * 1024, kib("MemTotal:")? * 1024);
    Some(Room { bytes, limit, whose: Whose::Machine })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        root
    }

    #[test]
    fn the_nearest_limit_above_a_group_counts_and_idle_files_do_not() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/pod/container\n"),
            ("sys/fs/cgroup/pod/memory.max", "1000\n"),
            ("sys/fs/cgroup/pod/memory.current", "900\n"),
            ("sys/fs/cgroup/pod/memory.stat", "anon 300\ninactive_file 400\n"),
            ("sys/fs/cgroup/pod/container/memory.max", "max\n"),
        ]);
        assert_eq!(group(root.path()), Some(Room { bytes: 500, limit: 1000, whose: Whose::Group }));
    }

    #[test]
    fn a_group_of_the_first_version_is_found_at_the_top_of_the_mount() {
        let root = tree(&[
            ("proc/self/cgroup", "9:name=systemd:/x\n4:memory:/docker/1234\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "36870912\n"),
        ]);
        assert_eq!(group(root.path()), Some(Room { bytes: 500_000_000, limit: 536_870_912, whose: Whose::Group }));
        let free = tree(&[
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(group(free.path()), None);
    }

    #[test]
    fn a_machine_says_what_it_has_available() {
        let root = tree(&[("proc/meminfo", "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\n")]);
        assert_eq!(machine(root.path()), Some(Room { bytes: 1 << 20, limit: 2 << 20, whose: Whose::Machine }));
    }
}
