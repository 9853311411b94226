/** Messages as a handler sees them: views of the batch that the host handed over, made when they are asked for. */

import { sourceName } from './host.js';
import { decode, decodeLossy, encode, NotUtf8 } from './utf8.js';
import { Reject } from './verdict.js';

/** Words of a message's row in the table (`wit/handler.wit`, world `batches`). A later host may append columns. */
export const ROW = 12;
/** Words of a header's row. */
export const HEADER_ROW = 4;
/** The length that says "absent". */
export const ABSENT = 0xffff_ffff;

/** One call's messages, in the contract's layout, and which of them is at hand. */
export class Batch {
  /** The message at hand. */
  index = 0;
  /** Where its row begins. */
  row = 0;

  /**
   * @param {number} source
   * @param {number} partition
   * @param {Uint8Array} data
   * @param {Uint32Array} table
   * @param {number} stride
   * @param {number} count
   */
  constructor(source, partition, data, table, stride, count) {
    if (stride < ROW) throw new Error(`the host's rows have ${stride} words, this SDK needs ${ROW}`);
    this.source = source;
    this.partition = partition;
    this.data = data;
    this.table = table;
    this.stride = stride;
    this.count = count;
    /** Where the header rows begin, and how many there are. */
    this.headersAt = stride * count;
    this.headerCount = (table.length - this.headersAt) / HEADER_ROW;
  }

  /**
   * The bytes whose start and length are the words at `at` and behind it. A view costs more than all else that is done
   * for a message, so none is made before a handler asks.
   *
   * @param {number} at
   * @returns {Uint8Array | null}
   */
  bytes(at) {
    const { data, table } = this;
    const length = table[at + 1];
    return length === ABSENT ? null : new Uint8Array(data.buffer, data.byteOffset + table[at], length);
  }

  /**
   * A 64-bit number of a low and a high word, exact up to 2 ** 53 and rounded beyond.
   *
   * @param {number} at
   */
  long(at) {
    return (this.table[at + 1] | 0) * 2 ** 32 + this.table[at];
  }

  /** @param {number} at */
  bigLong(at) {
    return BigInt.asIntN(64, (BigInt(this.table[at + 1]) << 32n) | BigInt(this.table[at]));
  }
}

/** One Kafka message. There is one object for all of a batch: it is good until `handle` returns. */
export class Message {
  #batch;

  /** @param {Batch} batch */
  constructor(batch) {
    this.#batch = batch;
  }

  get key() {
    const batch = this.#batch;
    return batch.bytes(batch.row);
  }

  get value() {
    const batch = this.#batch;
    return batch.bytes(batch.row + 2);
  }

  text() {
    const value = this.value;
    if (value === null) throw new Reject('the value is absent');
    return textOf(value, 'the value');
  }

  json() {
    const text = this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      if (error instanceof SyntaxError) throw new Reject(`the value is not JSON: ${error.message}`);
      throw error;
    }
  }

  get headers() {
    return new Headers(this.#batch);
  }

  /** @param {string} name */
  header(name) {
    const batch = this.#batch;
    return find(batch, batch.table[batch.row + 4], batch.table[batch.row + 5], name);
  }

  /** @param {string} name */
  headerText(name) {
    const value = this.header(name);
    return value === null ? null : textOf(value, `the header \`${name}\``);
  }

  get offset() {
    const batch = this.#batch;
    return batch.long(batch.row + 6);
  }

  get offsetBig() {
    const batch = this.#batch;
    return batch.bigLong(batch.row + 6);
  }

  get timestamp() {
    const batch = this.#batch;
    const ms = batch.long(batch.row + 8);
    return ms === -1 ? null : ms;
  }

  get timestampBig() {
    const batch = this.#batch;
    const ms = batch.bigLong(batch.row + 8);
    return ms === -1n ? null : ms;
  }

  get attempt() {
    const { table, row } = this.#batch;
    return table[row + 10];
  }

  get topic() {
    return sourceName(this.#batch.source);
  }

  get partition() {
    return this.#batch.partition;
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {string} what
 */
function textOf(bytes, what) {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof NotUtf8) throw new Reject(`${what} is ${error.message}`);
    throw error;
  }
}

/** The headers of the message at hand, in order. A name may occur more than once. */
export class Headers {
  /** @param {Batch} batch */
  constructor(batch) {
    this.batch = batch;
    /** The number of the first header's row. */
    this.first = batch.table[batch.row + 4];
    this.length = batch.table[batch.row + 5];
  }

  /** @param {number} index */
  at(index) {
    return new Header(this.batch, this.batch.headersAt + (this.first + index) * HEADER_ROW);
  }

  /** @param {string} name */
  get(name) {
    return find(this.batch, this.first, this.length, name);
  }

  *[Symbol.iterator]() {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }
}

/**
 * The value of the last header of that name.
 *
 * @param {Batch} batch
 * @param {number} first The number of the first header's row.
 * @param {number} count
 * @param {string} name
 */
function find(batch, first, count, name) {
  if (count === 0) return null;
  const { data, table } = batch;
  const wanted = nameBytes(name);
  const firstAt = batch.headersAt + first * HEADER_ROW;
  for (let at = firstAt + (count - 1) * HEADER_ROW; at >= firstAt; at -= HEADER_ROW) {
    if (table[at + 1] === wanted.length && isAt(data, table[at], wanted)) return batch.bytes(at + 2);
  }
  return null;
}

/**
 * Names of headers that were looked for. A handler looks for a few; one that makes names up does not fill the memory.
 *
 * @type {Map<string, Uint8Array>}
 */
const names = new Map();
const MOST_NAMES = 1000;

/** @param {string} name */
function nameBytes(name) {
  let bytes = names.get(name);
  if (bytes === undefined) {
    if (names.size === MOST_NAMES) names.clear();
    bytes = encode(name);
    names.set(name, bytes);
  }
  return bytes;
}

/**
 * Whether bytes are found at a place.
 *
 * @param {Uint8Array} data
 * @param {number} at
 * @param {Uint8Array} wanted
 */
function isAt(data, at, wanted) {
  for (let index = 0; index < wanted.length; index++) {
    if (data[at + index] !== wanted[index]) return false;
  }
  return true;
}

/** One header of a message. */
export class Header {
  #batch;
  #row;

  /**
   * @param {Batch} batch
   * @param {number} row
   */
  constructor(batch, row) {
    this.#batch = batch;
    this.#row = row;
  }

  get name() {
    return decodeLossy(this.nameBytes);
  }

  get nameBytes() {
    return /** @type {Uint8Array} */ (this.#batch.bytes(this.#row));
  }

  get value() {
    return this.#batch.bytes(this.#row + 2);
  }
}
