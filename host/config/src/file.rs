//! Reading files that a configuration names: regular ones only, and no more of them than expected.
//!
//! A pipe without a writer never answers and `/dev/zero` never ends: a reload that meets one would keep all later ones
//! waiting, or take the machine's memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Reads a regular file, or what a link to one leads to. `most`: bytes that it may have.
///
/// # Errors
/// It is something else, has more bytes, or cannot be read.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Before it is opened: opening a pipe waits for its writer.
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        } else if kind.is_fifo() {
            "a pipe"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        return Err(io::Error::other(format!("it is {what}; a regular file is needed")));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {}", bytesize::ByteSize(most))));
    }
    Ok(bytes)
}

/// [`read`], of text.
///
/// # Errors
/// As of [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read(path, most)?).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_file_is_read_up_to_its_bound_and_also_through_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "12345678").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        assert_eq!(read_text(&link, 8).expect("eight bytes"), "12345678");
        assert!(read(&file, 7).expect_err("too large").to_string().contains("more than 7 B"));
    }

    #[test]
    fn what_never_answers_or_never_ends_is_refused_unread() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        assert!(read(&pipe, 8).expect_err("a pipe").to_string().contains("it is a pipe"));
        assert!(read(Path::new("/dev/zero"), 8).expect_err("a device").to_string().contains("it is a device"));
        assert_eq!(read(folder.path(), 8).expect_err("a folder").kind(), io::ErrorKind::IsADirectory);
    }
}
