//! What was fetched, by digest, and the digest that a tag had. For its owner alone, since a remembered tag is believed
//! where the registry does not answer; blobs are checked against their digest each time they are read.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use wasmill_config::OciReference;

use super::digest::{digest_of, hex};

/// The most that is kept; what was not used for longest goes first. Sixteen plugins of the largest size, thousands of
/// usual ones.
const MOST_BYTES: u64 = 4 << 30;

/// The cache of a user.
#[derive(Debug)]
pub struct Cache {
    blobs: PathBuf,
    tags: PathBuf,
}

/// What a tag meant when the registry last answered.
#[derive(Serialize, Deserialize)]
struct Remembered {
    reference: String,
    digest: String,
}

impl Cache {
    /// Opens the cache in a folder, which is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made, or others can write to it.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let folder = wasmill_wasm::private_directory(folder)?;
        let below = |name: &str| {
            let folder = folder.join(name);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            anyhow::Ok(folder)
        };
        Ok(Self { blobs: below("blobs")?, tags: below("tags")? })
    }

    /// The bytes of this digest. What has another digest by now is deleted, as if it had never been there.
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.blob_path(digest)?;
        let bytes = fs::read(&path).ok()?;
        if digest_of(&bytes) != digest {
            tracing::warn!(path = %path.display(), "a cached plugin was changed or cut short, and is fetched again");
            fs::remove_file(&path).ok();
            return None;
        }
        // So that what is in use does not go first. If the file is gone meanwhile, the bytes are here all the same.
        if let Ok(file) = File::options().append(true).open(&path) {
            file.set_modified(SystemTime::now()).ok();
        }
        Some(bytes)
    }

    /// Keeps bytes under their digest.
    pub fn keep(&self, digest: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.blob_path(digest).with_context(|| format!("{digest:?} is no digest"))?;
        if path.is_file() {
            return Ok(());
        }
        write(&path, bytes)?;
        self.make_room(MOST_BYTES);
        Ok(())
    }

    /// The digest that this tag had.
    pub fn remembered(&self, reference: &OciReference) -> Option<String> {
        let name = name(reference)?;
        let text = fs::read(self.tag_path(&name)).ok()?;
        let found: Remembered = serde_json::from_slice(&text).ok()?;
        (found.reference == name).then_some(found.digest)
    }

    /// Notes the digest that a tag has. A reference without a tag needs no note.
    pub fn remember(&self, reference: &OciReference, digest: &str) -> anyhow::Result<()> {
        // With a digest beside it a tag counts for nothing, and need not be that digest's.
        let Some(name) = name(reference) else { return Ok(()) };
        let path = self.tag_path(&name);
        write(&path, &serde_json::to_vec(&Remembered { reference: name, digest: digest.to_owned() })?)
    }

    /// A path only for what is a digest, so that no manifest can lead out of the folder.
    fn blob_path(&self, digest: &str) -> Option<PathBuf> {
        let digits = digest.strip_prefix("sha256:")?;
        let good = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then(|| self.blobs.join(format!("sha256-{digits}")))
    }

    fn tag_path(&self, name: &str) -> PathBuf {
        self.tags.join(hex(name.as_bytes()))
    }

    /// Deletes what was not used for longest, until no more than `most` bytes are left. A file that cannot be looked at or
    /// deleted is somebody else's trouble.
    fn make_room(&self, most: u64) {
        let Ok(entries) = fs::read_dir(&self.blobs) else { return };
        let mut files: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in &files {
            if total <= most {
                return;
            }
            fs::remove_file(path).ok();
            total -= bytes;
        }
    }
}

/// What a tag is remembered under; `None` for a reference that has a digest.
fn name(reference: &OciReference) -> Option<String> {
    reference.tag().filter(|_| reference.digest().is_none()).map(|_| reference.to_string())
}

/// Puts a whole file in its place: a process that is killed, or a second one that writes the same, leaves no half.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let fill = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        // Made for its owner alone.
        let mut file = NamedTempFile::with_prefix_in(".new-", folder)?;
        file.write_all(bytes)?;
        // Renamed before its bytes are there, it would be an empty file after a loss of power.
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    fill().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    fn open() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("plugins")).unwrap();
        (folder, cache)
    }

    fn reference(text: &str) -> OciReference {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_kept_comes_back_and_is_its_owners_alone() {
        let (folder, cache) = open();
        let digest = digest_of(b"one");
        assert_eq!(cache.blob(&digest), None);
        cache.keep(&digest, b"one").unwrap();
        cache.keep(&digest, b"one").unwrap();
        assert_eq!(cache.blob(&digest).as_deref(), Some(&b"one"[..]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache.blob_path(&digest).unwrap()), 0o600);
        assert_eq!(mode(&folder.path().join("plugins")), 0o700);
        assert_eq!(fs::read_dir(&cache.blobs).unwrap().count(), 1, "nothing is left of the writing");
    }

    #[test]
    fn bytes_that_are_not_their_digests_any_more_are_never_handed_on() {
        let (_folder, cache) = open();
        let digest = digest_of(b"one");
        cache.keep(&digest, b"one").unwrap();
        fs::write(cache.blob_path(&digest).unwrap(), b"two").unwrap();
        assert_eq!(cache.blob(&digest), None);
        // And can be fetched again.
        cache.keep(&digest, b"one").unwrap();
        assert_eq!(cache.blob(&digest).as_deref(), Some(&b"one"[..]));
    }

    #[test]
    fn a_tag_is_remembered_for_its_own_reference() {
        let (_folder, cache) = open();
        let (one, two) = (reference("oci://host/a:1"), reference("oci://host/a:2"));
        cache.remember(&one, "sha256:first").unwrap();
        cache.remember(&one, "sha256:second").unwrap();
        assert_eq!(cache.remembered(&one).as_deref(), Some("sha256:second"));
        assert_eq!(cache.remembered(&two), None);
        fs::copy(cache.tag_path(&one.to_string()), cache.tag_path(&two.to_string())).unwrap();
        assert_eq!(cache.remembered(&two), None, "a note of another reference");
        let pinned = reference(&format!("oci://host/a:1@{}", digest_of(b"")));
        cache.remember(&pinned, "sha256:third").unwrap();
        assert_eq!(cache.remembered(&one).as_deref(), Some("sha256:second"));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let (_folder, cache) = open();
        let long = format!("sha256:{}", "../".repeat(21) + "x");
        for bad in ["../../etc/passwd", "sha256:../../etc/passwd", "sha512:00", "sha256:", &long] {
            assert_eq!(cache.blob_path(bad), None, "{bad}");
            assert!(cache.keep(bad, b"").is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let (_folder, cache) = open();
        let blobs: Vec<Vec<u8>> = (0..4).map(|number| vec![number; 100]).collect();
        let digests: Vec<String> = blobs.iter().map(|bytes| digest_of(bytes)).collect();
        for (age, (digest, bytes)) in [40, 30, 20, 10].into_iter().zip(digests.iter().zip(&blobs)) {
            cache.keep(digest, bytes).unwrap();
            let file = File::options().append(true).open(cache.blob_path(digest).unwrap()).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        cache.blob(&digests[0]).unwrap();
        cache.make_room(250);
        let left: Vec<bool> = digests.iter().map(|digest| cache.blob(digest).is_some()).collect();
        assert_eq!(left, [true, false, false, true]);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugins");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Cache::open(&path).unwrap_err().to_string();
        assert!(error.contains("others can write to it"), "{error}");
    }
}
