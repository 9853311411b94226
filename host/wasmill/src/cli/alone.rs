//! A handler by itself, without a configuration: what `inspect`, `invoke` and `conformance` share.

use std::path::Path;

use anyhow::Context as _;
use wasmill_config as config;
use wasmill_wasm::NotGranted;

use crate::failure::Failure;

/// Topic of the messages that name none.
pub const INPUT: &str = "input";
/// The name of the pipeline and of the group that such a handler is told.
pub const NAME: &str = "alone";

/// Bytes that a handler may have under any configuration.
const MAX_BYTES: u64 = 256 << 20;

/// The bytes of a handler that was named.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    config::file::read(path, MAX_BYTES)
        .with_context(|| format!("cannot read handler {}; hint: build it first", path.display()))
        .map_err(Failure::usage)
}

/// A pipeline with nothing but defaults, made by the rules of `wasmill.toml`, and with these `limits`, under the rules
/// that the file's are under. `limits` are pairs of a key and what was typed for the option of that name.
pub fn pipeline(limits: &[(&str, &str)]) -> Result<config::Pipeline, Failure> {
    let mut text = format!(
        "kafka.bootstrap = \"localhost:9092\"\n[pipelines.{NAME}]\ntopics = [\"{INPUT}\"]\ngroup = \"{NAME}\"\n\
         handler = \"handler.wasm\"\non_exhausted = \"stop\"\n"
    );
    for (key, typed) in limits {
        text += &format!("limits.{key} = {}\n", toml::Value::from(*typed));
    }
    let loaded = config::parse_with("options", &text, &|_| None).map_err(|mistakes| {
        let first = mistakes.0.into_iter().next();
        let (key, message, hint) = first.map_or_else(Default::default, |one| (one.key, one.message, one.hint));
        let option = key.rsplit('.').next().unwrap_or_default();
        let typed = limits.iter().find(|(key, _)| *key == option).map_or("", |(_, typed)| *typed);
        let hint = hint.map(|hint| format!("; hint: {hint}")).unwrap_or_default();
        Failure::usage(anyhow::anyhow!("--{option} {typed}: {message}{hint}"))
    })?;
    Ok(loaded.config.pipelines.into_iter().next().expect("the text above has a pipeline"))
}

/// What the names given with `--grant` stand for.
pub fn grants(names: &[String]) -> Vec<config::Grant> {
    config::Grant::ALL.into_iter().filter(|one| names.iter().any(|name| name == one.as_str())).collect()
}

/// Here an option grants, and no table.
pub fn not_granted(refused: NotGranted) -> anyhow::Error {
    let NotGranted { import, needed } = refused;
    let names: Vec<&str> = needed.names().collect();
    anyhow::anyhow!("the plugin imports `{import}`, which is not granted; hint: --grant {}", names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_under_the_rules_of_the_file() {
        let plain = pipeline(&[]).expect("defaults are good");
        let more = pipeline(&[("memory", "128MiB")]).expect("a good limit");
        assert!(more.limits.memory_bytes == 128 << 20 && more.limits.memory_bytes > plain.limits.memory_bytes);
        let said = pipeline(&[("time", "5")]).expect_err("a bad limit").to_string();
        assert!(said.starts_with("--time 5: ") && said.contains("hint: "), "{said}");
        let said = pipeline(&[("memory", "\"\n${HOME}")]).expect_err("no limit at all").to_string();
        assert!(said.starts_with("--memory "), "{said}");
    }
}
