/**
 * Runs a handler in an ordinary unit test, in Node: `npm test` and nothing else. The harness stands in for the host: it
 * gives the compiled handler its context and messages, and keeps what came of them.
 *
 *     import { Harness } from "../sdk/testing.mjs";
 *
 *     const run = new Harness("build/test.wasm")
 *       .config("limit", "5")
 *       .grant("orders-eu")
 *       .message({ key: "k", value: "v", headers: [["n", "1"]] })
 *       .message("just a value")
 *       .run();
 *     assert.deepEqual(run.outcomes[0], { ack: true });
 *     assert.deepEqual(run.values, ["V", "JUST A VALUE"]);
 *
 * What it does not show is what only the sandbox does: limits and deadlines. A trap is thrown as an error, its text the
 * handler's last log line of level error.
 *
 * @typedef {string | Uint8Array | null} Part Text means its UTF-8, null means absent.
 *
 * @typedef {object} Sample A message to hand over. Without a key it has no key, without a value it is a tombstone.
 * @property {Part} [key]
 * @property {Part} [value]
 * @property {[Part, Part][]} [headers]
 * @property {bigint | number} [offset] Else one more than that of the message before, from 0.
 * @property {bigint | number} [timestamp] In milliseconds since 1970; else there is none.
 * @property {number} [attempt] Else 1.
 *
 * @typedef {{ ack: true } | { retry: string, afterMs: number } | { reject: string } | { notReached: true }} Outcome
 *
 * @typedef {object} Output A message to be published.
 * @property {number} message Which message of the batch it was sent for.
 * @property {string | null} topic Null is the pipeline's default output.
 * @property {Buffer | null} key
 * @property {Buffer | null} value
 * @property {[Buffer, Buffer | null][]} headers
 * @property {bigint | null} timestamp The one set, else the message's.
 * @property {number | null} partition Null unless the handler chose one.
 *
 * @typedef {object} Run What became of a batch.
 * @property {Outcome[]} outcomes What was said of each message, in order.
 * @property {Output[]} outputs What would be published, in order: outputs of acknowledged messages.
 * @property {(string | null)[]} values The outputs' values as text.
 * @property {[string, string][]} log The log lines, level and text; in the first batch also those of `init`.
 */

import { readFileSync } from "node:fs";

const ROW_WORDS = 12;
/** Two columns of a later host's, so that a handler that counts on their number is found out. */
const STRIDE = ROW_WORDS + 2;
const ABSENT = 0xffffffff;
const LEVELS = ["trace", "debug", "info", "warn", "error"];

/** A handler about to be tested, its context and its messages. */
export class Harness {
  #module;
  #settings = new Map();
  #granted = [];
  #names = { pipeline: "test", group: "test", digest: "0".repeat(64) };
  #source = { topic: "input", partition: 0 };
  #samples = [];

  /** @param {string | URL} path The core module that `asc` made. */
  constructor(path) {
    this.#module = new WebAssembly.Module(readFileSync(path));
  }

  /** Adds a setting, as in the pipeline's `config` table. */
  config(key, value) {
    this.#settings.set(key, value);
    return this;
  }

  /** Grants an output topic, as in the pipeline's `output.topics`. */
  grant(topic) {
    this.#granted.push(topic);
    return this;
  }

  /** Names the pipeline and its group; else both are `test`. */
  pipeline(pipeline, group) {
    Object.assign(this.#names, { pipeline, group });
    return this;
  }

  /** Says where the messages come from; else it is partition 0 of `input`. */
  source(topic, partition) {
    this.#source = { topic, partition };
    return this;
  }

  /**
   * Adds a message to the batch.
   * @param {string | Sample} sample A text is a message with that value and nothing else.
   */
  message(sample) {
    this.#samples.push(sample);
    return this;
  }

  /** Starts the handler without handing it the messages added so far. An error says why its `init` refused. */
  start() {
    const settings = [...this.#settings].sort(([a], [b]) => (a < b ? -1 : 1));
    return new Instance(this.#module, this.#granted, this.#source, { ...this.#names, settings });
  }

  /**
   * Starts the handler and hands it the messages as one batch.
   * @returns {Run}
   */
  run() {
    return this.start().handle(this.#samples);
  }
}

/** A started handler, for tests of more than one batch. */
class Instance {
  #exports;
  #granted;
  #source;
  #nextOffset = 0n;
  #emissions = [];
  #failures = [];
  #log = [];

  constructor(module, granted, source, { pipeline, group, digest, settings }) {
    this.#granted = granted;
    this.#source = source;
    this.#exports = new WebAssembly.Instance(module, {
      "wasmill:handler/log@0.1.0": {
        write: (level, text, length) => this.#log.push([LEVELS[level], this.#text(text, length)]),
      },
      "wasmill:handler/topics@0.1.0": {
        number: (name, length, result) => this.#topicNumber(this.#text(name, length), result),
        "source-name": (_source, result) => this.#words(result, this.#lower(Buffer.from(this.#source.topic))),
      },
      "wasmill:handler/outcome@0.1.0": {
        emit: (data, length, table, words, stride, count) => {
          const bytes = this.#copy(table, words * 4);
          this.#emissions.push({ data: this.#copy(data, length), table: wordsOf(bytes), stride, count });
        },
        fail: (message, isRetry, afterMs, reason, length) => {
          const text = this.#text(reason, length);
          const outcome = isRetry ? { retry: text, afterMs: afterMs >>> 0 } : { reject: text };
          this.#failures.push({ message: message >>> 0, outcome });
        },
      },
    }).exports;
    this.#call(() => {
      this.#exports._initialize?.();
      const texts = [pipeline, group, digest].flatMap((text) => this.#lower(Buffer.from(text)));
      const rows = settings.flat().flatMap((text) => this.#lower(Buffer.from(text)));
      const [list] = this.#lower(bytesOf(rows), 4);
      const result = this.#exports.init(...texts, list, settings.length) >>> 0;
      const [tag, text, length] = wordsOf(this.#copy(result, 12));
      if ((tag & 0xff) !== 0) throw new Error(this.#text(text, length));
    });
  }

  /**
   * Hands over a batch.
   * @param {(string | Sample)[]} samples
   * @returns {Run}
   */
  handle(samples) {
    const input = this.#input(samples.map((sample) => (typeof sample === "string" ? { value: sample } : sample)));
    const reached = this.#call(() => {
      const [data, length] = this.#lower(input.data);
      const [table, bytes] = this.#lower(bytesOf(input.table), 4);
      const { partition } = this.#source;
      return this.#exports.handle(0, partition, data, length, table, bytes / 4, STRIDE, samples.length) >>> 0;
    });
    const outcomes = samples.map((_, index) => {
      if (index >= reached) return { notReached: true };
      return this.#failures.find(({ message }) => message === index)?.outcome ?? { ack: true };
    });
    const outputs = this.#emissions
      .flatMap((emission) => this.#decode(input, emission))
      .filter(({ message }) => outcomes[message].ack);
    const values = outputs.map(({ value }) => value?.toString() ?? null);
    const log = this.#log;
    [this.#emissions, this.#failures, this.#log] = [[], [], []];
    return { outcomes, outputs, values, log };
  }

  /** How large the handler's memory has become; it never shrinks. */
  get memoryBytes() {
    return this.#exports.memory.buffer.byteLength;
  }

  /** Samples in the contract's layout, behind a byte that no row refers to. */
  #input(samples) {
    const parts = [Buffer.from("?")];
    let length = 1;
    const put = (part) => {
      if (part === null || part === undefined) return [0, ABSENT];
      const bytes = Buffer.from(part);
      parts.push(bytes);
      length += bytes.length;
      return [length - bytes.length, bytes.length];
    };
    const headers = [];
    const timestamps = [];
    const rows = samples.flatMap((sample) => {
      const offset = BigInt(sample.offset ?? this.#nextOffset);
      this.#nextOffset = offset + 1n;
      const timestamp = BigInt(sample.timestamp ?? -1);
      timestamps.push(timestamp === -1n ? null : timestamp);
      const first = headers.length;
      for (const [name, value] of sample.headers ?? []) headers.push([...put(name), ...put(value)]);
      const spans = [...put(sample.key), ...put(sample.value), first, headers.length - first];
      return [...spans, ...split(offset), ...split(timestamp), sample.attempt ?? 1, 0, 7, 7];
    });
    return { data: Buffer.concat(parts), table: [...rows, ...headers.flat()], headers, timestamps };
  }

  /** Reads an emission as the host does. */
  #decode(input, { data, table, stride, count }) {
    const bytes = (start, length) => {
      if (length === ABSENT) return null;
      const [from, at] = start < input.data.length ? [input.data, start] : [data, start - input.data.length];
      if (at + length > from.length) throw new Error("the handler emitted bytes outside of its data");
      return Buffer.from(from.subarray(at, at + length));
    };
    const own = stride * count;
    const header = (index) => {
      const at = own + 4 * (index - input.headers.length);
      const row = index < input.headers.length ? input.headers[index] : table.subarray(at, at + 4);
      return [bytes(row[0], row[1]), bytes(row[2], row[3])];
    };
    return Array.from({ length: count }, (_, index) => {
      const row = table.subarray(index * stride, (index + 1) * stride);
      const given = BigInt.asIntN(64, (BigInt(row[9]) << 32n) | BigInt(row[8]));
      return {
        message: row[0],
        topic: row[1] === 0 ? null : this.#granted[row[1] - 1],
        key: bytes(row[2], row[3]),
        value: bytes(row[4], row[5]),
        headers: Array.from({ length: row[7] }, (_, number) => header(row[6] + number)),
        timestamp: row[11] & 1 ? given : input.timestamps[row[0]],
        partition: row[11] & 2 ? row[10] | 0 : null,
      };
    });
  }

  #topicNumber(name, result) {
    const number = this.#granted.indexOf(name) + 1;
    if (number > 0) return this.#words(result, [0, number]);
    const text = `topic \`${name}\` is not granted; hint: \`Harness.grant\` names those that are`;
    this.#words(result, [1, ...this.#lower(Buffer.from(text))]);
  }

  /** Calls the handler; if it traps, says what it logged last. */
  #call(call) {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      const why = this.#log.findLast(([level]) => level === "error");
      throw new Error(why ? why[1] : `the handler trapped: ${error.message}`, { cause: error });
    }
  }

  /** Puts bytes into the handler's memory; returns where and how many. */
  #lower(bytes, alignment = 1) {
    const at = this.#exports.cabi_realloc(0, 0, alignment, bytes.length) >>> 0;
    new Uint8Array(this.#exports.memory.buffer).set(bytes, at);
    return [at, bytes.length];
  }

  #copy(at, length) {
    return Buffer.from(new Uint8Array(this.#exports.memory.buffer, at >>> 0, length >>> 0)); // copies
  }

  #words(at, words) {
    new Uint32Array(this.#exports.memory.buffer, at >>> 0, words.length).set(words);
  }

  /** As strictly as the host. */
  #text(at, length) {
    return new TextDecoder("utf-8", { fatal: true }).decode(this.#copy(at, length));
  }
}

/** The two words of a 64-bit number, the low one first. */
function split(number) {
  const bits = BigInt.asUintN(64, number);
  return [Number(bits & 0xffffffffn), Number(bits >> 32n)];
}

function bytesOf(words) {
  return Buffer.from(Uint32Array.from(words).buffer);
}

function wordsOf(bytes) {
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
