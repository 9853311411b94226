//! Swaps at bad moments, and to handlers that should not be there: each ends in a clear answer, and the messages before,
//! meanwhile and after come out once and in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::broker::{self, Broker};
use wasmill_tests::eye::{Eye, Offsets};
use wasmill_tests::mill::{Mill, Options, guest};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::{Place, shared, unique};
use wasmill_tests::swaps::book::{Book, Run, Verdict};
use wasmill_tests::swaps::fleet::resident_mb;
use wasmill_tests::versions::Version;

const SOON: Duration = Duration::from_secs(60);
const PARTITIONS: u32 = 2;

/// A pipeline through which numbered messages flow, in one process.
struct Scene {
    eye: Eye,
    bootstrap: String,
    name: String,
    folder: Scratch,
    mill: Mill,
    /// The version that it started with.
    first: Version,
}

impl Scene {
    /// Starts with number `first` of the handler, `lines` added to the pipeline's table.
    fn start(eye: &Eye, bootstrap: &str, name: &str, first: u32, lines: &str) -> Result<Self> {
        let (eye, name, folder) = (eye.clone(), unique(name), Scratch::new("versions")?);
        for of in ["in", "out"] {
            eye.create_topic(&format!("{name}-{of}"), PARTITIONS, &[])?;
        }
        eye.create_topic(&format!("{name}-dead"), 1, &[])?;
        let first = Version::write(folder.path(), "stamp", first)?;
        let mill = Mill::start(&options(bootstrap, &name, &first, lines))?;
        eye.start_stream(&format!("{name}-in"), PARTITIONS, 20, 2000)?;
        let scene = Self { eye, bootstrap: bootstrap.to_owned(), name, folder, mill, first };
        scene.flow()?;
        Ok(scene)
    }

    fn version(&self, number: u32) -> Result<Version> {
        Version::write(self.folder.path(), "stamp", number)
    }

    fn topic(&self, of: &str) -> String {
        format!("{}-{of}", self.name)
    }

    /// Waits until messages that are in no output yet have come out of every partition.
    fn flow(&self) -> Result<()> {
        let (now, end) = (self.eye.end_offsets(&self.topic("out"))?, Instant::now() + SOON);
        loop {
            let later = self.eye.end_offsets(&self.topic("out"))?;
            if now.iter().all(|(partition, now)| later.get(partition).is_some_and(|later| *later > now + 50)) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "messages do not flow: {later:?} after {now:?}\n{}", self.mill.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(u16, Value)> {
        self.mill.post(&format!("/api/v1/pipelines/{}/swap", self.name), bytes)
    }

    /// Swaps, and the first offset of each partition.
    fn swap(&self, version: &Version) -> Result<(Value, Offsets)> {
        let (code, answer) = self.send(&std::fs::read(&version.path)?)?;
        ensure!(code == 200 && answer["outcome"] == "swapped", "{code}: {answer}");
        let firsts = firsts(&answer)?;
        Ok((answer, firsts))
    }

    /// Tries to swap to something that is refused; the reason.
    fn refused(&self, bytes: &[u8], gate: &str, code: u16) -> Result<String> {
        let (got, answer) = self.send(bytes)?;
        ensure!(got == code && answer["gate"] == gate, "at `{gate}` with {code}, not {got}: {answer}");
        Ok(answer["reason"].as_str().context("a reason")?.to_owned())
    }

    fn status(&self) -> Result<Value> {
        Ok(self.mill.status()?["pipelines"][0].take())
    }

    fn history(&self) -> Result<Vec<Value>> {
        let (_, mut history) = self.mill.get_private(&format!("/api/v1/pipelines/{}/history", self.name))?;
        Ok(serde_json::from_value(history["history"].take())?)
    }

    /// Ends the stream, waits until all of it is committed, and reads what came of it.
    fn read(self) -> Result<(Book, Vec<i64>, Self)> {
        self.flow()?;
        let given = self.eye.stop_stream(&self.topic("in"))?;
        let ends: Offsets = (0..).zip(given.iter().copied()).collect();
        let done = self.eye.wait_committed(&self.name, &self.topic("in"), &ends, SOON);
        done.with_context(|| self.mill.log())?;
        let mut book = Book::new(&given);
        self.eye.stamped(&self.topic("out"), |piece| book.enter(&piece))?;
        Ok((book, given, self))
    }

    /// Whatever was sent came out once, in order, from the versions that served: the first one, and those of `swaps` from
    /// the offsets on that were reported.
    fn all_is_well(self, swaps: &[(&Version, Offsets)]) -> Result<()> {
        let run = |version: &Version, first| Run { stamp: version.stamp().to_owned(), first };
        let runs = (0..PARTITIONS as i32).map(|partition| {
            let later = swaps.iter().map(|(version, firsts)| {
                Ok(run(
                    version,
                    *firsts.get(&partition).with_context(|| format!("partition {partition} is not named"))?,
                ))
            });
            std::iter::once(Ok(run(&self.first, 0))).chain(later).collect::<Result<Vec<_>>>()
        });
        let runs: Vec<_> = runs.collect::<Result<_>>()?;
        let (book, _, mut scene) = self.read()?;
        well(&book.close(Some(&runs)))?;
        let dead = scene.eye.end_offsets(&scene.topic("dead"))?;
        ensure!(dead == Offsets::from([(0, 0)]), "dead letters: {dead:?}");
        ensure!(scene.mill.stop()?.success(), "no good end:\n{}", scene.mill.log());
        Ok(())
    }
}

fn options(bootstrap: &str, name: &str, version: &Version, lines: &str) -> Options {
    let pipeline = format!(
        r#"
[pipelines.{name}]
topics = ["{name}-in"]
group = "{name}"
handler = "{handler}"
output.topic = "{name}-out"
dead_letter = "{name}-dead"
{lines}
"#,
        handler = version.name()
    );
    Options::new(bootstrap, pipeline)
}

fn well(verdict: &Verdict) -> Result<()> {
    let reasons = verdict.reasons();
    ensure!(reasons.is_empty(), "{}", reasons.join("\n"));
    Ok(())
}

fn firsts(answer: &Value) -> Result<Offsets> {
    let number = |one: &Value| one["partition"].as_str()?.rsplit_once('/')?.1.parse().ok();
    let all = answer["partitions"].as_array().context("partitions")?.iter();
    let first = |one| Ok((number(one).context("a partition")?, one["first_offset"].as_i64().context("an offset")?));
    all.map(first).collect()
}

#[test]
fn what_is_no_handler_is_refused_and_nothing_else_notices() -> Result<()> {
    let shared = shared()?;
    let scene = Scene::start(&shared.eye, &shared.broker.bootstrap(), "no-handler", 0, "limits.init_time = \"500ms\"")?;
    let whole = std::fs::read(&scene.version(1)?.path)?;
    let said = scene.refused(&whole[..whole.len() / 2], "format", 409)?;
    ensure!(said.contains("this is not WebAssembly: unexpected end-of-file"), "{said}");
    let said = scene.refused(b"", "format", 409)?;
    ensure!(said.contains("the file is empty"), "{said}");

    let socket = wat::parse_str(
        r#"(component
            (import "wasi:sockets/tcp@0.2.6" (instance))
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func (export "f") (canon lift (core func $i "f"))))"#,
    )?;
    let said = scene.refused(&socket, "imports", 409)?;
    ensure!(said.contains("imports `wasi:sockets/tcp@0.2.6`, which no handler gets"), "{said}");

    let began = Instant::now();
    let said = scene.refused(&std::fs::read(guest("init_spins")?)?, "init", 409)?;
    ensure!(said.contains("limits.init_time"), "{said}");
    // Compilation comes on top.
    ensure!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());

    let refusals: Vec<Value> = scene.history()?.into_iter().filter(|one| one["what"] == "refused").collect();
    ensure!(refusals.len() == 4, "{refusals:?}");
    scene.all_is_well(&[])
}

#[test]
fn a_handler_of_200_mb_is_refused_before_it_is_read() -> Result<()> {
    const BYTES: usize = 200 << 20;
    let shared = shared()?;
    let scene = Scene::start(&shared.eye, &shared.broker.bootstrap(), "large", 0, "")?;
    let large = scene.folder.path().join("large.wasm");
    // A file of zeros that takes no room.
    std::fs::File::create(&large)?.set_len(BYTES as u64)?;
    let before = resident_mb(scene.mill.pid());
    let began = Instant::now();
    let told = scene.mill.command(&["swap", &scene.name, &large.display().to_string()]);
    let (took, said) = (began.elapsed(), format!("{:#}", told.err().context("it was taken")?));
    let after = peak_mb(scene.mill.pid());
    ensure!(said.contains("200.0 MiB") && said.contains("hint: limits.component"), "{said}");
    ensure!(took < Duration::from_secs(10), "{took:?}");
    ensure!(after < before + 100.0, "{before} MB, and up to {after} MB meanwhile");
    scene.all_is_well(&[])
}

/// The most that a process has held.
fn peak_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    line.unwrap_or(f64::INFINITY) / 1024.0
}

#[test]
fn a_handler_that_traps_at_once_is_taken_back_by_itself_and_nothing_is_given_up() -> Result<()> {
    const BATCH: u64 = 16;
    let shared = shared()?;
    let lines = format!("batch.messages = {BATCH}");
    let scene = Scene::start(&shared.eye, &shared.broker.bootstrap(), "traps", 0, &lines)?;
    let traps = Version::write(scene.folder.path(), "stamp_traps", 1)?;
    let (_, firsts) = scene.swap(&traps)?;
    let end = Instant::now() + SOON;
    let back = loop {
        let back = scene.history()?.into_iter().find(|one| one["what"] == "rollback");
        if let Some(back) = back {
            break back;
        }
        ensure!(Instant::now() < end, "it is not taken back:\n{}", scene.mill.log());
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(back["from"]["digest"] == traps.digest && back["to"]["digest"] == scene.first.digest, "{back}");
    ensure!(back["by"] == "rollback" && back["reason"].is_string(), "{back}");
    ensure!(scene.status()?["plugin"] == scene.first.digest, "the version before does not serve");
    scene.flow()?;
    // It was handed at most a window and what lanes had in their hands, and was done with nothing of it.
    let again = self::firsts(&back)?;
    for (partition, first) in &firsts {
        ensure!(again.get(partition) == Some(first), "partition {partition}: from {first}, back from {again:?}");
    }
    let first = scene.first.clone();
    scene.all_is_well(&[(&traps, firsts), (&first, again)])
}

#[test]
fn ten_swaps_at_the_same_time_come_one_after_the_other() -> Result<()> {
    let shared = shared()?;
    let scene = Scene::start(&shared.eye, &shared.broker.bootstrap(), "ten", 0, "")?;
    let versions: Vec<Version> = (1..=10).map(|number| scene.version(number)).collect::<Result<_>>()?;
    let answers: Vec<Result<_>> = std::thread::scope(|scope| {
        let asks: Vec<_> = versions.iter().map(|version| scope.spawn(|| scene.swap(version))).collect();
        asks.into_iter().map(|ask| ask.join().expect("asks do not panic")).collect()
    });
    let mut swaps = BTreeMap::new();
    for (version, answer) in versions.iter().zip(answers) {
        let (answer, firsts) = answer?;
        swaps.insert(answer["serial"].as_u64().context("a serial")?, (version, firsts));
    }
    ensure!(swaps.keys().copied().eq(1..=10), "{:?}", swaps.keys());
    let swaps: Vec<_> = swaps.into_values().collect();
    let last = swaps.last().context("ten")?.0;
    ensure!(scene.status()?["plugin"] == last.digest, "the last one serves");
    scene.all_is_well(&swaps)
}

#[test]
fn while_the_broker_is_away_a_swap_is_answered_and_then_everything_is_handled() -> Result<()> {
    let _place = Place::take();
    let broker = Broker::start(&broker::Options::default())?;
    let scene = Scene::start(&broker.eye()?, &broker.bootstrap(), "outage", 0, "")?;
    let (during, after) = (scene.version(1)?, scene.version(2)?);
    broker.kill()?;
    let answer = scene.swap(&during)?;
    broker.start_again()?;
    scene.flow()?;
    let later = scene.swap(&after)?;
    ensure!(answer.0["waiting"] == json!([]) && later.0["waiting"] == json!([]), "{answer:?}, {later:?}");
    scene.all_is_well(&[(&during, answer.1), (&after, later.1)])
}

#[test]
fn swaps_while_a_member_joins_and_leaves_lose_nothing_and_no_version_comes_back() -> Result<()> {
    let shared = shared()?;
    // The other process has number 0; the one that is swapped begins with number 1.
    let scene = Scene::start(&shared.eye, &shared.broker.bootstrap(), "rebalance", 1, "")?;
    let zero = scene.version(0)?;
    let over = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = Vec::new();
            while !over.load(Ordering::Acquire) {
                let version = scene.version(2 + swaps.len() as u32)?;
                let firsts = scene.swap(&version)?.1;
                swaps.push((version, firsts));
            }
            Ok::<_, anyhow::Error>(swaps)
        });
        let moved = join_and_leave(&scene, &zero);
        over.store(true, Ordering::Release);
        let swaps = swapper.join().expect("swaps do not panic")?;
        moved.map(|()| swaps)
    })?;
    ensure!(swaps.len() > 3, "{} swaps during two rebalances", swaps.len());
    let order: BTreeMap<String, usize> = std::iter::once(&scene.first)
        .chain(swaps.iter().map(|(version, _)| version))
        .map(|one| one.stamp().to_owned())
        .zip(0..)
        .collect();
    let (book, given, mut scene) = scene.read()?;
    for (partition, runs) in (0..).zip(book.runs()) {
        let ends = runs.iter().skip(1).map(|run| run.first).chain(given.get(partition as usize).copied());
        let mut latest = 0;
        for (run, end) in runs.iter().zip(ends) {
            let Some(number) = order.get(&run.stamp).copied() else {
                ensure!(run.stamp == zero.stamp(), "nobody's run: {run:?}");
                continue;
            };
            ensure!(number >= latest, "partition {partition}: version {number} after {latest}: {runs:?}");
            latest = number;
            // Nothing of it below where it took over, and nothing from where the next one did.
            let first = |number: usize| swaps.get(number).and_then(|(_, firsts): &(_, Offsets)| firsts.get(&partition));
            let (from, until) = (number.checked_sub(1).and_then(first), first(number));
            ensure!(
                from.is_none_or(|from| run.first >= *from),
                "partition {partition}: {run:?} begins before {from:?}"
            );
            ensure!(
                until.is_none_or(|until| end <= *until),
                "partition {partition}: {run:?} goes on behind {until:?} to {end}"
            );
        }
    }
    let moved = book.runs().iter().flatten().any(|run| run.stamp == zero.stamp());
    ensure!(moved, "the other process was given nothing");
    well(&book.close(None))?;
    ensure!(scene.mill.stop()?.success(), "no good end:\n{}", scene.mill.log());
    Ok(())
}

/// A second process takes part of the partitions for a while.
fn join_and_leave(scene: &Scene, version: &Version) -> Result<()> {
    let mut other = Mill::start(&options(&scene.bootstrap, &scene.name, version, ""))?;
    scene.eye.wait_members(&scene.name, 2, SOON)?;
    let works = |status: &Value| {
        let partitions = status["pipelines"][0]["partitions"].as_array().into_iter().flatten();
        partitions.filter_map(|one| one["committed"].as_i64()).sum::<i64>() > 0
    };
    other.wait_status("the other process works", SOON, works)?;
    scene.flow()?;
    ensure!(other.stop()?.success(), "no good end:\n{}", other.log());
    scene.eye.wait_members(&scene.name, 1, SOON)?;
    scene.flow()
}
