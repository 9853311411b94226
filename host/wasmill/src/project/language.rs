//! The languages there is an SDK for, and how a project tells which one is its own.

use std::fmt;
use std::path::Path;

use anyhow::bail;

/// A language there is an SDK for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// cargo, wasm32-unknown-unknown.
    Rust,
    /// go 1.24 or later.
    Go,
    /// componentize-py.
    Python,
    /// componentize-qjs (QuickJS).
    #[value(alias = "js")]
    Javascript,
    /// The same, checked by tsc.
    #[value(alias = "ts")]
    Typescript,
    /// zig cc.
    C,
    /// zig c++.
    #[value(alias = "c++")]
    Cpp,
    /// zig.
    Zig,
    /// asc.
    #[value(alias = "as")]
    Assemblyscript,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rust,
        Self::Go,
        Self::Python,
        Self::Javascript,
        Self::Typescript,
        Self::C,
        Self::Cpp,
        Self::Zig,
        Self::Assemblyscript,
    ];

    /// As the command line and the folders below `plugins` name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Typescript => "typescript",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Zig => "zig",
            Self::Assemblyscript => "assemblyscript",
        }
    }

    /// The file by which a project of this language is known.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::Go => "go.mod",
            Self::Python => "handler.py",
            Self::Javascript => "handler.js",
            Self::Typescript => "handler.ts",
            Self::C => "handler.c",
            Self::Cpp => "handler.cpp",
            Self::Zig => "handler.zig",
            Self::Assemblyscript => "asconfig.json",
        }
    }

    /// Whether all that a build reads is in the project's folder, and its tool begins anew each time.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Python | Self::Javascript | Self::Typescript)
    }

    /// The language of the project in a folder.
    ///
    /// # Errors
    /// No mark is there, or those of several languages.
    pub fn of(directory: &Path) -> anyhow::Result<Self> {
        let has = |language: &Self| directory.join(language.mark()).is_file();
        // AssemblyScript's sources end as TypeScript's do.
        if has(&Self::Assemblyscript) {
            return Ok(Self::Assemblyscript);
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
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::Go => "Go",
            Self::Python => "Python",
            Self::Javascript => "JavaScript",
            Self::Typescript => "TypeScript",
            Self::C => "C",
            Self::Cpp => "C++",
            Self::Zig => "Zig",
            Self::Assemblyscript => "AssemblyScript",
        })
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
        std::fs::write(folder.path().join("handler.c"), "").unwrap();
        std::fs::write(folder.path().join("handler.py"), "").unwrap();
        let said = Language::of(folder.path()).unwrap_err().to_string();
        assert!(said.contains("handler.py (Python), handler.c (C)"), "{said}");
    }
}
