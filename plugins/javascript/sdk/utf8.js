/**
 * UTF-8, for an engine that has neither TextDecoder nor TextEncoder.
 *
 * QuickJS interprets: a loop over the bytes costs 70 to 190 ns for each. So the work is left to functions that run inside
 * the engine: base64 there and back turns bytes into a string at 5 ns a byte, and `Math.min` over signed bytes tells at
 * 9 ns a byte whether any is beyond ASCII. A regular expression for the latter, or `String.fromCharCode.apply` for the
 * former, takes more than twice as long.
 */

/** So many arguments at most are given to `apply` at a time; engines limit them. */
const CHUNK = 16_384;

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
 * The text of UTF-8 bytes. A byte order mark is kept.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 * @throws {NotUtf8}
 */
export function decode(bytes) {
  const text = toLatin1(bytes);
  if (isAscii(bytes)) return text;
  try {
    // No sequence spans an ASCII character, so each run of other bytes stands on its own.
    return text.replace(/[\x80-\xff]+/g, decodeRun);
  } catch (error) {
    if (error instanceof URIError) throw new NotUtf8(validUpTo(bytes));
    throw error;
  }
}

/**
 * The text of bytes, with U+FFFD in the place of what is not UTF-8.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function decodeLossy(bytes) {
  try {
    return decode(bytes);
  } catch (error) {
    if (!(error instanceof NotUtf8)) throw error;
  }
  let text = '';
  for (;;) {
    const valid = validUpTo(bytes);
    text += decode(bytes.subarray(0, valid));
    if (valid === bytes.length) return text;
    text += '\ufffd';
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
  try {
    const bytes = fromLatin1(text);
    if (isAscii(bytes)) return bytes;
  } catch {
    // A character beyond Latin-1.
  }
  return fromLatin1(unescape(encodeURIComponent(text.toWellFormed())));
}

/**
 * A string with a character for each byte. Node knows the faster way from version 25 on.
 *
 * @type {(bytes: Uint8Array) => string}
 */
const toLatin1 = Uint8Array.prototype.toBase64
  ? (bytes) => atob(bytes.toBase64())
  : (bytes) => {
      let text = '';
      for (let at = 0; at < bytes.length; at += CHUNK) {
        text += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK));
      }
      return text;
    };

/**
 * The reverse; throws if a character does not fit a byte.
 *
 * @type {(text: string) => Uint8Array}
 */
const fromLatin1 = Uint8Array.fromBase64
  ? (text) => Uint8Array.fromBase64(btoa(text))
  : (text) => Uint8Array.from(atob(btoa(text)), (character) => character.charCodeAt(0));

/** @param {Uint8Array} bytes */
function isAscii(bytes) {
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  if (signed.length <= CHUNK) return Math.min.apply(null, signed) >= 0;
  for (let at = 0; at < signed.length; at += CHUNK) {
    if (Math.min.apply(null, signed.subarray(at, at + CHUNK)) < 0) return false;
  }
  return true;
}

/** @param {string} run */
function decodeRun(run) {
  return decodeURIComponent(escape(run));
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
