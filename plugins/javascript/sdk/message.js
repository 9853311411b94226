/** Messages as a handler sees them: views of the batch that the host handed over, made when they are asked for. */

import { sourceName } from './host.js';
import { decode, decodeLossy, NotUtf8 } from './utf8.js';
import { Reject } from './verdict.js';

/** Words of a message's row in the table (`wit/handler.wit`, world `batches`). A later host may append columns. */
export const ROW = 12;
/** Words of a header's row. */
export const HEADER_ROW = 4;
/** The length that says "absent". */
export const ABSENT = 0xffff_ffff;

/** One call's messages, in the contract's layout. */
export class Batch {
  /**
   * @param {number} source
   * @param {number} partition
   * @param {Uint8Array} data
   * @param {ArrayLike<number>} table
   * @param {number} stride
   * @param {number} count
   */
  constructor(source, partition, data, table, stride, count) {
    if (stride < ROW) throw new Error(`the host's rows have ${stride} words, this SDK needs ${ROW}`);
    this.source = source;
    this.partition = partition;
    this.buffer = data.buffer;
    this.start = data.byteOffset;
    this.length = data.length;
    this.table = table;
    this.stride = stride;
    this.count = count;
    /** Where the header rows begin. */
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
    const length = this.table[at + 1];
    return length === ABSENT ? null : new Uint8Array(this.buffer, this.start + this.table[at], length);
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

/** One Kafka message. There is one object for all of them: it is good until `handle` returns. */
export class Message {
  /** @type {Batch} */
  #batch;
  /** Where the message's row begins. */
  #row = 0;

  /** @param {Batch} batch */
  constructor(batch) {
    this.#batch = batch;
  }

  /**
   * Goes to a message. For the SDK alone.
   *
   * @param {Message} message
   * @param {number} index
   */
  static move(message, index) {
    message.#row = index * message.#batch.stride;
  }

  /**
   * The message's row, for an output that refers to it. For the SDK alone.
   *
   * @param {Message} message
   */
  static row(message) {
    return message.#row;
  }

  get key() {
    return this.#batch.bytes(this.#row);
  }

  get value() {
    return this.#batch.bytes(this.#row + 2);
  }

  text() {
    const value = this.value;
    if (value === null) throw new Reject('the value is absent');
    try {
      return decode(value);
    } catch (error) {
      if (error instanceof NotUtf8) throw new Reject(`the value is ${error.message}`);
      throw error;
    }
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
    const { table } = this.#batch;
    return new Headers(this.#batch, table[this.#row + 4], table[this.#row + 5]);
  }

  /** @param {string} name */
  header(name) {
    return this.#batch.table[this.#row + 5] === 0 ? null : this.headers.get(name);
  }

  /** @param {string} name */
  headerText(name) {
    const value = this.header(name);
    if (value === null) return null;
    try {
      return decode(value);
    } catch (error) {
      if (error instanceof NotUtf8) throw new Reject(`the header \`${name}\` is ${error.message}`);
      throw error;
    }
  }

  get offset() {
    return this.#batch.long(this.#row + 6);
  }

  get offsetBig() {
    return this.#batch.bigLong(this.#row + 6);
  }

  get timestamp() {
    const ms = this.#batch.long(this.#row + 8);
    return ms === -1 ? null : ms;
  }

  get timestampBig() {
    const ms = this.#batch.bigLong(this.#row + 8);
    return ms === -1n ? null : ms;
  }

  get attempt() {
    return this.#batch.table[this.#row + 10];
  }

  get topic() {
    return sourceName(this.#batch.source);
  }

  get partition() {
    return this.#batch.partition;
  }
}

/** The headers of a message, in order. A name may occur more than once. */
export class Headers {
  #batch;
  #first;

  /**
   * @param {Batch} batch
   * @param {number} first
   * @param {number} length
   */
  constructor(batch, first, length) {
    this.#batch = batch;
    this.#first = first;
    this.length = length;
  }

  /**
   * The first row's number if the headers are of that batch, else -1. For the SDK alone.
   *
   * @param {Headers} headers
   * @param {Batch} batch
   */
  static first(headers, batch) {
    return headers.#batch === batch ? headers.#first : -1;
  }

  /** @param {number} index */
  at(index) {
    return new Header(this.#batch, this.#batch.headersAt + (this.#first + index) * HEADER_ROW);
  }

  /** @param {string} name */
  get(name) {
    for (let index = this.length - 1; index >= 0; index--) {
      const header = this.at(index);
      if (header.name === name) return header.value;
    }
    return null;
  }

  *[Symbol.iterator]() {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }
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
