//! Somebody who follows a README: what they type, where, and what they see.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::mill::binary;
use crate::ports;
use crate::scratch::Scratch;
use crate::terminal::Terminal;
use crate::tool;
use crate::walk::{Block, all_match, all_match_in_any_order, merged, plain, rows_match};

/// How long what a README shows may take to come true.
const SOON: Duration = Duration::from_secs(60);
/// Commands that only look. What they show comes about while one reads, so they are asked until it has.
const LOOKS: [&str; 4] = ["wasmill status", "wasmill group describe", "wasmill consume", "kafka-consumer-groups.sh"];

/// A copy of an example's folder, a cluster, and terminals.
#[derive(Debug)]
pub struct Reader {
    folder: Scratch,
    terminals: Vec<Terminal>,
    here: Here,
}

/// The addresses that the README says, and what they are here.
#[derive(Clone, Debug)]
struct Here(Vec<(String, String)>);

impl Here {
    fn here(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    fn lines(&self, printed: &str) -> Vec<String> {
        let text = self.0.iter().fold(printed.to_owned(), |text, (there, here)| text.replace(here, there));
        text.lines().map(plain).filter(|line| !line.is_empty()).collect()
    }
}

impl Reader {
    /// Copies the files of `example`, a folder of the clone; its handler is built where it is.
    ///
    /// # Errors
    /// A file cannot be copied, or there is no binary.
    pub fn new(example: &str, bootstrap: &str) -> Result<Self> {
        let source = wasmill_setup::process::root().join("examples").join(example);
        let mut here = vec![("localhost:9092".to_owned(), bootstrap.to_owned())];
        for port in ["9464", "9465"] {
            here.push((format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", ports::free()?)));
        }
        let reader = Self { folder: Scratch::new(example)?, terminals: Vec::new(), here: Here(here) };
        for file in std::fs::read_dir(&source).with_context(|| format!("no folder {}", source.display()))? {
            let (path, name) = file.map(|file| (file.path(), file.file_name()))?;
            if path.is_file() {
                std::fs::write(reader.path().join(name), reader.here.here(&std::fs::read_to_string(path)?))?;
            }
        }
        std::os::unix::fs::symlink(source.join("handler"), reader.path().join("handler"))?;
        reader.install()?;
        Ok(reader)
    }

    /// `wasmill` and Kafka's own tool, where a shell finds them.
    fn install(&self) -> Result<()> {
        let programs = self.path().join("bin");
        std::fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(binary()?, programs.join("wasmill"))?;
        tool::install(&programs)
    }

    /// The folder in which the commands run.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Does what a block says, and waits until what it shows has come true.
    ///
    /// # Errors
    /// It does not come true; the message has the block's line and what is there instead.
    pub fn follow(&mut self, block: &Block) -> Result<()> {
        let at = format!("README.md:{}", block.line);
        match (block.language.as_str(), block.name.as_str()) {
            ("toml", file) if !file.is_empty() => self.change(file, &block.lines.join("\n")).context(at),
            ("console", "") => self.commands(&block.lines).context(at),
            ("console", name) => self.process(name, &block.lines).context(at),
            (other, _) => bail!("{at}: a block `{other}` that nobody runs; hint: write `console` or `toml FILE`"),
        }
    }

    /// Makes `file`, which is the example's configuration with these changes.
    ///
    /// # Errors
    /// One of the two is not TOML.
    pub fn change(&self, file: &str, changes: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.path().join("wasmill.toml"))?;
        std::fs::write(self.path().join(file), merged(&text, changes)?)?;
        Ok(())
    }

    /// Commands that end, each with all that it prints.
    fn commands(&mut self, lines: &[String]) -> Result<()> {
        for (command, expected) in conversation(lines)? {
            let end = Instant::now() + SOON;
            let looks = LOOKS.iter().any(|look| command.starts_with(look));
            loop {
                let (code, printed) = self.run(command)?;
                let same = match command.split_whitespace().take(2).collect::<Vec<_>>()[..] {
                    ["kafka-consumer-groups.sh", _] => rows_match(&expected, &printed),
                    ["wasmill", "group"] => all_match_in_any_order(&expected, &printed),
                    _ => all_match(&expected, &printed),
                };
                if same && code == 0 {
                    break;
                }
                if !looks || Instant::now() > end {
                    let (expected, printed) = (expected.join("\n"), printed.join("\n"));
                    bail!("`{command}` ended with {code}; expected:\n{expected}\nprinted:\n{printed}");
                }
            }
        }
        Ok(())
    }

    /// Runs one command to its end. Returns its exit code and what it printed, as a README has it.
    ///
    /// # Errors
    /// It did not end.
    pub fn run(&mut self, command: &str) -> Result<(i32, Vec<String>)> {
        let command = self.here.here(command);
        let (code, printed) = self.terminal("")?.run(&command)?;
        Ok((code, self.here.lines(&printed)))
    }

    /// Commands that start and end a process, and what they print beside it.
    fn process(&mut self, name: &str, lines: &[String]) -> Result<()> {
        let here = self.here.clone();
        let terminal = self.terminal(name)?;
        let first = lines.iter().position(|line| line.starts_with("$ ")).unwrap_or(lines.len());
        let (shown, rest) = lines.split_at(first);
        terminal.wait_for(&shown.iter().map(|line| plain(line)).collect::<Vec<_>>(), SOON, |text| here.lines(text))?;
        for (command, expected) in conversation(rest)? {
            if command.ends_with('&') {
                terminal.ended(|text| here.lines(text))?;
            }
            terminal.type_in(&here.here(command))?;
            terminal.wait_for(&expected, SOON, |text| here.lines(text)).with_context(|| format!("`{command}`"))?;
        }
        Ok(())
    }

    fn terminal(&mut self, name: &str) -> Result<&mut Terminal> {
        let at = match self.terminals.iter().position(|one| one.name() == name) {
            Some(at) => at,
            None => {
                let programs = self.path().join("bin");
                self.terminals.push(Terminal::open(name, self.path(), &programs)?);
                self.terminals.len() - 1
            }
        };
        Ok(&mut self.terminals[at])
    }

    /// Ends: nothing runs any more, and nothing was handled that the README does not show.
    ///
    /// # Errors
    /// A process still runs, or handled more than the README says.
    pub fn close(mut self) -> Result<()> {
        let here = self.here.clone();
        self.terminals.iter_mut().try_for_each(|terminal| terminal.ended(|text| here.lines(text)))
    }
}

/// Commands, each with the lines below it.
fn conversation(lines: &[String]) -> Result<Vec<(&str, Vec<String>)>> {
    let mut commands: Vec<(&str, Vec<String>)> = Vec::new();
    for line in lines {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, expected))) => expected.extend(Some(plain(line)).filter(|line| !line.is_empty())),
            (None, None) => bail!("`{line}` is printed by nothing; hint: write the command above it, behind `$ `"),
        }
    }
    ensure!(lines.is_empty() || !commands.is_empty(), "no command");
    Ok(commands)
}
