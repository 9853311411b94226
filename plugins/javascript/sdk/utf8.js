/** UTF-8, strictly: by the engine where it can (Node, browsers), else by whom `use` names. */

/** How many arguments are given to `apply` at a time; engines limit them. */
const CHUNK = 16_384;

/**
 * @typedef {object} Codec
 * @property {(bytes: Uint8Array) => string | null} decode Null if they are not UTF-8. A byte order mark is kept.
 * @property {(text: string) => Uint8Array} encode The text is well-formed.
 */

/** Bytes that are not UTF-8. */
export class NotUtf8 extends Error {
  /** @param {number} validUpTo How many bytes are, from the first. */
  constructor(validUpTo) {
    super(`not UTF-8 from byte ${validUpTo}`);
    this.name = 'NotUtf8';
    this.validUpTo = validUpTo;
  }
}

/**
 * In JavaScript alone, at 100 ns a byte. In the sandbox it serves what happens at the build, where there is no other.
 *
 * @type {Codec}
 */
export const portable = {
  decode(bytes) {
    let latin1 = '';
    for (let at = 0; at < bytes.length; at += CHUNK) {
      latin1 += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK));
    }
    try {
      return decodeURIComponent(escape(latin1));
    } catch (error) {
      if (error instanceof URIError) return null;
      throw error;
    }
  },
  encode(text) {
    return Uint8Array.from(unescape(encodeURIComponent(text)), (character) => character.charCodeAt(0));
  },
};

/** @type {() => Codec} */
function ofEngine() {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const encoder = new TextEncoder();
  return {
    decode(bytes) {
      try {
        return decoder.decode(bytes);
      } catch (error) {
        if (error instanceof TypeError) return null;
        throw error;
      }
    },
    encode: (text) => encoder.encode(text),
  };
}

let codec = typeof TextDecoder === 'function' ? ofEngine() : portable;

/** @param {Codec} other */
export function use(other) {
  codec = other;
}

/**
 * The text of UTF-8 bytes. A byte order mark is kept.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 * @throws {NotUtf8}
 */
export function decode(bytes) {
  const text = codec.decode(bytes);
  if (text === null) throw new NotUtf8(validUpTo(bytes));
  return text;
}

/**
 * The text of bytes, with U+FFFD in the place of what is not UTF-8.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function decodeLossy(bytes) {
  let text = codec.decode(bytes);
  if (text !== null) return text;
  for (text = ''; ; text += '\ufffd') {
    const valid = validUpTo(bytes);
    text += codec.decode(bytes.subarray(0, valid));
    if (valid === bytes.length) return text;
    bytes = bytes.subarray(valid - sequence(bytes, valid));
  }
}

/**
 * A text as UTF-8. Half a surrogate pair becomes U+FFFD.
 *
 * @param {string} text
 * @returns {Uint8Array}
 */
export function encode(text) {
  return codec.encode(text.toWellFormed());
}

/**
 * How many bytes are UTF-8, from the first.
 *
 * @param {Uint8Array} bytes
 */
function validUpTo(bytes) {
  let at = 0;
  while (at < bytes.length) {
    const length = sequence(bytes, at);
    if (length < 0) break;
    at += length;
  }
  return at;
}

/**
 * The length of the sequence at `at`; if it is not UTF-8, minus the number of bytes that one U+FFFD stands for.
 *
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function sequence(bytes, at) {
  const lead = bytes[at];
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return -1;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // What may follow these leads is less than any continuation: the rest is overlong, a surrogate or past U+10FFFF.
  let low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  let high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  for (let next = 1; next < length; next++) {
    // Past the end it is undefined, which lies between no numbers.
    const byte = bytes[at + next];
    if (!(byte >= low && byte <= high)) return -next;
    [low, high] = [0x80, 0xbf];
  }
  return length;
}
