/**
 * The other side: the host's imports in the sandbox (`entry.js`), the test harness's stand-in elsewhere (`testing.js`).
 * Nothing else in the SDK asks where it runs.
 */

/**
 * @typedef {object} Imports The contract's imports, as wit/handler.wit describes them.
 * @property {(data: Uint8Array, table: Uint32Array, stride: number, count: number) => void} emit
 * @property {(message: number, retryAfter: number | null, reason: string) => void} fail
 * @property {(level: string, text: string) => void} write
 * @property {(name: string) => number} number Throws with the host's text if the topic is not granted.
 * @property {(source: number) => string} sourceName
 */

/** @returns {never} */
function nobody() {
  throw new Error('there is no host while modules are loaded: log, and ask for topics, in init or handle');
}

/** @type {Imports} */
let imports = { emit: nobody, fail: nobody, write: nobody, number: nobody, sourceName: nobody };

/** Names and numbers asked for so far; the host is asked once for each. */
const numbers = new Map();
const sources = new Map();

/**
 * Says who the host is, and forgets what another one said.
 *
 * @param {Imports} host
 */
export function connect(host) {
  imports = host;
  numbers.clear();
  sources.clear();
}

/**
 * @param {Uint8Array} data
 * @param {Uint32Array} table
 * @param {number} stride
 * @param {number} count
 */
export function emit(data, table, stride, count) {
  imports.emit(data, table, stride, count);
}

/**
 * @param {number} message
 * @param {number | null} retryAfter
 * @param {string} reason
 */
export function fail(message, retryAfter, reason) {
  // A text that crosses the boundary must be well-formed, and a u32 is taken from the bits of an int32.
  imports.fail(message, retryAfter === null ? null : retryAfter | 0, reason.toWellFormed());
}

/**
 * @param {string} level
 * @param {string} text
 */
export function write(level, text) {
  imports.write(level, text.toWellFormed());
}

/**
 * The number of an output topic.
 *
 * @param {string} name
 */
export function topicNumber(name) {
  let number = numbers.get(name);
  if (number === undefined) {
    number = imports.number(name.toWellFormed());
    numbers.set(name, number);
  }
  return number;
}

/**
 * The name of a topic that messages come from.
 *
 * @param {number} source
 */
export function sourceName(source) {
  let name = sources.get(source);
  if (name === undefined) {
    name = imports.sourceName(source);
    sources.set(source, name);
  }
  return name;
}
