/**
 * What a handler emits, written straight into the layout of the contract (`outcome.emit` in `wit/handler.wit`).
 *
 * Only `forward` and the headers of a message are sent as references into the batch. A handler could have edited the
 * bytes of a key or a value in place, and then the host would publish the unedited ones: they are copied.
 */

import { emit, topicNumber } from './host.js';
import { Header, HEADER_ROW, Headers } from './message.js';
import { encode } from './utf8.js';
import { Reject } from './verdict.js';

/** Words of an output's row. */
export const ROW = 12;
const TIMESTAMP_GIVEN = 1;
const PARTITION_GIVEN = 2;
/** The length that says "absent", as an int32, which the engine stores faster than the same bits as a large number. */
const ABSENT = -1;

/**
 * Past either of these the outputs so far go to the host: a handler that emits without end then meets the pipeline's
 * output limit, which says so, and not that of its memory.
 */
const FLUSH_BYTES = 1 << 20;
const FLUSH_ROWS = 16 << 10;

/** An output topic, as the host numbers it. Good as long as the instance. */
export class Topic {
  /** The pipeline's default output. */
  static DEFAULT = new Topic(0);

  /** @param {number} number */
  constructor(number) {
    this.number = number;
  }

  /**
   * An output topic by name. Ask in `init`, so that a topic that is not granted keeps the pipeline from starting.
   *
   * @param {string} name
   * @throws {Reject} With the host's text, which says what the pipeline's `output` does grant.
   */
  static named(name) {
    try {
      return new Topic(topicNumber(name));
    } catch (error) {
      throw new Reject(error instanceof Error ? error.message : String(error));
    }
  }
}

/** What the handler emits for the message at hand. It is published, in order, if and when that is acknowledged. */
export class Outputs {
  #data = new Uint8Array(64 << 10);
  #used = 0;
  #table = new Uint32Array(256 * ROW);
  #rows = 0;
  /** @type {number[]} Words of header rows; they follow the rows when the outputs go to the host. */
  #headers = [];
  /** @type {import('./message.js').Batch} */
  #batch;
  /** Starts from here on count into `#data`. */
  #inputLength = 0;

  /**
   * Prepares for a batch. For the SDK alone, as is what else is static here.
   *
   * @param {Outputs} out
   * @param {import('./message.js').Batch} batch
   */
  static begin(out, batch) {
    out.#batch = batch;
    out.#inputLength = batch.data.length;
    out.#clear();
  }

  /**
   * Takes back what was emitted for the message at hand; its bytes stay and are of no use to anyone. What was flushed
   * before is with the host, which drops it.
   *
   * @param {Outputs} out
   */
  static drop(out) {
    while (out.#rows > 0 && out.#table[(out.#rows - 1) * ROW] === out.#batch.index) out.#rows--;
  }

  /**
   * Hands the outputs so far to the host.
   *
   * @param {Outputs} out
   */
  static flush(out) {
    if (out.#rows > 0) out.#flush();
  }

  /**
   * @param {string | Uint8Array | null} key
   * @param {string | Uint8Array | null} value
   * @param {import('./index.js').OutputOptions} [options]
   */
  send(key, value, options) {
    const start = this.#inputLength + this.#used;
    const keyLength = this.#put(key, 'key');
    const valueStart = this.#inputLength + this.#used;
    const valueLength = this.#put(value, 'value');
    const row = [this.#batch.index, 0, start, keyLength, valueStart, valueLength, 0, 0, 0, 0, 0, 0];
    if (options !== undefined) this.#choose(row, options);
    this.#row(row);
  }

  /** @param {import('./message.js').Message} _message The one at hand, as there is no other. */
  forward(_message) {
    const { index, table, row: at } = this.#batch;
    this.#row([
      index, 0,
      table[at], table[at + 1], table[at + 2], table[at + 3], table[at + 4], table[at + 5],
      0, 0, 0, 0,
    ]);
  }

  /**
   * Appends bytes; returns how many.
   *
   * @param {string | Uint8Array | null} bytes
   * @param {string} what
   */
  #put(bytes, what) {
    if (bytes === null) return ABSENT;
    if (typeof bytes === 'string') bytes = encode(bytes);
    else if (!(bytes instanceof Uint8Array)) {
      const kind = typeof bytes;
      throw new TypeError(`a ${what} is a string, a Uint8Array or null, not ${kind === 'object' ? 'an object' : kind}`);
    }
    const { length } = bytes;
    if (this.#used + length > this.#data.length) this.#grow(length);
    this.#data.set(bytes, this.#used);
    this.#used += length;
    return length;
  }

  /** @param {number} length */
  #grow(length) {
    const data = new Uint8Array(Math.max(2 * this.#data.length, this.#used + length));
    data.set(this.#data.subarray(0, this.#used));
    this.#data = data;
  }

  /** @param {number[]} row */
  #row(row) {
    const at = this.#rows * ROW;
    if (at + ROW > this.#table.length) this.#growTable(2 * this.#table.length);
    this.#table.set(row, at);
    this.#rows++;
    if (this.#used >= FLUSH_BYTES || this.#rows >= FLUSH_ROWS) this.#flush();
  }

  /** @param {number} words */
  #growTable(words) {
    const table = new Uint32Array(words);
    table.set(this.#table);
    this.#table = table;
  }

  /**
   * Writes what is asked for beyond key and value into a row.
   *
   * @param {number[]} row
   * @param {Record<string, any>} options
   */
  #choose(row, options) {
    for (const name in options) {
      const choice = options[name];
      if (choice === undefined) continue;
      if (name === 'topic') row[1] = topicOf(choice);
      else if (name === 'headers') this.#addHeaders(row, choice);
      else if (name === 'timestamp') setTimestamp(row, choice);
      else if (name === 'partition') setPartition(row, choice);
      else throw new TypeError(`an output has no \`${name}\`; it has topic, headers, timestamp and partition`);
    }
  }

  /**
   * @param {number[]} row
   * @param {Headers | Iterable<any>} headers
   */
  #addHeaders(row, headers) {
    if (headers instanceof Headers && headers.batch === this.#batch) {
      row[6] = headers.first;
      row[7] = headers.length;
      return;
    }
    row[6] = this.#batch.headerCount + this.#headers.length / HEADER_ROW;
    for (const header of headers) {
      const [name, value] = header instanceof Header ? [header.nameBytes, header.value] : header;
      if (name === null) throw new TypeError('a header has a name');
      const start = this.#inputLength + this.#used;
      const length = this.#put(name, "header's name");
      this.#headers.push(start, length, start + length, this.#put(value, "header's value"));
      row[7]++;
    }
  }

  #flush() {
    const words = this.#rows * ROW;
    if (words + this.#headers.length > this.#table.length) this.#growTable(words + this.#headers.length);
    this.#table.set(this.#headers, words);
    const table = this.#table.subarray(0, words + this.#headers.length);
    emit(this.#data.subarray(0, this.#used), table, ROW, this.#rows);
    this.#clear();
  }

  #clear() {
    this.#used = 0;
    this.#rows = 0;
    this.#headers.length = 0;
  }
}

/** @param {unknown} topic */
function topicOf(topic) {
  if (topic instanceof Topic) return topic.number;
  throw new TypeError('a topic is what Topic.named(…) gives, asked for in init');
}

/**
 * @param {number[]} row
 * @param {number | bigint} ms
 */
function setTimestamp(row, ms) {
  if (!(typeof ms === 'bigint' || Number.isSafeInteger(ms)) || ms < 0) {
    throw new RangeError(`timestamp ${ms}: not a number of milliseconds since 1970`);
  }
  const long = BigInt(ms);
  row[8] = Number(long & 0xffff_ffffn);
  row[9] = Number(long >> 32n);
  row[11] |= TIMESTAMP_GIVEN;
}

/**
 * @param {number[]} row
 * @param {number} partition
 */
function setPartition(row, partition) {
  if (!(Number.isInteger(partition) && partition >= 0 && partition < 2 ** 31)) {
    throw new RangeError(`partition ${partition}: not a number of a partition`);
  }
  row[10] = partition;
  row[11] |= PARTITION_GIVEN;
}
