/**
 * Runs a handler in an ordinary unit test, without the sandbox: `node --test` and nothing else. Types and their
 * documentation are in `testing.d.ts`.
 *
 * What it does not show is what only the sandbox does: limits, deadlines, and what Node has and QuickJS does not.
 */

import { Context } from './context.js';
import { Instance, refusal } from './handler.js';
import { connect } from './host.js';
import { ABSENT, HEADER_ROW, ROW } from './message.js';
import { decode, encode } from './utf8.js';

/** @typedef {import('./testing.js').Sample} Sample */
/** @typedef {{ message: number, retryAfter: number | null, reason: string }} Said */
/** @typedef {{ data: Uint8Array, table: Uint32Array, stride: number, count: number }} Emission */

/**
 * @param {import('./index.js').HandlerDefinition} definition
 * @param {(string | Sample)[]} samples
 * @param {import('./testing.js').Options} [options]
 */
export function run(definition, samples, options) {
  return start(definition, options).handle(samples);
}

/**
 * @param {import('./index.js').HandlerDefinition} definition
 * @param {import('./testing.js').Options} [options]
 */
export function start(definition, options = {}) {
  return new Started(definition, options);
}

/** A started handler, for tests of more than one batch. */
class Started {
  #instance;
  #host;
  #topics;
  #partition;
  #nextOffset = 0;

  /**
   * @param {import('./index.js').HandlerDefinition} definition
   * @param {import('./testing.js').Options} options
   */
  constructor(definition, options) {
    const { config = {}, topics = [], pipeline = 'test', group = 'test', source = {} } = options;
    this.#topics = topics;
    this.#partition = source.partition ?? 0;
    this.#host = new Recorder(topics, source.topic ?? 'input');
    connect(this.#host);
    /** @type {[string, string][]} */
    const settings = Object.keys(config).sort().map((key) => [key, String(config[key])]);
    const context = new Context(pipeline, group, '0'.repeat(64), settings);
    try {
      this.#instance = new Instance(definition, context);
    } catch (error) {
      throw new Error(refusal(error), { cause: error });
    }
  }

  /** @param {(string | Sample)[]} samples */
  handle(samples) {
    connect(this.#host);
    const input = new Input(samples, this.#nextOffset);
    this.#nextOffset = input.nextOffset;
    const table = input.table;
    const reached = this.#instance.handle(0, this.#partition, input.data, table, ROW, samples.length);
    const { emissions, said, log } = this.#host.take();
    const verdicts = samples.map((_, index) => verdictOf(index, reached, said));
    const outputs = emissions
      .flatMap((emission) => read(emission, input, this.#topics))
      .filter((output) => verdicts[output.message].verdict === 'ack');
    return new Run(verdicts, outputs, log);
  }
}

/** What became of a batch. */
class Run {
  /**
   * @param {import('./testing.js').Verdict[]} verdicts
   * @param {Output[]} outputs
   * @param {import('./testing.js').Line[]} log
   */
  constructor(verdicts, outputs, log) {
    this.verdicts = verdicts;
    this.outputs = outputs;
    this.log = log;
  }

  get values() {
    return this.outputs.map((output) => output.text());
  }

  get acknowledged() {
    return this.verdicts.every(({ verdict }) => verdict === 'ack');
  }
}

/** A message to be published. */
class Output {
  /** @param {Omit<import('./testing.js').Output, 'text' | 'header'>} fields */
  constructor(fields) {
    this.message = fields.message;
    this.topic = fields.topic;
    this.partition = fields.partition;
    this.timestamp = fields.timestamp;
    this.key = fields.key;
    this.value = fields.value;
    this.headers = fields.headers;
  }

  text() {
    if (this.value === null) throw new Error('the output is a tombstone');
    return decode(this.value);
  }

  /** @param {string} name */
  header(name) {
    return this.headers.findLast(([known]) => known === name)?.[1] ?? null;
  }
}

/** Stands in for the host. */
class Recorder {
  /** @type {Emission[]} */
  #emissions = [];
  /** @type {Said[]} */
  #said = [];
  /** @type {import('./testing.js').Line[]} */
  #log = [];

  /**
   * @param {readonly string[]} topics
   * @param {string} source
   */
  constructor(topics, source) {
    this.emit = (data, table, stride, count) => {
      // The SDK reuses what it hands over.
      this.#emissions.push({ data: data.slice(), table: table.slice(), stride, count });
    };
    this.fail = (message, retryAfter, reason) => {
      this.#said.push({ message, retryAfter: retryAfter === null ? null : retryAfter >>> 0, reason });
    };
    this.write = (level, text) => {
      this.#log.push({ level, text });
    };
    this.number = (name) => {
      const index = topics.indexOf(name);
      if (index >= 0) return index + 1;
      throw new Error(`the pipeline grants no output topic \`${name}\`; granted: ${topics.join(', ') || 'none'}`);
    };
    this.sourceName = () => source;
  }

  /** What was said since the last time; the first time also in `init`. */
  take() {
    const taken = { emissions: this.#emissions, said: this.#said, log: this.#log };
    [this.#emissions, this.#said, this.#log] = [[], [], []];
    return taken;
  }
}

/** Samples in the contract's layout. */
class Input {
  /** @type {number[]} */
  #bytes = [];
  /** @type {number[]} */
  #rows = [];
  /** @type {number[]} */
  headers = [];
  /** @type {(number | null)[]} */
  timestamps = [];

  /**
   * @param {(string | Sample)[]} samples
   * @param {number} nextOffset The offset of the first one that does not say.
   */
  constructor(samples, nextOffset) {
    this.nextOffset = nextOffset;
    for (const sample of samples) this.#add(typeof sample === 'string' ? { value: sample } : sample);
    this.data = Uint8Array.from(this.#bytes);
  }

  get table() {
    return Uint32Array.from([...this.#rows, ...this.headers]);
  }

  /** @param {Sample} sample */
  #add({ key, value, headers = [], offset = this.nextOffset, timestamp = null, attempt = 1 }) {
    this.nextOffset = Number(offset) + 1;
    const first = this.headers.length / HEADER_ROW;
    const row = [...this.#put(key), ...this.#put(value), first, headers.length];
    for (const [name, text] of headers) this.headers.push(...this.#put(name), ...this.#put(text));
    this.#rows.push(...row, ...words(offset), ...words(timestamp ?? -1), attempt, 0);
    this.timestamps.push(timestamp === null ? null : Number(timestamp));
  }

  /** @param {string | Uint8Array | null | undefined} content */
  #put(content) {
    const start = this.#bytes.length;
    if (content === null || content === undefined) return [start, ABSENT];
    const bytes = typeof content === 'string' ? encode(content) : content;
    for (const byte of bytes) this.#bytes.push(byte);
    return [start, bytes.length];
  }
}

/** @param {number | bigint} long */
function words(long) {
  const bits = BigInt.asUintN(64, BigInt(long));
  return [Number(bits & 0xffff_ffffn), Number(bits >> 32n)];
}

/**
 * @param {number} index
 * @param {number} reached
 * @param {Said[]} said
 * @returns {import('./testing.js').Verdict}
 */
function verdictOf(index, reached, said) {
  if (index >= reached) return { verdict: 'not reached' };
  const first = said.find(({ message }) => message === index);
  if (!first) return { verdict: 'ack' };
  const { retryAfter, reason } = first;
  return retryAfter === null ? { verdict: 'reject', reason } : { verdict: 'retry', after: retryAfter, reason };
}

/**
 * Reads an emission as the host does.
 *
 * @param {Emission} emission
 * @param {Input} input
 * @param {readonly string[]} topics
 */
function read({ data, table, stride, count }, input, topics) {
  /** @type {(start: number, length: number) => Uint8Array | null} */
  const bytes = (start, length) => {
    if (length === ABSENT) return null;
    const own = start - input.data.length;
    return own < 0 ? input.data.slice(start, start + length) : data.slice(own, own + length);
  };
  const own = table.subarray(stride * count);
  /** @type {(index: number) => [string, Uint8Array | null]} */
  const header = (index) => {
    const of = index * HEADER_ROW < input.headers.length ? input.headers : own;
    const at = of === own ? index * HEADER_ROW - input.headers.length : index * HEADER_ROW;
    return [decode(bytes(of[at], of[at + 1])), bytes(of[at + 2], of[at + 3])];
  };
  return Array.from({ length: count }, (_, index) => {
    const row = table.subarray(index * stride, (index + 1) * stride);
    const given = Number(BigInt.asIntN(64, (BigInt(row[9]) << 32n) | BigInt(row[8])));
    return new Output({
      message: row[0],
      topic: row[1] === 0 ? null : topics[row[1] - 1],
      key: bytes(row[2], row[3]),
      value: bytes(row[4], row[5]),
      headers: Array.from({ length: row[7] }, (_, nth) => header(row[6] + nth)),
      timestamp: row[11] & 1 ? given : input.timestamps[row[0]],
      partition: row[11] & 2 ? row[10] | 0 : null,
    });
  });
}
