//! The compile cache's directory. What lies in it is loaded as native code and trusted as it is: nobody but its owner
//! may be able to put something there. (The cache's keys are the code's digest, the engine's version and settings.)

use std::fs::{self, DirBuilder, Metadata, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wasmtime::{Cache, CacheConfig};

use crate::error::EngineError;

const OTHERS_WRITE: u32 = 0o022;
const ANYBODY_WRITES: u32 = 0o002;
/// In such a directory only a file's owner can rename it.
const STICKY: u32 = 0o1000;

/// Opens the cache in `directory`, which is made with mode 0700 if it is missing.
pub(crate) fn open(directory: &Path) -> Result<Cache, EngineError> {
    let path = private_directory(directory)?;
    let mut config = CacheConfig::new();
    config.with_directory(path);
    let refuse = |error| EngineError::Cache { directory: directory.to_owned(), reason: format!("{error:#}") };
    Cache::new(config).map_err(refuse)
}

/// A directory of a cache that nobody but its owner can put something into: made with mode 0700 if it is missing, refused
/// if others can write to it. Returns its canonical path.
///
/// # Errors
/// It cannot be made, or others can write to it.
pub fn private_directory(directory: &Path) -> Result<PathBuf, EngineError> {
    let refuse = |reason: String| EngineError::Cache { directory: directory.to_owned(), reason };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| refuse(format!("cannot be made: {error}")))?;
    let path = fs::canonicalize(directory).map_err(|error| refuse(format!("cannot be opened: {error}")))?;
    check(&path).map_err(&refuse)?;
    Ok(path)
}

fn check(path: &Path) -> Result<(), String> {
    let of = |path: &Path| fs::metadata(path).map_err(|error| format!("cannot be looked at: {error}"));
    let directory = of(path)?;
    if directory.mode() & OTHERS_WRITE != 0 {
        let mode = directory.mode() & 0o7777;
        return Err(format!("others can write to it (mode {mode:04o}); hint: chmod 700"));
    }
    for above in path.ancestors().skip(1) {
        let mode = of(above)?.mode();
        if mode & ANYBODY_WRITES != 0 && mode & STICKY == 0 {
            return Err(format!("anybody can write to {}, and put another directory in its place", above.display()));
        }
    }
    if owner_of_new_files(path)? != directory.uid() {
        return Err("it belongs to another user".to_owned());
    }
    Ok(())
}

/// The user as whom this process writes files; the standard library does not tell otherwise.
fn owner_of_new_files(directory: &Path) -> Result<u32, String> {
    let probe = directory.join(format!(".owner-{}", std::process::id()));
    let unwritable = |error: std::io::Error| format!("cannot be written to: {error}");
    let file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&probe).map_err(unwritable)?;
    let owner = file.metadata().as_ref().map(Metadata::uid).map_err(|error| format!("cannot be looked at: {error}"));
    match fs::remove_file(&probe) {
        // The cache's own thread, of another engine, deletes what it does not know.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(error)),
        _ => owner,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn reason(result: Result<Cache, EngineError>) -> String {
        result.expect_err("the directory is refused").to_string()
    }

    #[test]
    fn a_directory_is_made_for_its_owner_alone() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("a/cache");
        open(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        for mode in [0o770, 0o707, 0o1777] {
            let base = tempfile::tempdir().unwrap();
            fs::set_permissions(base.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(reason(open(base.path())).contains("others can write"), "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_others_can_replace_is_refused() {
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(reason(open(&base.path().join("cache"))).contains("in its place"));
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(reason(open(file.path())).contains("cannot be made"));
    }
}
