//! A cluster that lets nobody in: every command and `run` say why, and what to change, within ten seconds.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wasmill_tests::certificates::{Authority, Valid};
use wasmill_tests::company::{ELSEWHERE, EXPIRED, MUTUAL, SASL, SASL_TLS, Shared, TLS, company};
use wasmill_tests::eye::Message;
use wasmill_tests::mill::{Mill, Options, once};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::unique;

/// What a command may take that can do nothing; the cause is to be there within ten seconds.
const WITHIN: Duration = Duration::from_secs(10);

/// What a command printed, with its code.
fn told(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output.status.code(), text)
}

/// `wasmill WORDS` fails within ten seconds and says all of this.
fn fails(options: &Options, words: &[&str], expected: &[&str]) -> Result<()> {
    let begun = Instant::now();
    let (code, text) = told(&once(options, words, "{\"value\":\"v\"}\n")?);
    let took = begun.elapsed();
    ensure!(code == Some(1), "{words:?} ended with {code:?}: {text}");
    for part in expected {
        ensure!(text.contains(part), "{words:?}: no `{part}` in: {text}");
    }
    ensure!(took < WITHIN, "{words:?} took {took:?}: {text}");
    Ok(())
}

/// Each way not to get in: a name, the configuration, and what is to be said.
fn ways(company: &Shared) -> Result<Vec<(&'static str, Options, Vec<&'static str>)>> {
    let ca = company.papers.ca().display().to_string();
    let person = company.person()?;
    let options = |listener: &str, protocol: &str| -> Result<Options> {
        let options = Options::new(&company.broker.address(listener)?, "");
        Ok(if protocol.is_empty() { options } else { options.property("security.protocol", protocol) })
    };
    let tls = |listener: &str| Ok::<_, anyhow::Error>(options(listener, "ssl")?.property("ssl.ca.location", &ca));
    let login = person.clone().with("sasl.password", "wrong").properties;
    let mechanism = person.clone().with("sasl.mechanism", "SCRAM-SHA-256").properties;
    let encrypted = person.clone().with("security.protocol", "sasl_ssl").with("sasl.password", "wrong");
    let encrypted = encrypted.with("ssl.ca.location", &ca).properties;
    Ok(vec![
        (
            "a wrong password",
            options(SASL, "")?.properties(&login),
            vec!["localhost:", "nvalid username or password", "`sasl.password`"],
        ),
        (
            "a wrong password over TLS",
            options(SASL_TLS, "")?.properties(&encrypted),
            vec!["nvalid username or password", "`sasl.password`"],
        ),
        ("a mechanism that is not there", options(SASL, "")?.properties(&mechanism), vec!["`sasl.mechanism`"]),
        ("no login", options(SASL, "")?, vec!["may ask for a login", "`security.protocol`"]),
        ("plain text to TLS", options(TLS, "")?, vec!["or for TLS", "`security.protocol`"]),
        (
            "TLS to plain text",
            Options::new(&company.broker.bootstrap(), "").property("security.protocol", "ssl"),
            vec!["speaks no TLS", "`security.protocol`"],
        ),
        ("an unknown authority", options(TLS, "ssl")?, vec!["nobody that is trusted signed", "`ssl.ca.location`"]),
        (
            "an expired certificate",
            tls(EXPIRED)?,
            vec!["certificate has expired", "the broker needs a new certificate"],
        ),
        ("another host", tls(ELSEWHERE)?, vec!["certificate is for another host", "`bootstrap`"]),
        ("no client certificate", tls(MUTUAL)?, vec!["client certificate", "`ssl.certificate.location`"]),
    ])
}

#[test]
fn what_keeps_a_command_out_is_named_with_its_property_within_ten_seconds() -> Result<()> {
    let company = &company()?;
    for (what, options, expected) in ways(company)? {
        fails(&options, &["topic", "list"], &expected).context(what)?;
    }
    fails(
        &Options::new("localhost:1", ""),
        &["topic", "list"],
        &["localhost:1", "onnection refused", "see bootstrap"],
    )?;
    fails(&Options::new("nowhere.invalid:9092", ""), &["topic", "list"], &["nowhere.invalid", "resolve"])
}

#[test]
fn every_command_that_asks_a_cluster_names_a_wrong_password() -> Result<()> {
    let company = &company()?;
    let (_, options, expected) = ways(company)?.into_iter().next().context("no ways")?;
    for words in [
        &["topic", "describe", "in"][..],
        &["topic", "create", "in"],
        &["topic", "delete", "in"],
        &["group", "describe", "g"],
        &["group", "reset", "g", "--topic", "in", "--to", "earliest"],
        &["consume", "in"],
        &["produce", "in"],
        &["capture", "--topic", "in", "--partition", "0", "--offset", "0"],
    ] {
        fails(&options, words, &expected)?;
    }
    Ok(())
}

#[test]
fn a_run_that_is_not_let_in_ends_with_3_and_says_why() -> Result<()> {
    let company = &company()?;
    for (what, mut options, expected) in ways(company)? {
        options.pipelines = format!(
            "[pipelines.p]\ntopics = [\"in\"]\ngroup = \"p\"\nhandler = \"{}\"\non_exhausted = \"stop\"",
            wasmill_tests::mill::guest("echo")?
        );
        let mut mill = Mill::spawn(&options)?;
        let status = mill.wait(WITHIN + Duration::from_secs(5)).context(what)?;
        let log = mill.log();
        ensure!(status.code() == Some(3), "{what}: {status}: {log}");
        for part in expected {
            ensure!(log.contains(part), "{what}: no `{part}` in: {log}");
        }
    }
    Ok(())
}

#[test]
fn the_environment_s_authorities_count_where_no_property_names_one() -> Result<()> {
    let company = &company()?;
    let topic = unique("system");
    company.eye.create_topic(&topic, 1, &[])?;
    company.eye.produce(&topic, &[Message::new("k", "v")])?;
    let options = Options::new(&company.broker.address(TLS)?, "").property("security.protocol", "ssl");
    let other = Scratch::new("authority")?;
    std::fs::write(other.path().join("other.pem"), Authority::new("somebody else")?.pem()?)?;
    let with = |file: &std::path::Path| options.clone().env("SSL_CERT_FILE", &file.display().to_string());
    let (code, text) = told(&once(&with(&company.papers.ca()), &["consume", &topic], "")?);
    ensure!(code == Some(0) && text.contains(r#""value":"v""#), "{code:?}: {text}");
    fails(&with(&other.path().join("other.pem")), &["consume", &topic], &["nobody that is trusted signed"])
}

#[test]
fn a_client_certificate_is_a_login_and_an_expired_one_is_named() -> Result<()> {
    let company = &company()?;
    let folder = Scratch::new("client")?;
    let good = company.papers.client(folder.path(), "good", Valid::Now)?;
    let old = company.papers.client(folder.path(), "old", Valid::Expired)?;
    let with = |paper: &std::path::Path| -> Result<Options> {
        Ok(Options::new(&company.broker.address(MUTUAL)?, "")
            .property("security.protocol", "ssl")
            .property("ssl.ca.location", &company.papers.ca().display().to_string())
            .property("ssl.certificate.location", &paper.with_extension("crt").display().to_string())
            .property("ssl.key.location", &paper.with_extension("key").display().to_string()))
    };
    let (code, text) = told(&once(&with(&good)?, &["topic", "list"], "")?);
    ensure!(code == Some(0), "{text}");
    fails(&with(&old)?, &["topic", "list"], &["client certificate", "`ssl.certificate.location`"])
}
