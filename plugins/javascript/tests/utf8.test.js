/** The SDK's UTF-8, which the sandbox has no other for, says what Node's says. */

import assert from 'node:assert/strict';
import test from 'node:test';

/** The functions of QuickJS that Node 20 lacks, so that both ways through utf8.js are tested. */
function lend() {
  Uint8Array.prototype.toBase64 = function toBase64() {
    return Buffer.from(this).toString('base64');
  };
  Uint8Array.fromBase64 = (text) => new Uint8Array(Buffer.from(text, 'base64'));
}

const { toBase64 } = Uint8Array.prototype;
const { fromBase64 } = Uint8Array;
delete Uint8Array.prototype.toBase64;
delete Uint8Array.fromBase64;
const portable = await import('../sdk/utf8.js');
lend();
const fast = await import('../sdk/utf8.js?fast');
Object.assign(Uint8Array.prototype, toBase64 && { toBase64 });
Object.assign(Uint8Array, fromBase64 && { fromBase64 });

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

for (const [name, utf8] of Object.entries({ portable, fast })) {
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
