//! Kafka's own command for groups: what everybody else sees of a group's offsets.

use std::path::Path;

use anyhow::{Context, Result};

use crate::eye::Offsets;

const MAIN: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

/// What `kafka-consumer-groups.sh --describe` prints for these groups.
///
/// # Errors
/// It fails; what it says is the message.
pub fn describe(bootstrap: &str, groups: &[&str]) -> Result<String> {
    let mut tool = wasmill_setup::kafka::install()?.java(128);
    tool.args([MAIN, "--bootstrap-server", bootstrap, "--describe"]);
    tool.args(groups.iter().flat_map(|group| ["--group", group]));
    wasmill_setup::process::output(&mut tool)
}

/// All groups there are, by `kafka-consumer-groups.sh --list`.
///
/// # Errors
/// It fails; what it says is the message.
pub fn groups(bootstrap: &str) -> Result<Vec<String>> {
    let mut tool = wasmill_setup::kafka::install()?.java(128);
    tool.args([MAIN, "--bootstrap-server", bootstrap, "--list"]);
    Ok(wasmill_setup::process::output(&mut tool)?.lines().map(str::to_owned).collect())
}

/// The column CURRENT-OFFSET of a group and topic.
///
/// # Errors
/// [`describe`] printed something else.
pub fn current_offsets(described: &str, group: &str, topic: &str) -> Result<Offsets> {
    let rows = described.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|row| row.len() > 3 && row[0] == group && row[1] == topic);
    let rows = rows.map(|row| Ok((row[2].parse()?, row[3].parse()?)));
    rows.collect::<Result<_>>().with_context(|| format!("the offsets of {group} in\n{described}"))
}

/// Puts `kafka-consumer-groups.sh` into a folder, as Kafka's distribution has it.
///
/// # Errors
/// The folder cannot be written.
pub fn install(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let java = wasmill_setup::kafka::install()?.java(128);
    let words = std::iter::once(java.get_program()).chain(java.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))).collect();
    let script = folder.join("kafka-consumer-groups.sh");
    std::fs::write(&script, format!("#!/bin/sh\nexec {} {MAIN} \"$@\"\n", words.join(" ")))?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
