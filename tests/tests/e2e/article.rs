//! `examples/consumer-group`: its README, walked through on an empty cluster, command by command and number by number.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wasmill_tests::broker::{Broker, Options as BrokerOptions};
use wasmill_tests::eye::{Eye, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::reader::Reader;
use wasmill_tests::shared::Place;
use wasmill_tests::tool;
use wasmill_tests::walk::{blocks, merged, table};

const SOON: Duration = Duration::from_secs(60);
const EXAMPLE: &str = "examples/consumer-group";
const TOPIC: &str = "test-topic";

fn file(name: &str) -> Result<String> {
    let path = wasmill_setup::process::root().join(EXAMPLE).join(name);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The blocks in order; the table of offsets where it stands, since later blocks send more messages.
#[test]
fn every_step_of_the_article_comes_out_as_its_readme_says() -> Result<()> {
    let _place = Place::take();
    let broker = Broker::start(&BrokerOptions::default())?;
    let text = file("README.md")?;
    let (before, after) = text.split_once("| after SIGKILL").context("no table of offsets")?;
    let mut reader = Reader::new("consumer-group", &broker.bootstrap())?;
    let steps = blocks(&text);
    let (first, rest) = steps.split_at(blocks(before).len());
    ensure!(rest.len() == blocks(after).len() && !first.is_empty(), "the table divides the blocks");
    first.iter().try_for_each(|block| reader.follow(block))?;
    Modes { broker: &broker, eye: &broker.eye()? }.check(&table(&text, "after SIGTERM"))?;
    rest.iter().try_for_each(|block| reader.follow(block))?;
    reader.close()
}

/// The table of what is committed when.
struct Modes<'a> {
    broker: &'a Broker,
    eye: &'a Eye,
}

/// A process of one row.
struct Row<'a> {
    cells: &'a [String],
    group: String,
    mill: Mill,
}

impl Modes<'_> {
    fn check(&self, table: &[Vec<String>]) -> Result<()> {
        let header = ["`[pipelines.test.commit]`", "at once", "after the interval", "after SIGTERM", "after SIGKILL"];
        let (names, rows) = table.split_first().context("no table of offsets")?;
        ensure!(names.len() == header.len() && names.iter().zip(header).all(|(name, is)| name.starts_with(is)));
        ensure!(rows.len() == 4, "a row for each mode");

        let mut running = self.start("term", rows, None)?;
        self.compare("at once", &running, 1)?;
        for row in &mut running {
            ensure!(row.mill.stop()?.success(), "{}: SIGTERM is an order, not a failure", row.cells[0]);
        }
        self.compare("after SIGTERM", &running, 3)?;

        let mut running = self.start("kill", rows, None)?;
        // A mode that commits at once has done so before it is killed.
        running.iter().try_for_each(|row| self.wait(row, 1))?;
        running.iter_mut().try_for_each(|row| row.mill.kill())?;
        self.compare("after SIGKILL", &running, 4)?;

        // What is there after an interval does not depend on its length.
        let rows: Vec<_> = rows.iter().filter(|row| !row[2].is_empty()).cloned().collect();
        ensure!(rows.len() == 2 && rows.iter().all(|row| row[0].contains("interval")), "modes with an interval");
        let mut running = self.start("wait", &rows, Some("interval = \"1s\""))?;
        self.compare("after the interval", &running, 2)?;
        running.iter_mut().try_for_each(|row| row.mill.stop().map(drop))
    }

    /// Starts a process for each row, in a new group, and waits until it has logged all seven messages.
    fn start<'a>(&self, name: &str, rows: &'a [Vec<String>], interval: Option<&str>) -> Result<Vec<Row<'a>>> {
        let mut running = Vec::new();
        for (number, cells) in rows.iter().enumerate() {
            let group = format!("{name}-{number}");
            let handler = wasmill_setup::process::root().join(EXAMPLE);
            let commit: Vec<_> = cells[0].split('`').skip(1).step_by(2).collect();
            let commit =
                commit.into_iter().filter(|key| interval.is_none() || !key.starts_with("interval")).chain(interval);
            let text = file("wasmill.toml")?;
            let built = text.lines().find_map(|line| line.strip_prefix("handler = \"")?.strip_suffix('"'));
            let handler = handler.join(built.context("no handler")?);
            let (_, pipeline) = text.split_once("[pipelines.test]").context("no pipeline")?;
            let text = merged(
                &format!("[pipelines.test]{pipeline}"),
                &format!(
                    "pipelines.test.group = {group:?}\npipelines.test.handler = {handler:?}\n[pipelines.test.commit]\n{}\n",
                    commit.collect::<Vec<_>>().join("\n")
                ),
            )?;
            let mill = Mill::spawn(&Options::new(&self.broker.bootstrap(), text))?;
            running.push(Row { cells, group, mill });
        }
        for row in &running {
            let end = Instant::now() + SOON;
            while row.mill.log().matches("message at ").count() < 7 {
                ensure!(Instant::now() < end, "{}: not all messages were logged:\n{}", row.cells[0], row.mill.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(running)
    }

    fn expected(row: &Row<'_>, column: usize) -> Result<Offsets> {
        let numbers = row.cells[column].split(", ").map(str::parse).collect::<Result<Vec<i64>, _>>();
        Ok((0..).zip(numbers.with_context(|| format!("`{}`", row.cells[column]))?).collect())
    }

    fn wait(&self, row: &Row<'_>, column: usize) -> Result<()> {
        self.eye.wait_committed(&row.group, TOPIC, &Self::expected(row, column)?, SOON).context(row.cells[0].clone())
    }

    /// Waits until every row has what its cell says, and then asks Kafka's own tool.
    fn compare(&self, what: &str, rows: &[Row<'_>], column: usize) -> Result<()> {
        rows.iter().try_for_each(|row| self.wait(row, column))?;
        let groups: Vec<_> = rows.iter().map(|row| row.group.as_str()).collect();
        let printed = tool::describe(&self.broker.bootstrap(), &groups)?;
        for row in rows {
            let seen = tool::current_offsets(&printed, &row.group, TOPIC)?;
            ensure!(seen == Self::expected(row, column)?, "{}, {what}: Kafka's tool has {seen:?}", row.cells[0]);
        }
        Ok(())
    }
}
