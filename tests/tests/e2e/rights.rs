//! Commands under ACLs: what is not allowed is named with resource, operation and remedy, and nothing else is needed.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::company::{Shared, company};
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options, guest, once};
use wasmill_tests::rights::Resource;
use wasmill_tests::shared::unique;

fn told(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output.status.code(), text)
}

/// A user, a topic with one message, and a configuration with that login.
fn prepared(company: &Shared) -> Result<(String, String, Options)> {
    let (person, topic) = (company.person()?, unique("rights"));
    company.eye.create_topic(&topic, 1, &[])?;
    company.eye.produce(&topic, &[Message::new("k", "one").on(0)])?;
    Ok((person.name, topic, Options::new(&person.bootstrap, "").properties(&person.properties)))
}

fn done(options: &Options, words: &[&str], expected: &str) -> Result<()> {
    let (code, text) = told(&once(options, words, "{\"value\":\"two\"}\n")?);
    ensure!(code == Some(0) && text.contains(expected), "{words:?} ended with {code:?}: {text}");
    Ok(())
}

/// It is refused for want of this operation on this resource, and nobody is told to make a topic.
fn denied(options: &Options, words: &[&str], operation: &str, resource: (&str, &str)) -> Result<()> {
    let (code, text) = told(&once(options, words, "{\"value\":\"two\"}\n")?);
    let (kind, name) = resource;
    // Of a comparison 1 means that versions differ.
    let expected = if words[0] == "diff" { 3 } else { 1 };
    ensure!(code == Some(expected), "{words:?} ended with {code:?}: {text}");
    for part in [
        format!("{operation} on {kind} {name} is not allowed"),
        "_AUTHORIZATION_FAILED".to_owned(),
        format!("--operation {operation} --{kind} {name}"),
    ] {
        ensure!(text.contains(&part), "{words:?}: no `{part}` in: {text}");
    }
    ensure!(!text.contains("does not exist") && !text.contains("topic create"), "{words:?}: {text}");
    Ok(())
}

#[test]
fn consume_capture_and_diff_need_read_on_the_topic_and_no_group() -> Result<()> {
    let company = &company()?;
    let (user, topic, options) = prepared(company)?;
    let capture = ["capture", "--topic", &topic, "--partition", "0", "--offset", "0"];
    let echo = guest("echo")?;
    let diff = ["diff", &echo, &echo, "--topic", &topic];
    denied(&options, &diff, "Describe", ("topic", &topic))?;
    denied(&options, &["consume", &topic], "Describe", ("topic", &topic))?;
    denied(&options, &capture, "Describe", ("topic", &topic))?;
    company.eye.allow(&user, Resource::Topic(&topic), &["Describe"])?;
    denied(&options, &["consume", &topic], "Read", ("topic", &topic))?;
    denied(&options, &capture, "Read", ("topic", &topic))?;
    company.eye.allow(&user, Resource::Topic(&topic), &["Read"])?;
    done(&options, &["consume", &topic], "\"one\"")?;
    done(&options, &["consume", &topic, "--from", "-1"], "\"one\"")?;
    done(&options, &capture, "1 messages in")?;
    done(&options, &diff, "")
}

#[test]
fn topics_groups_and_producers_name_what_is_missing() -> Result<()> {
    let company = &company()?;
    let (user, topic, options) = prepared(company)?;
    let group = unique("rights-group");
    company.eye.commit(&group, &topic, &Offsets::from([(0, 1)]))?;
    let reset = ["group", "reset", &group, "--topic", &topic, "--to", "earliest"];
    done(&options, &["topic", "list"], "no topic that this login may see")?;
    denied(&options, &["topic", "describe", &topic], "Describe", ("topic", &topic))?;
    denied(&options, &["topic", "delete", &topic], "Delete", ("topic", &topic))?;
    let new = unique("rights-new");
    denied(&options, &["topic", "create", &new], "Create", ("topic", &new))?;
    denied(&options, &["produce", &topic], "Describe", ("topic", &topic))?;
    denied(&options, &["group", "describe", &group], "Describe", ("group", &group))?;
    company.eye.allow(&user, Resource::Topic(&topic), &["Describe"])?;
    done(&options, &["topic", "describe", &topic], "partition")?;
    denied(&options, &["produce", &topic], "Write", ("topic", &topic)).or_else(|error| {
        // Nothing may be written at all: then it is a producer id that is refused.
        let text = format!("{error:#}");
        ensure!(text.contains("IdempotentWrite on the cluster is not allowed"), "{text}");
        Ok(())
    })?;
    company.eye.allow(&user, Resource::Group(&group), &["Describe"])?;
    done(&options, &["group", "describe", &group], "committed")?;
    denied(&options, &reset, "Read", ("group", &group))?;
    company.eye.allow(&user, Resource::Group(&group), &["Read"])?;
    denied(&options, &reset, "Read", ("topic", &topic))?;
    company.eye.allow(&user, Resource::Topic(&topic), &["Read", "Write"])?;
    done(&options, &reset, "committed")?;
    done(&options, &["produce", &topic], "@1")
}

/// The commands of `docs/operations.md`: what each allows, with the resource as it stands there.
fn documented() -> Result<Vec<(Vec<String>, String, String)>> {
    let file = wasmill_setup::process::root().join("docs/operations.md");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().filter(|line| line.starts_with("kafka-acls.sh "));
    let lines = lines.map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let of = |option: &str| -> Vec<String> {
            words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].to_owned()).collect()
        };
        let kind = if words.contains(&"--group") { "group" } else { "topic" };
        let name = of(&format!("--{kind}")).pop().with_context(|| format!("no resource: {line}"))?;
        Ok((of("--operation"), kind.to_owned(), name))
    });
    lines.collect()
}

#[test]
fn a_pipeline_runs_with_the_acls_that_the_documentation_names_and_no_others() -> Result<()> {
    let company = &company()?;
    let (person, case) = (company.person()?, Case::new(&company.eye, "documented", 1)?);
    let control = format!("{}-control", case.name);
    company.eye.create_topic(&control, 1, &[("cleanup.policy", "compact")])?;
    for (operations, kind, name) in documented()? {
        let resource = match (kind.as_str(), name.as_str()) {
            ("group", "orders") => Resource::Group(&case.name),
            ("topic", "orders") => Resource::Topic(&case.input),
            ("topic", "invoices") => Resource::Topic(&case.output),
            ("topic", "orders-dead") => Resource::Topic(&case.dead),
            ("topic", "orders-control") => Resource::Topic(&control),
            other => bail!("nobody knows {other:?}"),
        };
        let operations: Vec<&str> = operations.iter().map(String::as_str).collect();
        company.eye.allow(&person.name, resource, &operations)?;
    }
    let options = case.options(&person.bootstrap, "echo", &format!("swap.control_topic = \"{control}\""))?;
    let mill = Mill::start(&options.properties(&person.properties))?;
    company.eye.produce(&case.input, &[Message::new("k", "v").on(0)])?;
    company.eye.read_count(&case.output, 1, Duration::from_secs(30))?;
    company.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1)]), Duration::from_secs(30))?;
    let log = mill.log();
    ensure!(!log.contains("AUTHORIZATION") && !log.contains("not allowed"), "{log}");
    Ok(())
}
