/** The SDK's UTF-8 says what Node's says, also where it is JavaScript alone. */

import assert from 'node:assert/strict';
import test from 'node:test';

import * as utf8 from '../sdk/utf8.js';

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lossy = new TextDecoder('utf-8', { ignoreBOM: true });

/** Bytes that are likely to be nearly UTF-8. */
function* samples() {
  let seed = 1;
  const random = (below) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const interesting = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef,
    0xf0, 0xf4, 0xf5, 0xff];
  for (const one of interesting) for (const other of interesting) for (const third of interesting) {
    yield Uint8Array.of(0x61, one, other, third);
    yield Uint8Array.of(one, other, third, 0x80, 0x62);
  }
  for (let round = 0; round < 500; round++) {
    yield new TextEncoder().encode(String.fromCodePoint(...Array.from({ length: random(40) }, () => random(0x11_0000))));
    yield Uint8Array.from({ length: random(40) }, () => interesting[random(interesting.length)]);
  }
  yield new TextEncoder().encode('ASCII '.repeat(20_000));
  yield new TextEncoder().encode(`${'a'.repeat(40_000)}é${'b'.repeat(40_000)}日本語😀\ufeff`);
}

// It begins with what Node brings along; the tests run in the order in which they are written.
for (const name of ['engine', 'portable']) {
  test(`${name} is used`, () => {
    if (name === 'portable') utf8.use(utf8.portable);
  });

  test(`bytes are decoded as TextDecoder does (${name})`, () => {
    for (const bytes of samples()) {
      let expected;
      try {
        expected = strict.decode(bytes);
      } catch {
        assert.throws(() => utf8.decode(bytes), utf8.NotUtf8);
      }
      if (expected !== undefined) assert.equal(utf8.decode(bytes), expected);
      assert.equal(utf8.decodeLossy(bytes), lossy.decode(bytes));
    }
  });

  test(`a text is encoded as TextEncoder does (${name})`, () => {
    const texts = ['', 'plain', 'é', 'ÿ', 'Ā', '日本語', '😀', 'half \ud83d', '\udc00 half', 'mixed é 日 😀', 'x'.repeat(50_000)];
    for (const text of texts) assert.deepEqual(utf8.encode(text), new TextEncoder().encode(text));
  });

  test(`the first byte that is not UTF-8 is named (${name})`, () => {
    const place = (...bytes) => {
      try {
        utf8.decode(Uint8Array.from(bytes));
      } catch (error) {
        return error.validUpTo;
      }
      return 'valid';
    };
    assert.equal(place(0xff), 0);
    assert.equal(place(0x61, 0xc3, 0xa9, 0xc3), 3);
    assert.equal(place(0x61, 0xed, 0xa0, 0x80), 1);
    assert.equal(place(0xf0, 0x9f, 0x98, 0x80, 0xf0, 0x9f, 0x98), 4);
  });
}
