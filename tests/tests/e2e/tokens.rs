//! Logins that run out: tokens of SASL/OAUTHBEARER are renewed in every client, wherever they come from.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::company::{Company, SASL, token};
use wasmill_tests::eye::Message;
use wasmill_tests::mill::{Mill, Options, once};
use wasmill_tests::rights::Resource;
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::Place;

/// Seconds that a token lives. The broker ends a connection with it.
const LIFE: u64 = 6;
const SHORT: Duration = Duration::from_secs(40);

/// Keeps a file with a token fresh, as a sidecar does.
fn keep_fresh(file: &Path, user: &str, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let new = file.with_extension("new");
        std::fs::write(&new, token(user, LIFE)?)?;
        std::fs::rename(&new, file)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// A command that prints the token of the file and counts how often it was run.
fn command(folder: &Path, file: &Path) -> String {
    let (file, count) = (file.display(), folder.join("count").display().to_string());
    format!("token_command = [\"sh\", \"-c\", \"echo x >> {count}; cat {file}\"]")
}

fn runs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("count")).map_or(0, |text| text.lines().count())
}

fn values(eye: &wasmill_tests::eye::Eye, case: &Case, expected: &[&str]) -> Result<()> {
    let seen = eye.read_count(&case.output, expected.len(), SHORT)?;
    let seen: Vec<_> = seen.iter().map(Message::text).collect();
    ensure!(seen == expected, "{}: {seen:?}", case.name);
    Ok(())
}

#[test]
fn tokens_are_renewed_from_a_file_a_command_and_a_property_before_they_run_out() -> Result<()> {
    let _place = Place::take();
    let company = Company::start(&[("listener.name.sasl.oauthbearer.connections.max.reauth.ms", "60000")])?;
    let (eye, folder, stop) = (company.eye()?, Scratch::new("tokens")?, AtomicBool::new(false));
    eye.allow("robot", Resource::Topic("*"), &["All"])?;
    eye.allow("robot", Resource::Group("*"), &["All"])?;
    let file = folder.path().join("token");
    std::fs::write(&file, token("robot", LIFE)?)?;
    let unsecured = format!(
        "properties.\"enable.sasl.oauthbearer.unsecure.jwt\" = \"true\"\n\
         properties.\"sasl.oauthbearer.config\" = \"principal=robot lifeSeconds={LIFE}\""
    );
    let sources = [
        ("command", command(folder.path(), &file)),
        ("file", format!("token_file = \"{}\"", file.display())),
        ("unsecured", unsecured),
    ];
    std::thread::scope(|scope| {
        let fresh = scope.spawn(|| keep_fresh(&file, "robot", &stop));
        let tried = (|| {
            let mut mills = Vec::new();
            for (name, lines) in &sources {
                let case = Case::new(&eye, name, 1)?;
                let options = case.options(&company.broker.address(SASL)?, "echo", "session_timeout = \"20s\"")?;
                let options = options.property("security.protocol", "sasl_plaintext");
                let options = options.property("sasl.mechanism", "OAUTHBEARER").kafka(lines);
                let mill = Mill::start(&options).with_context(|| (*name).to_owned())?;
                eye.produce(&case.input, &[Message::new("k", "before").on(0)])?;
                values(&eye, &case, &["before"])?;
                mills.push((case, mill, options));
            }
            let member = |case: &Case| -> Result<String> {
                Ok(eye.group(&case.name)?.members.first().context("nobody is in the group")?.id.clone())
            };
            let members = mills.iter().map(|(case, ..)| member(case)).collect::<Result<Vec<_>>>()?;
            // Two more runs of the command: every first token is over, and its successor too.
            let (begun, first) = (Instant::now(), runs(folder.path()));
            while runs(folder.path()) < first + 2 {
                ensure!(begun.elapsed() < SHORT, "the command was run {} times", runs(folder.path()));
                std::thread::sleep(Duration::from_millis(100));
            }
            for ((case, _, options), before) in mills.iter().zip(members) {
                eye.produce(&case.input, &[Message::new("k", "after").on(0)])?;
                values(&eye, case, &["before", "after"])?;
                ensure!(member(case)? == before, "{} left its group meanwhile", case.name);
                let listed = once(options, &["topic", "list"], "")?;
                ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
                let read = once(options, &["consume", &case.output], "")?;
                ensure!(String::from_utf8_lossy(&read.stdout).contains("after"), "{read:?}");
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        fresh.join().map_err(|_| anyhow::anyhow!("the sidecar panicked"))??;
        tried
    })
}

#[test]
fn a_token_that_cannot_be_had_and_a_method_that_is_not_there_are_named() -> Result<()> {
    let options = |lines: &str| {
        let options = Options::new("localhost:1", "").property("security.protocol", "sasl_plaintext");
        options.property("sasl.mechanism", "OAUTHBEARER").kafka(lines)
    };
    let said = |lines: &str| -> Result<String> {
        let output = once(&options(lines), &["topic", "list"], "")?;
        ensure!(!output.status.success(), "{lines} passed");
        Ok(String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned())
    };
    for (lines, expected) in [
        (
            "properties.\"sasl.oauthbearer.method\" = \"oidc\"",
            &["sasl.oauthbearer.method", "without an HTTP client", "`token_command`"][..],
        ),
        ("token_file = \"/nowhere/token\"", &["token_file /nowhere/token cannot be read"]),
        ("token_command = [\"false\"]", &["token_command false ended with"]),
        ("token_command = [\"echo\", \"two words\"]", &["one word of ASCII"]),
    ] {
        let text = said(lines)?;
        for part in expected {
            ensure!(text.contains(part), "{lines}: no `{part}` in: {text}");
        }
    }
    Ok(())
}
