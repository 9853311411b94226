//! The handler is replaced while messages flow: `wasmill dev` swaps whatever is saved.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wasmill_kafka::plain::{PlainConsumer, PlainMessage, PlainProducer};
use wasmill_kafka::{ClientSettings, Position};
use wasmill_tests::mill::{binary, guest};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::Place;
use wasmill_tests::signal::{Signal, send, wait};

const SOON: Duration = Duration::from_secs(60);
const CONFIG: &str = r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.swap]
topics = ["in"]
group = "swap"
handler = "handler.wasm"
output.topic = "out"
on_exhausted = "stop"
dev.partitions = 2
"#;

/// `wasmill dev` in a folder of its own. It is killed when this is dropped.
struct Dev {
    child: Child,
    folder: Scratch,
}

impl Dev {
    fn start(handler: &str) -> Result<Self> {
        let folder = Scratch::new("dev")?;
        std::fs::write(folder.path().join("wasmill.toml"), CONFIG)?;
        std::fs::copy(guest(handler)?, folder.path().join("handler.wasm"))?;
        Self::run(folder, "")
    }

    /// A new project in Rust.
    fn start_project() -> Result<Self> {
        let folder = Scratch::new("project")?;
        let mut new = Command::new(binary()?);
        new.args(["new", "rust"]).arg(folder.path().join("mask"));
        ensure!(new.output()?.status.success(), "wasmill new");
        // What it prints must not be among its sources.
        Self::run(folder, "mask")
    }

    fn run(folder: Scratch, project: &str) -> Result<Self> {
        let mut command = Command::new(binary()?);
        // As a shell starts it: the signals of the terminal go to this group.
        command.process_group(0);
        command.arg("dev").arg(folder.path().join(project)).stdin(Stdio::null());
        command.stdout(File::create(folder.path().join("out"))?).stderr(File::create(folder.path().join("log"))?);
        Ok(Self { child: command.spawn().context("cannot start wasmill dev")?, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it printed so far.
    fn printed(&self) -> String {
        std::fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    fn swaps(&self) -> usize {
        self.printed().matches("takes over from").count()
    }

    /// Waits until it printed such a text.
    fn wait_printed(&self, text: &str) -> Result<()> {
        let end = Instant::now() + SOON;
        while !self.printed().contains(text) {
            ensure!(Instant::now() < end, "nothing of `{text}`: {}\n{}", self.printed(), tail(&self.path("log")));
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// As an editor saves: another file takes the name.
    fn save(&self, handler: &str) -> Result<()> {
        let other = self.path("handler.wasm.new");
        std::fs::copy(guest(handler)?, &other)?;
        Ok(std::fs::rename(other, self.path("handler.wasm"))?)
    }

    /// The address of its broker, once the pipeline runs.
    fn bootstrap(&self) -> Result<String> {
        let end = Instant::now() + SOON;
        loop {
            let printed = self.printed();
            let address = printed.lines().find_map(|line| line.split_once("embedded broker at "));
            if let Some((_, address)) = address.filter(|_| printed.contains("messages sent")) {
                return Ok(address.trim().to_owned());
            }
            ensure!(Instant::now() < end, "no broker: {printed}\n{}", tail(&self.path("log")));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The process that compiles for this one, if there is one.
fn compiler_of(process: u32) -> Option<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let children = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect();
    children.into_iter().find(|child| {
        std::fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|words| words.contains("compile-handler"))
    })
}

/// Gives it a handler that takes long to compile. The process that compiles it.
fn compiles_for_long(dev: &Dev) -> Result<u32> {
    let other = dev.path("handler.wasm.new");
    std::fs::write(&other, crate::compiling::long_function(1_000_000))?;
    std::fs::rename(other, dev.path("handler.wasm"))?;
    let end = Instant::now() + SOON;
    loop {
        if let Some(compiler) = compiler_of(dev.child.id()) {
            return Ok(compiler);
        }
        ensure!(Instant::now() < end, "nothing is compiled: {}", dev.printed());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_interrupt_while_a_handler_is_compiled_ends_dev_in_good_order_and_refuses_nobody() -> Result<()> {
    let _place = Place::take();
    let mut dev = Dev::start("echo")?;
    dev.bootstrap()?;
    let compiler = compiles_for_long(&dev)?;
    let kill = |signal: &str, whom: &str| Command::new("kill").args([signal, "--", whom]).status();
    // Ctrl-C.
    ensure!(kill("-INT", &format!("-{}", dev.child.id()))?.success());
    let ended = wait(&mut dev.child, SOON);
    // It is of no use to anybody now.
    kill("-KILL", &compiler.to_string())?;
    let (printed, log) = (dev.printed(), tail(&dev.path("log")));
    ensure!(ended?.success(), "{printed}\n{log}");
    ensure!(!printed.contains("refused") && !log.contains("refused"), "{printed}\n{log}");
    Ok(())
}

#[test]
fn a_compiler_ends_with_the_process_that_waits_for_it_however_that_ends() -> Result<()> {
    let _place = Place::take();
    let mut dev = Dev::start("echo")?;
    dev.bootstrap()?;
    let compiler = compiles_for_long(&dev)?;
    dev.child.kill()?;
    dev.child.wait()?;
    // One that has ended and that nobody has waited for yet takes nothing any more.
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{compiler}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    let end = Instant::now() + SOON;
    while runs() {
        ensure!(Instant::now() < end, "it compiles on for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn tail(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Sends the same count of numbered messages to both partitions.
fn produce(producer: &mut PlainProducer, numbers: std::ops::Range<usize>) -> Result<()> {
    let message = |partition: i32, number: usize| PlainMessage {
        topic: "in".into(),
        partition,
        key: Some(partition.to_string().into_bytes()),
        value: Some(format!("v {partition} {number}").into_bytes()),
        ..PlainMessage::default()
    };
    let messages: Vec<_> = numbers.flat_map(|number| [message(0, number), message(1, number)]).collect();
    producer.send(&messages).into_iter().try_for_each(|sent| Ok(sent.map(drop)?))
}

#[test]
fn through_swaps_every_message_is_handled_once_and_in_order() -> Result<()> {
    const AT_ONCE: usize = 10;
    let _place = Place::take();
    let mut dev = Dev::start("echo")?;
    let client = ClientSettings { bootstrap: dev.bootstrap()?, ..ClientSettings::default() };
    let mut producer = PlainProducer::open(&client, SOON)?;
    let mut count = 0;
    for (swap, handler) in (1..).zip(["upper", "echo", "upper", "echo"]) {
        dev.save(handler)?;
        let end = Instant::now() + SOON;
        while dev.swaps() < swap {
            ensure!(Instant::now() < end, "swap {swap} did not come: {}\n{}", dev.printed(), tail(&dev.path("log")));
            produce(&mut producer, count..count + AT_ONCE)?;
            count += AT_ONCE;
        }
    }
    let end = Instant::now() + SOON;
    let outputs = loop {
        let outputs =
            PlainConsumer::open(&client, "out", &[], Position::Earliest, SOON)?.read_to_end(usize::MAX, SOON)?;
        if outputs.len() >= 2 * count {
            break outputs;
        }
        ensure!(Instant::now() < end, "{} of {} messages came out", outputs.len(), 2 * count);
    };
    send(&mut dev.child, Signal::Term)?;
    ensure!(wait(&mut dev.child, SOON)?.success(), "it did not end in good order: {}", tail(&dev.path("log")));
    let values: Vec<_> =
        outputs.into_iter().map(|one| String::from_utf8_lossy(&one.value.unwrap_or_default()).into_owned()).collect();
    for partition in 0..2 {
        let of = |value: &&String| value.to_lowercase().starts_with(&format!("v {partition} "));
        let seen: Vec<_> = values.iter().filter(of).map(|value| value.to_lowercase()).collect();
        let expected: Vec<_> = (0..count).map(|number| format!("v {partition} {number}")).collect();
        if let Some(place) = (0..seen.len().max(count)).find(|place| seen.get(*place) != expected.get(*place)) {
            bail!("partition {partition} is not as sent from place {place} on: {:?}", seen.get(place));
        }
        // Three at least, since the first message or the last may come just before or after a swap.
        let cases: Vec<_> = values.iter().filter(of).map(|value| value.starts_with('V')).collect();
        let changes = cases.windows(2).filter(|pair| pair[0] != pair[1]).count();
        ensure!(changes >= 3, "partition {partition} saw {changes} swaps");
    }
    Ok(())
}

#[test]
fn a_handler_that_asks_for_more_than_is_granted_is_not_swapped_in() -> Result<()> {
    let _place = Place::take();
    let mut dev = Dev::start("echo")?;
    let client = ClientSettings { bootstrap: dev.bootstrap()?, ..ClientSettings::default() };
    dev.save("sleep")?;
    dev.wait_printed("which the pipeline does not grant")?;
    dev.wait_printed("hint: add `grant = [\"clock\"]` to the pipeline's table")?;
    produce(&mut PlainProducer::open(&client, SOON)?, 0..1)?;
    dev.wait_printed("v 1 0")?;
    ensure!(dev.swaps() == 0, "{}", dev.printed());
    send(&mut dev.child, Signal::Term)?;
    ensure!(wait(&mut dev.child, SOON)?.success(), "it did not end in good order: {}", tail(&dev.path("log")));
    Ok(())
}

#[test]
fn a_source_of_a_project_that_is_saved_is_built_and_swapped_in() -> Result<()> {
    let dev = Dev::start_project()?;
    dev.wait_printed("HELLO!")?;
    let source = dev.path("mask/src/lib.rs");
    let text = std::fs::read_to_string(&source)?;
    std::fs::write(&source, text.replace("to_uppercase", "to_lowercase"))?;
    dev.wait_printed("takes over from")?;
    std::fs::write(&source, text.replace("to_uppercase", "to_no_case"))?;
    dev.wait_printed("the handler of before goes on")?;
    ensure!(dev.printed().contains("no method named `to_no_case`"), "the compiler's words: {}", dev.printed());
    std::fs::write(&source, text.replace("to_uppercase()", "to_lowercase().trim().to_owned()"))?;
    let end = Instant::now() + SOON;
    while dev.swaps() < 2 {
        ensure!(Instant::now() < end, "no second handler: {}", dev.printed());
        std::thread::sleep(Duration::from_millis(20));
    }
    // Another save, so that what the last build may have set off has been seen by then.
    let config = dev.path("mask/wasmill.toml");
    std::fs::write(&config, std::fs::read_to_string(&config)? + "\n")?;
    dev.wait_printed("wasmill.toml has changed")?;
    // What a build writes sets off no other, which would come to the same handler.
    let printed = dev.printed();
    assert!(!printed.contains("the handler is the same as before"), "{printed}");
    assert_eq!(printed.matches("built in").count(), 3, "the first build, and two saves: {printed}");
    Ok(())
}
