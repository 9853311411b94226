//! Certificates that are replaced on disk under a running process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::certificates::Valid;
use wasmill_tests::company::{MUTUAL, Shared, company};
use wasmill_tests::eye::Message;
use wasmill_tests::mill::Mill;
use wasmill_tests::rights::Resource;
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::unique;

const SHORT: Duration = Duration::from_secs(30);

/// Puts the certificate of this name where the client's is looked for.
fn put(company: &Shared, folder: &Path, name: &str) -> Result<()> {
    let paper = company.papers.client(folder, name, Valid::Now)?;
    for end in ["crt", "key"] {
        std::fs::rename(paper.with_extension(end), folder.join("client").with_extension(end))?;
    }
    Ok(())
}

fn allow(company: &Shared, user: &str, case: &Case) -> Result<()> {
    company.eye.allow(user, Resource::Topic(&case.input), &["Read"])?;
    company.eye.allow(user, Resource::Topic(&case.output), &["Write"])?;
    company.eye.allow(user, Resource::Topic(&case.dead), &["Write"])?;
    company.eye.allow(user, Resource::Group(&case.name), &["Read"])
}

fn reload(mill: &Mill) -> Result<Value> {
    let (code, answer) = mill.post("/api/v1/reload", b"{}")?;
    ensure!(code == 200, "{code}: {answer}");
    answer["pipelines"].get(0).cloned().context("no pipeline in the answer")
}

#[test]
fn a_reload_takes_up_a_client_certificate_that_was_replaced_on_disk() -> Result<()> {
    let company = &company()?;
    let (folder, case) = (Scratch::new("replaced")?, Case::new(&company.eye, "replaced", 1)?);
    let (first, second) = (unique("first"), unique("second"));
    let (before, after) = (format!("CN={first}"), format!("CN={second}"));
    put(company, folder.path(), &first)?;
    allow(company, &before, &case)?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let options = case.options(&company.broker.address(MUTUAL)?, "echo", "")?;
    let options = options
        .property("security.protocol", "ssl")
        .property("ssl.ca.location", &company.papers.ca().display().to_string())
        .property("ssl.certificate.location", &path("client.crt"))
        .property("ssl.key.location", &path("client.key"));
    let mill = Mill::start(&options)?;
    company.eye.produce(&case.input, &[Message::new("k", "before").on(0)])?;
    company.eye.read_count(&case.output, 1, SHORT)?;
    let row = reload(&mill)?;
    ensure!(row["done"] == "unchanged", "{row}");
    // The old one is of no more use, as one that has run out would be.
    put(company, folder.path(), &second)?;
    allow(company, &after, &case)?;
    let row = reload(&mill)?;
    ensure!(row["done"] == "restarted", "{row}");
    ensure!(row["keys"].to_string().contains("ssl.certificate.location"), "{row}");
    for resource in [Resource::Topic(&case.input), Resource::Topic(&case.output), Resource::Group(&case.name)] {
        company.eye.remove_acls(&before, resource)?;
    }
    company.eye.produce(&case.input, &[Message::new("k", "after").on(0)])?;
    let seen: Vec<_> = company.eye.read_count(&case.output, 2, SHORT)?.iter().map(Message::text).collect();
    ensure!(seen == ["before", "after"], "{seen:?}");
    let row = reload(&mill)?;
    ensure!(row["done"] == "unchanged", "{row}");
    Ok(())
}
