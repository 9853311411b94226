//! What a handler is charged with, and what it may take of the machine beneath it.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill;
use wasmill_tests::mill::Mill;
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::shared;

const SOON: Duration = Duration::from_secs(90);
/// What the process is given of each tenth of a second.
const GIVEN: Duration = Duration::from_millis(10);
const TAKEN: Duration = Duration::from_millis(90);

/// Takes the processor away from a process, nine tenths of the time, until told to end.
fn starve(pid: u32, end: &AtomicBool) -> Result<()> {
    let signal = |name: &str| -> Result<()> {
        let status = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
        ensure!(status.context("cannot run `kill`")?.success(), "cannot send SIG{name} to process {pid}");
        Ok(())
    };
    while !end.load(Ordering::Acquire) {
        signal("STOP")?;
        std::thread::sleep(TAKEN);
        signal("CONT")?;
        std::thread::sleep(GIVEN);
    }
    Ok(())
}

#[test]
fn a_processor_that_is_taken_away_fails_no_message() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "starved", 1)?;
    // About a tenth of a second of a processor for each message, which then takes a second.
    let lines = "config.rounds = \"150000000\"\nlimits.time = \"500ms\"\nretry.attempts = 1\nbatch.messages = 1";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "spin", lines)?)?;
    let end = AtomicBool::new(false);
    let pid = mill.pid();
    std::thread::scope(|scope| -> Result<()> {
        let starving = scope.spawn(|| starve(pid, &end));
        let messages: Vec<_> = (0..6).map(|n| Message::new("k", n.to_string()).on(0)).collect();
        shared.eye.produce(&case.input, &messages)?;
        let all = Offsets::from([(0, 6)]);
        let committed = shared.eye.wait_committed(&case.name, &case.input, &all, SOON);
        end.store(true, Ordering::Release);
        starving.join().expect("it returns its errors")?;
        committed.map(drop)
    })?;
    ensure!(mill.stop()?.success());
    let dead: Vec<String> = case.dead_letters(&shared.eye)?.iter().map(Message::text).collect();
    ensure!(dead.is_empty(), "given up: {dead:?}");
    ensure!(case.outputs(&shared.eye)? == ["0", "1", "2", "3", "4", "5"]);
    Ok(())
}

/// `wasmill check` of a pipeline with this handler, nothing compiled before, and the most memory that it used in MiB.
fn check(handler: &[u8], lines: &str) -> Result<(Output, u64)> {
    let folder = Scratch::new("sandbox")?;
    std::fs::write(folder.path().join("handler.wasm"), handler)?;
    let text = format!(
        "[kafka]\nbootstrap = \"localhost:1\"\n[pipelines.p]\ntopics = [\"t\"]\ngroup = \"g\"\nhandler = \"handler.wasm\"\n\
         on_exhausted = \"stop\"\n{lines}\n"
    );
    std::fs::write(folder.path().join("wasmill.toml"), text)?;
    let child = Command::new(mill::binary()?)
        .arg("check")
        .current_dir(folder.path())
        .env("WASMILL_CACHE", folder.path().join("cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (pid, done) = (child.id(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                most = most.max(peak(pid).unwrap_or(0));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let output = child.wait_with_output();
        done.store(true, Ordering::Release);
        Ok((output?, watching.join().expect("it only looks")))
    })
}

/// The most memory that a process has had so far, in MiB.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kib.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn what_an_instance_would_take_beyond_its_memory_is_refused_before_it_is_compiled() -> Result<()> {
    let globals = "(global i32 (i32.const 0))".repeat(300_000);
    let module = format!("(core module {globals})");
    let hoard = (0..20).map(|n| format!("{module}(core instance (instantiate {n}))")).collect::<String>();
    let mut twins = "(component (core module $m) (component $c0 (alias outer 1 $m (core module $m)) \
                     (core instance (instantiate $m)))"
        .to_owned();
    for level in 1..=21 {
        let below = level - 1;
        twins += &format!(
            "(component $c{level} (alias outer 1 $c{below} (component $c)) (instance (instantiate $c)) \
             (instance (instantiate $c)))"
        );
    }
    twins += "(instance (instantiate $c21)))";
    for text in [format!("(component {hoard})"), twins] {
        let (output, most) = check(&wat::parse_str(&text)?, "")?;
        let said = said(&output);
        ensure!(output.status.code() == Some(3), "{said}");
        ensure!(
            said.contains("an instance of the plugin takes") && said.contains("limits.memory allows 67108864"),
            "{said}"
        );
        ensure!(most < 100, "{most} MiB");
    }
    Ok(())
}

/// Starts a command under a limit of the data of a process.
fn limited(mib: u32, words: &[&str]) -> Result<Output> {
    let folder = Scratch::new("limited")?;
    let mut command = Command::new("prlimit");
    command.arg(format!("--data={}", u64::from(mib) << 20)).arg(mill::binary()?).args(words);
    command.env("WASMILL_CACHE", folder.path().join("cache")).stdin(Stdio::null());
    command.output().context("cannot start `prlimit`")
}

#[test]
fn a_limit_around_the_process_holds_for_its_compiler_and_too_little_room_is_said() -> Result<()> {
    let echo = mill::guest("echo")?;
    let enough = limited(512, &["invoke", &echo, "--value", "x"])?;
    ensure!(enough.status.code() == Some(0), "{}", said(&enough));
    let little = limited(100, &["invoke", &echo, "--value", "x"])?;
    let said = said(&little);
    ensure!(little.status.code() == Some(3), "{said}");
    ensure!(said.contains("to compile it takes") && said.contains("of data (`ulimit -d`)"), "{said}");
    Ok(())
}

#[test]
fn a_low_soft_limit_of_open_files_is_raised_and_what_is_too_low_is_said() -> Result<()> {
    let folder = Scratch::new("files")?;
    let echo = mill::guest("echo")?;
    let pipeline = |n: u32| {
        format!("[pipelines.p{n}]\ntopics = [\"t\"]\ngroup = \"g{n}\"\nhandler = \"{echo}\"\non_exhausted = \"stop\"\n")
    };
    let pipelines: String = (0..30).map(pipeline).collect();
    std::fs::write(folder.path().join("wasmill.toml"), format!("[kafka]\nbootstrap = \"localhost:1\"\n{pipelines}"))?;
    let log = folder.path().join("log");
    let mut child = Command::new("prlimit")
        .arg("--nofile=128:256")
        .arg(mill::binary()?)
        .arg("run")
        .current_dir(folder.path())
        .env("WASMILL_CACHE", folder.path().join("cache"))
        .stderr(std::fs::File::create(&log)?)
        .spawn()?;
    let end = Instant::now() + SOON;
    let told = "too few open files are allowed";
    while !std::fs::read_to_string(&log)?.contains(told) && Instant::now() < end && child.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id()));
    child.kill()?;
    child.wait()?;
    let log = std::fs::read_to_string(&log)?;
    ensure!(log.contains(told), "{log}");
    let limits = limits?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no such limit")?;
    ensure!(line.split_whitespace().take(2).all(|word| word == "256"), "soft and hard limit: {line}");
    Ok(())
}
