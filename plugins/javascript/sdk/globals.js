/**
 * What JavaScript programs expect of any runtime and QuickJS does not have: `console`, which writes to the host's log,
 * and TextDecoder and TextEncoder for UTF-8. And what it has and the sandbox has not, a clock: to ask for the time
 * would end in a trap without a word.
 */

import { log } from './log.js';
import { decode, decodeLossy, encode, NotUtf8 } from './utf8.js';

/** @param {(text: string) => void} write */
const printer =
  (write) =>
  /** @param {unknown[]} values */
  (...values) =>
    write(values.map(show).join(' '));

/** @param {unknown} value */
function show(value) {
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Error) return `${value}\n${value.stack}`;
  try {
    return JSON.stringify(value);
  } catch {
    return String(value);
  }
}

globalThis.console ??= /** @type {any} */ ({
  trace: printer(log.trace),
  debug: printer(log.debug),
  log: printer(log.info),
  info: printer(log.info),
  warn: printer(log.warn),
  error: printer(log.error),
});

globalThis.TextEncoder ??= /** @type {any} */ (
  class TextEncoder {
    encoding = 'utf-8';

    encode(text = '') {
      return encode(String(text));
    }
  }
);

globalThis.TextDecoder ??= /** @type {any} */ (
  class TextDecoder {
    encoding = 'utf-8';

    constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
      if (!/^utf-?8$/i.test(label)) throw new RangeError(`TextDecoder: only utf-8 is there, not ${label}`);
      this.fatal = fatal;
      this.ignoreBOM = ignoreBOM;
    }

    /** @param {ArrayBuffer | ArrayBufferView} [input] */
    decode(input = new Uint8Array()) {
      const bytes = ArrayBuffer.isView(input)
        ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
        : new Uint8Array(input);
      const text = this.fatal ? strict(bytes) : decodeLossy(bytes);
      return !this.ignoreBOM && text.startsWith('\ufeff') ? text.slice(1) : text;
    }
  }
);

globalThis.Date = /** @type {any} */ (
  class extends Date {
    /** @param {any[]} parts */
    constructor(...parts) {
      if (parts.length === 0) noClock();
      // @ts-expect-error: any of its signatures
      super(...parts);
    }

    static now() {
      return noClock();
    }
  }
);
Object.defineProperty(globalThis.Date, 'name', { value: 'Date' });
globalThis.performance = /** @type {any} */ ({ now: noClock });

/** @returns {never} */
function noClock() {
  throw new Error('there is no clock: what comes of a message depends on the message alone, which has a timestamp');
}

/** @param {Uint8Array} bytes */
function strict(bytes) {
  try {
    return decode(bytes);
  } catch (error) {
    throw error instanceof NotUtf8 ? new TypeError(`TextDecoder: ${error.message}`) : error;
  }
}
