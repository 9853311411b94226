//! `wasmill new`: a handler's project, ready to run.

use std::path::PathBuf;

use super::output::print;
use crate::failure::{Exit, Failure};
use crate::project::{Language, template};

const HELP: &str = "The project has a handler with its unit test, cases for `wasmill test`, sample messages, a wasmill.toml, \
and the SDK in sdk/: nothing is fetched for it. `wasmill dev` runs it at once, given the language's toolchain; \
without it, `wasmill build` names the command that installs it.";

/// Make a handler's project: handler, test, cases, sample messages, configuration, SDK
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct New {
    /// What the handler is written in
    #[arg(value_enum)]
    language: Language,
    /// Its name, or the path of its folder
    name: PathBuf,
}

impl New {
    /// Makes it. Exit 2: the name is none, or something is there already.
    pub fn run(self) -> Result<Exit, Failure> {
        let made = template::create(self.language, &self.name).map_err(Failure::usage)?;
        let name = self.name.display();
        let own: Vec<String> = made
            .iter()
            .filter(|file| !file.starts_with("sdk"))
            .map(|file| format!("  {}\n", self.name.join(file).display()))
            .collect();
        print(&format!(
            "{}\n  wasmill test {name}    its cases, without a broker\n  wasmill dev {name}     on an embedded broker, rebuilt and \
             swapped as you save\n",
            own.concat()
        ))
    }
}
