//! Files that are written for the user.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Puts a whole file in its place. A pipeline that watches it never sees half of it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    path.file_name().with_context(|| format!("{} names no file", path.display()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fill = || -> std::io::Result<()> {
        // As any other file of the user's: what the umask leaves.
        let mode = Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new().prefix(".").suffix(".new").permissions(mode).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    fill().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_replaces_another_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.wasm");
        write_whole(&path, b"one").expect("a new file");
        write_whole(&path, b"two").expect("the same file");
        assert_eq!(std::fs::read(&path).expect("a file"), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        // Whatever the umask is, it is as for a file that is written in place.
        let plain = folder.path().join("plain");
        std::fs::write(&plain, b"").expect("a file");
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
        assert!(write_whole(&folder.path().join("missing/a.wasm"), b"").is_err());
        assert_eq!(write_whole(Path::new("/"), b"").expect_err("no file").to_string(), "/ names no file");
    }
}
