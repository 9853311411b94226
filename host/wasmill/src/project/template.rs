//! What a new project begins with: files that are alike for all languages, those of its language, and the SDK.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use super::language::Language;

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// What the templates are called.
const NAME: &str = "my-handler";
/// The same where a name cannot have a hyphen.
const IDENTIFIER: &str = "my_handler";
/// Of a topic's name, less the endings that the template gives it.
const NAME_BYTES: usize = 60;

/// Makes a project and says which files it has, in order.
///
/// # Errors
/// The name is none, or something is there already.
pub fn create(language: Language, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    // `.` is a folder with a name, too.
    let absolute = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let name = absolute.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    check(name)?;
    let empty = std::fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none());
    if !empty {
        bail!("{} is there already and not empty; hint: choose another name", directory.display());
    }
    let mut made = Vec::new();
    for (path, content) in files(language) {
        let target = directory.join(&path);
        let folder = target.parent().unwrap_or(directory);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // The SDK is as it was published; the rest is the project's own.
        let content = if path.starts_with("sdk") { content.to_vec() } else { named(content, name) };
        std::fs::write(&target, content).with_context(|| format!("cannot write {}", target.display()))?;
        made.push(path);
    }
    made.sort();
    Ok(made)
}

fn check(name: &str) -> anyhow::Result<()> {
    let fine = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    ensure!(
        begins && name.chars().all(fine) && !name.ends_with('-') && name.len() <= NAME_BYTES,
        "`{name}` is no name for a handler; hint: small letters, digits and hyphens, beginning with a letter, as in \
         `mask-orders`"
    );
    Ok(())
}

/// The files of a new project: where each goes, and its content as the template has it.
fn files(language: Language) -> Vec<(PathBuf, &'static [u8])> {
    let place = |path: &str| -> Option<PathBuf> {
        let below = |folder: &str| path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        if let Some(rest) = below("template") {
            return Some(if rest == "gitignore" { ".gitignore".into() } else { rest.into() });
        }
        let own = language.name();
        if let Some(rest) = below(&format!("{own}/template")) {
            return Some(rest.into());
        }
        for sdk in language.sdks() {
            if let Some(rest) = below(&format!("{sdk}/sdk")) {
                return Some(Path::new("sdk").join(rest));
            }
        }
        let (_, rest) = path.split_once('/')?;
        match rest {
            _ if !path.starts_with(&format!("{own}/")) => None,
            "README.md" => Some("sdk/README.md".into()),
            "vendored.toml" => Some("sdk/Cargo.toml".into()),
            _ if language == Language::Rust && rest.starts_with("src/") => Some(Path::new("sdk").join(rest)),
            _ => None,
        }
    };
    FILES.iter().filter_map(|(path, content)| Some((place(path)?, *content))).collect()
}

/// A template's file with the project's name and the SDK's place in it.
fn named(content: &[u8], name: &str) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(content) else { return content.to_vec() };
    text.replace(NAME, name)
        .replace(IDENTIFIER, &name.replace('-', "_"))
        .replace("../sdk", "sdk")
        .replace("path = \"..\"", "path = \"sdk\"")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_language_has_a_handler_a_readme_its_sdk_and_what_is_alike() {
        for language in Language::ALL {
            let folder = tempfile::tempdir().unwrap();
            let directory = folder.path().join("mask-orders");
            let made = create(language, &directory).unwrap();
            for file in
                ["wasmill.toml", "samples.jsonl", "cases/handler.toml", ".gitignore", "README.md", "sdk/README.md"]
            {
                assert!(made.contains(&file.into()), "{language}: {file}");
            }
            assert!(made.contains(&language.mark().into()), "{language}: {}", language.mark());
            assert_eq!(Language::of(&directory).unwrap(), language);
            for file in made.iter().filter(|file| !file.starts_with("sdk")) {
                let text = String::from_utf8(std::fs::read(directory.join(file)).unwrap()).unwrap();
                // Out of the project, from however deep in it.
                let outside = "../".repeat(file.components().count()) + "sdk";
                let left = ["my-handler", "my_handler", &outside].into_iter().find(|word| text.contains(*word));
                assert_eq!(left, None, "{language}: {}", file.display());
            }
        }
    }

    #[test]
    fn nothing_is_written_over_and_a_name_is_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), "").unwrap();
        for (name, wanted) in [("", "not empty"), ("Mask", "is no name"), ("-a", "is no name"), ("a b", "is no name")] {
            let directory = if name.is_empty() { folder.path().to_owned() } else { folder.path().join(name) };
            let said = create(Language::C, &directory).unwrap_err().to_string();
            assert!(said.contains(wanted) || name.is_empty(), "{said}");
        }
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        std::fs::write(taken.join("x"), "").unwrap();
        assert!(create(Language::C, &taken).unwrap_err().to_string().contains("not empty"));
    }

    /// The READMEs of a project, with the folder that their links begin in.
    fn pages(directory: &Path) -> Vec<(PathBuf, String)> {
        let places = ["README.md", "sdk/README.md"].map(|page| directory.join(page));
        places.into_iter().map(|page| (page.clone(), std::fs::read_to_string(page).unwrap())).collect()
    }

    fn each_project(check: impl Fn(Language, &Path, &str)) {
        for language in Language::ALL {
            let folder = tempfile::tempdir().unwrap();
            let directory = folder.path().join("mask-orders");
            create(language, &directory).unwrap();
            for (page, text) in pages(&directory) {
                check(language, page.parent().unwrap(), &text);
            }
        }
    }

    /// The lines outside of code blocks, and those inside.
    fn prose_and_code(text: &str) -> (Vec<&str>, Vec<&str>) {
        let mut code = false;
        let (mut outside, mut inside) = (Vec::new(), Vec::new());
        for line in text.lines() {
            if line.starts_with("```") {
                code = !code;
            } else {
                if code { &mut inside } else { &mut outside }.push(line);
            }
        }
        (outside, inside)
    }

    #[test]
    fn links_of_a_project_lead_to_its_own_files_or_to_the_web() {
        each_project(|language, folder, text| {
            let prose = prose_and_code(text).0.join("\n");
            for after in prose.split("](").skip(1) {
                let target = after.split(')').next().unwrap();
                let file = target.split('#').next().unwrap();
                // The SDK's page lies elsewhere in our repository: what is above it there is something else here.
                let own = !file.starts_with("..") && folder.join(file).exists();
                let there = target.starts_with("https://") || own;
                assert!(there, "{language}: a link in {} to {target}", folder.display());
            }
        });
    }

    #[test]
    fn no_figure_is_left_out_of_a_table() {
        each_project(|language, _, text| {
            let row = prose_and_code(text).0.into_iter().find(|line| line.starts_with('|') && line.contains('…'));
            assert_eq!(row, None, "{language}");
        });
    }

    #[test]
    fn commands_in_the_readmes_of_a_project_are_commands_of_ours() {
        let ours = crate::cli::Cli::command();
        each_project(|language, _, text| {
            for line in prose_and_code(text).1 {
                let line = line.split(" #").next().unwrap();
                for command in line.split('|').map(str::trim).filter(|command| command.starts_with("wasmill ")) {
                    let words: Vec<&str> = command.split_whitespace().collect();
                    let known = ours.get_subcommands().any(|one| one.get_name() == words[1]);
                    assert!(known, "{language}: {command}");
                    let has_placeholder = words.iter().any(|word| word.contains(['…', '<', '[']) || *word == "...");
                    if !has_placeholder && let Err(error) = ours.clone().try_get_matches_from(words) {
                        panic!("{language}: {command}: {error}");
                    }
                }
            }
        });
    }
}
