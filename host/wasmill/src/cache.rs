//! Where this user's caches are.

use std::path::PathBuf;

/// Where compiled plugins are kept: `WASMILL_CACHE`, else the user's cache folder.
pub fn cache_folder() -> Option<PathBuf> {
    let chosen = std::env::var_os("WASMILL_CACHE").map(PathBuf::from);
    let user = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Some(chosen.or_else(|| user().or_else(home).map(|folder| folder.join("wasmill")))?.join("compiled"))
}
