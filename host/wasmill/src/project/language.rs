//! The languages there is an SDK for, and how a project tells which one is its own.

use std::fmt;
use std::path::Path;

use anyhow::bail;

// The enum `Language`, made of `plugins/languages.toml` by build.rs.
include!(concat!(env!("OUT_DIR"), "/languages.rs"));

/// What the file says of a language; the meaning of each key stands there.
struct Facts {
    name: &'static str,
    title: &'static str,
    mark: &'static str,
    mark_first: bool,
    whole: bool,
    sdks: &'static [&'static str],
}

impl Language {
    /// As the command line and the folders below `plugins` name it.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The file by which a project of this language is known.
    pub fn mark(self) -> &'static str {
        self.facts().mark
    }

    /// Whether all that a build reads is in the project's folder, and its tool begins anew each time.
    pub fn is_whole(self) -> bool {
        self.facts().whole
    }

    /// The folders below `plugins` whose SDK a project of this language has.
    pub fn sdks(self) -> &'static [&'static str] {
        self.facts().sdks
    }

    /// The language of the project in a folder.
    ///
    /// # Errors
    /// No mark is there, or those of several languages.
    pub fn of(directory: &Path) -> anyhow::Result<Self> {
        let has = |language: &Self| directory.join(language.mark()).is_file();
        if let Some(first) = Self::ALL.into_iter().find(|one| one.facts().mark_first && has(one)) {
            return Ok(first);
        }
        let found: Vec<Self> = Self::ALL.into_iter().filter(has).collect();
        let listed = |languages: &[Self]| {
            let named: Vec<String> = languages.iter().map(|one| format!("{} ({one})", one.mark())).collect();
            named.join(", ")
        };
        match found.as_slice() {
            [one] => Ok(*one),
            [] => bail!(
                "{} is no handler's project; hint: a project has one of {}; `wasmill new LANGUAGE NAME` makes one",
                directory.display(),
                listed(&Self::ALL)
            ),
            several => bail!(
                "{} could be a project of several languages: it has {}; hint: keep one of them there",
                directory.display(),
                listed(several)
            ),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_known_by_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let said = Language::of(folder.path()).unwrap_err().to_string();
        assert!(said.contains("is no handler's project") && said.contains("wasmill new"), "{said}");
        for language in Language::ALL {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(language.mark()), "").unwrap();
            std::fs::write(folder.path().join("package.json"), "{}").unwrap();
            assert_eq!(Language::of(folder.path()).unwrap(), language);
        }
        let both = tempfile::tempdir().unwrap();
        std::fs::write(both.path().join("asconfig.json"), "{}").unwrap();
        std::fs::write(both.path().join("handler.ts"), "").unwrap();
        assert_eq!(Language::of(both.path()).unwrap(), Language::Assemblyscript);
        std::fs::write(folder.path().join("handler.c"), "").unwrap();
        std::fs::write(folder.path().join("handler.py"), "").unwrap();
        let said = Language::of(folder.path()).unwrap_err().to_string();
        assert!(said.contains("handler.py (Python), handler.c (C)"), "{said}");
    }
}
