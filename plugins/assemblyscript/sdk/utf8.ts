/** UTF-8 in the contract's strict sense: no surrogates, no overlong forms. */

/** How many bytes are UTF-8, from the first. */
export function validUpTo(start: usize, length: i32): i32 {
  const end = start + <usize>length;
  let at = start;
  while (at < end) {
    // Sixteen at a time, as long as they are ASCII.
    while (at + 16 <= end && !i8x16.bitmask(v128.load(at))) at += 16;
    if (at == end) break;
    const step = sequence(at, end);
    if (step < 0) break;
    at += <usize>step;
  }
  return <i32>(at - start);
}

/**
 * The length of the character at an address. Negative if there is none: how many bytes make one U+FFFD, by the Unicode
 * standard's "substitution of maximal subparts".
 */
function sequence(at: usize, end: usize): i32 {
  const first = load<u8>(at);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return -1;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  // What the second byte may be depends on the first; the others may be any continuation.
  let low: u8 = 0x80;
  let high: u8 = 0xbf;
  if (first == 0xe0) low = 0xa0;
  else if (first == 0xed) high = 0x9f;
  else if (first == 0xf0) low = 0x90;
  else if (first == 0xf4) high = 0x8f;
  for (let i = 1; i < length; i++) {
    if (at + <usize>i >= end) return -i;
    const next = load<u8>(at + <usize>i);
    if (next < low || next > high) return -i;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

/** Text of bytes; what is not UTF-8 becomes U+FFFD. */
export function decode(start: usize, length: i32): string {
  const end = start + <usize>length;
  let valid = validUpTo(start, length);
  if (valid == length) return decodeValid(start, length);
  let text = "";
  let at = start;
  while (true) {
    text += decodeValid(at, valid);
    at += <usize>valid;
    if (at == end) return text;
    text += "\uFFFD";
    at += <usize>-sequence(at, end);
    valid = validUpTo(at, <i32>(end - at));
  }
}

/** Text of bytes that are known to be UTF-8. */
export function decodeValid(start: usize, length: i32): string {
  return String.UTF8.decodeUnsafe(start, <usize>length);
}

/** A text's bytes. The language's own strings may hold half of a surrogate pair, which the host does not take. */
export function encode(text: string): ArrayBuffer {
  return String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE);
}
