//! `outcome`: what a call emits and which messages it does not acknowledge. Every number in here was written by a
//! guest; one that is out of range ends the call.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::{ABSENT, Batch, Emitted, EmittedRow, Failure, FailureKind, HEADER_STRIDE, Span};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList, WasmStr};

use super::names::of_version;
use crate::error::Stop;
use crate::spec::{Limits, OutputNames};
use crate::text;

/// The interface's name.
pub(crate) const INTERFACE: &str = "wasmill:handler/outcome@0.1.0";

/// Words of an output row that are known here; a row may be longer. A plugin made for 0.1.0 writes these, so that a later
/// 0.1.x must not ask for more.
const ROW: usize = 12;
const TIMESTAMP_GIVEN: u32 = 1;
const PARTITION_GIVEN: u32 = 2;
/// A failure's reason is cut to this.
const REASON_BYTES: usize = 8 * 1024;
/// What a header costs of the output limit besides its name and value: without it, rows that each refer to the same
/// million empty headers would be free.
const HEADER_BYTES: u64 = 8;

/// Adds the interface to the linker. `outcome` finds the context in a store's data.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    version: &str,
    outcome: impl Fn(&mut T) -> &mut OutcomeSlot + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&of_version(INTERFACE, version))?;
    interface.func_wrap("emit", move |mut cx: StoreContextMut<'_, T>, args: EmitArguments| {
        let (data, table, stride, count) = args;
        // Taken out while guest memory is read in place, which borrows the whole store.
        let mut taken = outcome(cx.data_mut()).take();
        let emitted = taken.emit(data.as_le_slice(&cx), table.as_le_slice(&cx), stride, count);
        outcome(cx.data_mut()).put(taken);
        Ok(emitted?)
    })?;
    interface.func_wrap("fail", move |mut cx: StoreContextMut<'_, T>, args: (u32, Option<u32>, WasmStr)| {
        let (message, retry_after, reason) = args;
        if outcome(cx.data_mut()).get().is_news(message)? {
            let reason = text::clean(&reason.to_str(&cx)?, REASON_BYTES);
            outcome(cx.data_mut()).get_mut().fail(message, retry_after, reason);
        }
        Ok(())
    })
}

type EmitArguments = (WasmList<u8>, WasmList<u32>, u32, u32);

/// Where an instance keeps its outcome: `emit` takes it out, calls nothing that could look for it, and puts it back.
pub(crate) struct OutcomeSlot(Option<Box<Outcome>>);

/// Why the outcome is there.
const THERE: &str = "the outcome is out only while emit reads guest memory";

impl OutcomeSlot {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self(Some(Box::new(outcome)))
    }

    pub(crate) fn get(&self) -> &Outcome {
        self.0.as_ref().expect(THERE)
    }

    pub(crate) fn get_mut(&mut self) -> &mut Outcome {
        self.0.as_mut().expect(THERE)
    }

    fn take(&mut self) -> Box<Outcome> {
        self.0.take().expect(THERE)
    }

    fn put(&mut self, outcome: Box<Outcome>) {
        self.0 = Some(outcome);
    }
}

/// What the running call has said so far, and the numbers of its batch that the guest's are checked against.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) emitted: Emitted,
    pub(crate) failures: Vec<Failure>,
    /// One bit for each message: a verdict was given.
    failed: Vec<u64>,
    messages: u32,
    input_bytes: u32,
    /// The batch's table, for its header rows; only held while a call runs.
    table: Option<Arc<Vec<u32>>>,
    /// Words of that table before its header rows.
    row_words: usize,
    header_rows: u32,
    published_bytes: u64,
    output_messages: usize,
    output_bytes: u64,
    outputs: Arc<OutputNames>,
    open: bool,
}

impl Outcome {
    pub(crate) fn new(limits: &Limits, outputs: Arc<OutputNames>) -> Self {
        Self {
            output_messages: limits.output_messages,
            output_bytes: limits.output_bytes as u64,
            outputs,
            ..Self::default()
        }
    }

    /// A call with `batch` begins.
    pub(crate) fn open(&mut self, batch: &Batch) {
        self.clear();
        self.open = true;
        // A batch keeps its lengths below 32 bits.
        self.messages = batch.len() as u32;
        self.input_bytes = batch.data().len() as u32;
        self.header_rows = batch.header_rows() as u32;
        self.row_words = batch.len() * batch.stride();
        self.table = (self.header_rows > 0).then(|| Arc::clone(batch.table()));
        self.failed.resize(batch.len().div_ceil(64), 0);
    }

    /// The call is over. Gives the table back, so that the batch can be filled again in place.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.table = None;
    }

    /// Forgets what an earlier call said.
    pub(crate) fn clear(&mut self) {
        self.emitted.clear();
        self.failures.clear();
        self.failed.clear();
        self.published_bytes = 0;
        self.close();
    }

    /// Whether nothing was said of `message` yet.
    fn is_news(&self, message: u32) -> Result<bool, Stop> {
        self.must_be_open("fail")?;
        if message >= self.messages {
            return Err(Stop::protocol(format!("fail names message {message} of a batch of {}", self.messages)));
        }
        Ok(self.failed[message as usize / 64] & (1 << (message % 64)) == 0)
    }

    /// Records the verdict. The message's number must have been checked with `is_news`.
    pub(crate) fn fail(&mut self, message: u32, retry_after_ms: Option<u32>, reason: String) {
        self.failed[message as usize / 64] |= 1 << (message % 64);
        self.failures.push(Failure {
            message,
            retry_after: retry_after_ms.map(|ms| Duration::from_millis(ms.into())),
            kind: if retry_after_ms.is_some() { FailureKind::Retry } else { FailureKind::Reject },
            reason,
        });
    }

    fn must_be_open(&self, function: &str) -> Result<(), Stop> {
        if self.open { Ok(()) } else { Err(Stop::protocol(format!("{function} was called outside of handle"))) }
    }

    /// Checks and takes over the outputs of one `emit`.
    fn emit(&mut self, data: &[u8], table: &[u32], stride: u32, count: u32) -> Result<(), Stop> {
        self.must_be_open("emit")?;
        if (stride as usize) < ROW {
            return Err(Stop::protocol(format!("emit: a stride of {stride} words; a row has at least {ROW}")));
        }
        // Both below 2^32: the product fits in 64 bits.
        let words = u64::from(stride) * u64::from(count);
        if words > table.len() as u64 {
            return Err(Stop::protocol(format!(
                "emit: {count} rows of {stride} words in a table of {} words",
                table.len()
            )));
        }
        let (rows, rest) = table.split_at(words as usize);
        let (headers, ragged) = rest.as_chunks::<HEADER_STRIDE>();
        if !ragged.is_empty() {
            return Err(Stop::protocol(format!("emit: {} words after the rows are no whole header rows", rest.len())));
        }
        self.reserve(count as usize, data.len())?;
        let mut call = EmitCall { base: self.emitted.data.len() as u32, own: data.len(), headers, row: 0 };
        for row in rows.chunks_exact(stride as usize) {
            // `chunks_exact` gives at least ROW words.
            let Some(row) = row.first_chunk::<ROW>() else { break };
            self.row(&row.map(u32::from_le), &call)?;
            call.row += 1;
        }
        self.emitted.data.extend_from_slice(data);
        Ok(())
    }

    /// Checks the limits that do not depend on what the rows say.
    fn reserve(&mut self, rows: usize, own: usize) -> Result<(), Stop> {
        if rows > self.output_messages - self.emitted.rows.len() {
            return Err(Stop::OutputLimit(format!("more than {} messages in one call", self.output_messages)));
        }
        let own = self.emitted.data.len() as u64 + own as u64;
        if own > self.output_bytes || u64::from(self.input_bytes) + own >= u64::from(ABSENT) {
            return Err(self.too_many_bytes());
        }
        self.emitted.rows.reserve(rows);
        Ok(())
    }

    #[inline]
    fn row(&mut self, row: &[u32; ROW], call: &EmitCall<'_>) -> Result<(), Stop> {
        let [message, topic, .., partition, flags] = *row;
        let timestamp = (u64::from(row[9]) << 32 | u64::from(row[8])) as i64;
        let partition = partition as i32;
        let sound = message < self.messages
            && (topic != 0 && topic < self.outputs.count() || topic == 0 && self.outputs.default.is_some())
            && flags & !(TIMESTAMP_GIVEN | PARTITION_GIVEN) == 0
            && (flags & TIMESTAMP_GIVEN == 0 || timestamp >= 0)
            && (flags & PARTITION_GIVEN == 0 || partition >= 0);
        if !sound {
            return Err(self.unsound(row, call));
        }
        let key = self.span(row[2], row[3], call, "key")?;
        let value = self.span(row[4], row[5], call, "value")?;
        self.publish(present(key) + present(value))?;
        let first_header = self.emitted.headers.len();
        if row[7] > 0 {
            self.headers(row[6], row[7], call)?;
        }
        self.emitted.rows.push(EmittedRow {
            message,
            topic,
            key,
            value,
            first_header: u32::try_from(first_header).map_err(|_| self.too_many_bytes())?,
            headers: row[7],
            timestamp: (flags & TIMESTAMP_GIVEN != 0).then_some(timestamp),
            partition: (flags & PARTITION_GIVEN != 0).then_some(partition),
        });
        Ok(())
    }

    /// A span as the guest wrote it, checked; what lies in the call's own data is moved behind that of earlier calls.
    #[inline]
    fn span(&self, start: u32, len: u32, call: &EmitCall<'_>, what: &str) -> Result<Span, Stop> {
        if len == ABSENT {
            return Ok(Span::NONE);
        }
        if start < self.input_bytes {
            if len <= self.input_bytes - start {
                return Ok(Span { start, len });
            }
        } else {
            let at = (start - self.input_bytes) as usize;
            if at <= call.own && len as usize <= call.own - at {
                // `reserve` has seen to it that this fits.
                return Ok(Span { start: start + call.base, len });
            }
        }
        Err(Stop::protocol(format!(
            "emit: row {}: the {what} has {len} bytes from {start} on, the input {} bytes and the call's data {}",
            call.row, self.input_bytes, call.own
        )))
    }

    /// Resolves the header rows `first .. first + count`: those of the input batch come first, then the call's own.
    fn headers(&mut self, first: u32, count: u32, call: &EmitCall<'_>) -> Result<(), Stop> {
        let end = u64::from(first) + u64::from(count);
        let total = u64::from(self.header_rows) + call.headers.len() as u64;
        if end > total {
            return Err(Stop::protocol(format!(
                "emit: row {}: header rows {first}..{end} of {total} (those of the input included)",
                call.row
            )));
        }
        let table = self.table.take();
        let result = self.resolve(first..first + count, call, table.as_deref().map_or(&[], Vec::as_slice));
        self.table = table;
        result
    }

    fn resolve(&mut self, rows: std::ops::Range<u32>, call: &EmitCall<'_>, table: &[u32]) -> Result<(), Stop> {
        let input = table.get(self.row_words..).unwrap_or_default().as_chunks::<HEADER_STRIDE>().0;
        for index in rows {
            let spans = if let Some(row) = input.get(index as usize) {
                // The host's own row: nothing to check.
                let span = |start, len| if len == ABSENT { Span::NONE } else { Span { start, len } };
                [span(row[0], row[1]), span(row[2], row[3])]
            } else {
                let row = call.headers[(index - self.header_rows) as usize].map(u32::from_le);
                let name = self.span(row[0], row[1], call, "name of a header")?;
                if name.is_absent() {
                    return Err(Stop::protocol(format!("emit: row {}: a header without a name", call.row)));
                }
                [name, self.span(row[2], row[3], call, "value of a header")?]
            };
            self.publish(HEADER_BYTES + present(spans[0]) + present(spans[1]))?;
            self.emitted.headers.push(spans);
        }
        Ok(())
    }

    /// Counts bytes that will be published. References count too: ten rows can each refer to the whole input.
    #[inline]
    fn publish(&mut self, bytes: u64) -> Result<(), Stop> {
        self.published_bytes += bytes;
        if self.published_bytes > self.output_bytes { Err(self.too_many_bytes()) } else { Ok(()) }
    }

    #[cold]
    fn too_many_bytes(&self) -> Stop {
        Stop::OutputLimit(format!("more than {} bytes in one call", self.output_bytes))
    }

    #[cold]
    fn unsound(&self, row: &[u32; ROW], call: &EmitCall<'_>) -> Stop {
        let [message, topic, .., partition, flags] = *row;
        let what = if message >= self.messages {
            format!("message {message} of a batch of {}", self.messages)
        } else if topic == 0 && self.outputs.default.is_none() {
            "topic 0, and the pipeline has no default output".to_owned()
        } else if topic >= self.outputs.count() {
            format!("topic {topic}; the pipeline grants numbers below {}", self.outputs.count())
        } else if flags & !(TIMESTAMP_GIVEN | PARTITION_GIVEN) != 0 {
            format!("flags {flags:#x}; only bits 0 and 1 mean something")
        } else if flags & PARTITION_GIVEN != 0 && (partition as i32) < 0 {
            format!("partition {}", partition as i32)
        } else {
            "a timestamp before 1970".to_owned()
        };
        Stop::protocol(format!("emit: row {}: {what}", call.row))
    }
}

/// One output in nested form, as the plain world gives it.
pub(crate) struct Output<'a> {
    pub(crate) message: u32,
    pub(crate) topic: u32,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

impl Outcome {
    /// Takes over one output of the plain world, through the same checks as `emit`.
    pub(crate) fn push<'a>(
        &mut self,
        output: &Output<'a>,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), Stop> {
        let mut data = Vec::new();
        let mut place = |bytes: Option<&[u8]>, input: u32| -> [u32; 2] {
            let Some(bytes) = bytes else { return [0, ABSENT] };
            // What the lifted values may hold in all is limited far below 32 bits.
            let start = input.saturating_add(data.len() as u32);
            data.extend_from_slice(bytes);
            [start, bytes.len() as u32]
        };
        let key = place(output.key, self.input_bytes);
        let value = place(output.value, self.input_bytes);
        let mut rows = Vec::new();
        for (name, value) in headers {
            rows.extend(place(Some(name), self.input_bytes));
            rows.extend(place(value, self.input_bytes));
        }
        let timestamp = output.timestamp.unwrap_or(0);
        let flags = u32::from(output.timestamp.is_some()) * TIMESTAMP_GIVEN
            + u32::from(output.partition.is_some()) * PARTITION_GIVEN;
        let mut table = vec![output.message, output.topic, key[0], key[1], value[0], value[1]];
        table.extend([self.header_rows, (rows.len() / HEADER_STRIDE) as u32]);
        table.extend([timestamp as u32, (timestamp >> 32) as u32, output.partition.unwrap_or(0) as u32, flags]);
        table.extend(rows);
        self.emit(&data, &table.iter().map(|word| word.to_le()).collect::<Vec<_>>(), ROW as u32, 1)
    }
}

/// What the rows of one `emit` are resolved with.
struct EmitCall<'a> {
    /// Bytes that earlier calls of this batch have put into `Emitted::data`.
    base: u32,
    /// Bytes of this call's data.
    own: usize,
    headers: &'a [[u32; HEADER_STRIDE]],
    row: u32,
}

fn present(span: Span) -> u64 {
    if span.is_absent() { 0 } else { span.len.into() }
}
