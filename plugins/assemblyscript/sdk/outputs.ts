import { Bytes } from "./bytes";
import * as host from "./host";
import { ABSENT, HEADER_BYTES, Message } from "./message";

/** Bytes of an output's row. */
const ROW_BYTES: usize = 48;
const TIMESTAMP_GIVEN: u32 = 1;
const PARTITION_GIVEN: u32 = 2;

/**
 * Past either of these the outputs so far go to the host: a handler that emits without end then meets the pipeline's
 * output limit, which says so, and not that of its memory.
 */
const FLUSH_BYTES: usize = 1 << 20;
const FLUSH_ROWS: usize = (16 << 10) * ROW_BYTES;

/** An output topic, as the host numbers it. Valid as long as the instance. */
export class Topic {
  /** The pipeline's default output. */
  static readonly DEFAULT: Topic = new Topic(0);

  /** Not for use by handlers. */
  constructor(readonly number: u32) {}

  /**
   * An output topic by its name; null if the pipeline's `output` does not grant it, and `Topic.refusal` then says which
   * it does. `Context.topic` is the one to use in `init`.
   */
  static named(name: string): Topic | null {
    const number = host.topicNumber(name);
    return number < 0 ? null : new Topic(number);
  }

  /** The host's text on why the last `named` gave null. */
  static get refusal(): string {
    return host.refusal;
  }
}

/** Memory that grows and is reused from batch to batch; not collected. */
class Buffer {
  start: usize = heap.alloc(4096);
  length: usize = 0;
  private capacity: usize = 4096;

  /** Room for so many more bytes, behind those there are; returns where. */
  extend(size: usize): usize {
    const at = this.length;
    this.length += size;
    if (this.length > this.capacity) {
      this.capacity = max(this.length, this.capacity * 2);
      this.start = heap.realloc(this.start, this.capacity);
    }
    return this.start + at;
  }

  append(start: usize, size: usize): void {
    memory.copy(this.extend(size), start, size);
  }
}

/**
 * What the handler emits for the message at hand, written straight into the layout of the contract (`outcome.emit` in
 * `wit/handler.wit`). It is published, in order, if and when the message is acknowledged.
 *
 * Bytes of a message are sent as a reference: they cannot be written to, so they are still what the host handed over.
 * Others are copied when they are given.
 */
export class Outputs {
  private data: Buffer = new Buffer();
  private rows: Buffer = new Buffer();
  private headers: Buffer = new Buffer();
  private draft!: Draft;
  /** Of the batch: its bytes, and how many header rows. */
  private input: usize = 0;
  private inputLength: usize = 0;
  private inputHeaders: u32 = 0;
  /** The message at hand, and how much there was when it began. */
  private message: u32 = 0;
  private dataMark: usize = 0;
  private rowsMark: usize = 0;
  private headersMark: usize = 0;

  constructor() {
    this.draft = new Draft(this);
  }

  /** Sends key and value to the pipeline's default output, with the message's timestamp and no headers. */
  send(key: Bytes | null, value: Bytes | null): void {
    this.makeRoom();
    const row = this.row(Topic.DEFAULT);
    this.put(row + 8, key);
    this.put(row + 16, value);
  }

  /** Sends a message on as it is, headers included, to the pipeline's default output. Copies nothing. */
  forward(message: Message): void {
    this.makeRoom();
    const row = this.row(Topic.DEFAULT);
    // Both rows have the spans of key, value and headers in the same order.
    memory.copy(row + 8, message.row, 24);
  }

  /** Begins an output to a topic. Nothing is emitted before `Draft.send`, and one draft is written at a time. */
  to(topic: Topic): Draft {
    this.draft.isOpen = false;
    this.makeRoom();
    this.draft.begin(topic);
    return this.draft;
  }

  /** Prepares for a batch. */
  begin(data: usize, length: usize, headers: u32): void {
    this.input = data;
    this.inputLength = length;
    this.inputHeaders = headers;
    this.clear();
  }

  /** Prepares for a message of it. */
  beginMessage(index: u32): void {
    this.message = index;
    this.draft.isOpen = false;
    this.dataMark = this.data.length;
    this.rowsMark = this.rows.length;
    this.headersMark = this.headers.length;
  }

  /** Drops what the message at hand emitted. What the host already has of it, the host drops. */
  drop(): void {
    this.data.length = this.dataMark;
    this.rows.length = this.rowsMark;
    this.headers.length = this.headersMark;
  }

  /** Hands the outputs so far to the host. */
  flush(): void {
    if (this.rows.length == 0) return;
    const count = <u32>(this.rows.length / ROW_BYTES);
    this.rows.append(this.headers.start, this.headers.length);
    host.emit(this.data.start, this.data.length, this.rows.start, this.rows.length / 4, <u32>ROW_BYTES / 4, count);
    this.clear();
  }

  private clear(): void {
    this.data.length = 0;
    this.rows.length = 0;
    this.headers.length = 0;
    this.dataMark = this.rowsMark = this.headersMark = 0;
  }

  /** Not while a draft is open: its headers are already here. */
  private makeRoom(): void {
    if (this.data.length < FLUSH_BYTES && this.rows.length < FLUSH_ROWS) return;
    if (!this.draft.isOpen) this.flush();
  }

  /** Appends a row with nothing in it. */
  row(topic: Topic): usize {
    const row = this.rows.extend(ROW_BYTES);
    memory.fill(row, 0, ROW_BYTES);
    store<u32>(row, this.message);
    store<u32>(row, topic.number, 4);
    store<u32>(row, ABSENT, 12);
    store<u32>(row, ABSENT, 20);
    return row;
  }

  /** Writes start and length of bytes to an address in the table. */
  put(pair: usize, bytes: Bytes | null): void {
    if (bytes === null) {
      store<u32>(pair, 0);
      store<u32>(pair, ABSENT, 4);
      return;
    }
    const length = <usize>bytes.length;
    let start = bytes.start - this.input;
    // Below the length of the input's bytes a start means those; what lies there must lie there as a whole.
    if (start >= this.inputLength || length > this.inputLength - start) {
      start = this.inputLength + this.data.length;
      this.data.append(bytes.start, length);
    }
    store<u32>(pair, <u32>start);
    store<u32>(pair, <u32>length, 4);
  }

  /** Appends a header row of this call. */
  putHeader(name: Bytes, value: Bytes | null): void {
    const at = this.headers.length;
    this.headers.extend(HEADER_BYTES);
    this.put(this.headers.start + at, name);
    this.put(this.headers.start + at + 8, value);
  }

  /** Appends header rows of the input as they are: their starts mean the same bytes in both tables. */
  copyHeaders(first: usize, count: u32): void {
    this.headers.append(first, <usize>count * HEADER_BYTES);
  }

  /** The number of the next header row of this call. */
  get nextHeader(): u32 {
    return this.inputHeaders + <u32>(this.headers.length / HEADER_BYTES);
  }
}

/** An output that is being put together. Without a key it has no key, without a value it is a tombstone. */
export class Draft {
  /** From `Outputs.to` to `send`. */
  isOpen: bool = false;
  private topic: Topic = Topic.DEFAULT;
  private keyBytes: Bytes | null = null;
  private valueBytes: Bytes | null = null;
  private firstHeader: u32 = 0;
  private headerCount: u32 = 0;
  /** Where the input's header rows lie that are referred to as they are, as long as no other header joins them. */
  private inherited: usize = 0;
  private ms: i64 = 0;
  private partitionNumber: i32 = 0;
  private flags: u32 = 0;

  /** Not for use by handlers: see `Outputs.to`. */
  constructor(private out: Outputs) {}

  begin(topic: Topic): void {
    this.isOpen = true;
    this.topic = topic;
    this.keyBytes = null;
    this.valueBytes = null;
    this.firstHeader = 0;
    this.headerCount = 0;
    this.inherited = 0;
    this.flags = 0;
  }

  /** Sets the key. */
  key(key: Bytes | null): this {
    this.keyBytes = key;
    return this;
  }

  /** Sets the value. */
  value(value: Bytes | null): this {
    this.valueBytes = value;
    return this;
  }

  /** Adds a header behind those already there. */
  header(name: Bytes, value: Bytes | null): this {
    this.ownHeaders();
    this.out.putHeader(name, value);
    this.headerCount++;
    return this;
  }

  /** Adds all headers of a message behind those already there. */
  headersOf(message: Message): this {
    if (this.headerCount == 0) {
      this.firstHeader = load<u32>(message.row, 16);
      this.headerCount = message.headerCount;
      this.inherited = message.firstHeader;
    } else {
      this.ownHeaders();
      this.out.copyHeaders(message.firstHeader, message.headerCount);
      this.headerCount += message.headerCount;
    }
    return this;
  }

  /**
   * Sets the timestamp, in milliseconds since 1970; else it is that of the message. One before 1970 breaks the contract,
   * which ends the call as a trap would.
   */
  timestamp(ms: i64): this {
    this.ms = ms;
    this.flags |= TIMESTAMP_GIVEN;
    return this;
  }

  /**
   * Sets the partition; else the key decides, as in Kafka's own clients. A negative one breaks the contract, which ends
   * the call as a trap would; one that the topic does not have makes the host give the message up.
   */
  partition(partition: i32): this {
    this.partitionNumber = partition;
    this.flags |= PARTITION_GIVEN;
    return this;
  }

  /** Emits it. */
  send(): void {
    this.isOpen = false;
    const row = this.out.row(this.topic);
    this.out.put(row + 8, this.keyBytes);
    this.out.put(row + 16, this.valueBytes);
    store<u32>(row, this.firstHeader, 24);
    store<u32>(row, this.headerCount, 28);
    if (this.flags & TIMESTAMP_GIVEN) store<i64>(row, this.ms, 32);
    store<i32>(row, this.partitionNumber, 40);
    store<u32>(row, this.flags, 44);
  }

  /** Makes the headers so far rows of this call, so that others can follow them. */
  private ownHeaders(): void {
    if (this.headerCount == 0) {
      this.firstHeader = this.out.nextHeader;
    } else if (this.inherited != 0) {
      this.firstHeader = this.out.nextHeader;
      this.out.copyHeaders(this.inherited, this.headerCount);
    }
    this.inherited = 0;
  }
}
