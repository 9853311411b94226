import assert from 'node:assert/strict';
import test from 'node:test';

import { run } from './../sdk/testing.js';
import handler from './handler.js';

test('sends upper case with the suffix', () => {
  const { verdicts, values } = run(handler, ['hello'], { config: { suffix: '!' } });
  assert.deepEqual(verdicts, [{ verdict: 'ack' }]);
  assert.deepEqual(values, ['HELLO!']);
});

test('rejects what is no text', () => {
  const { verdicts } = run(handler, [{ value: Uint8Array.of(0xff) }]);
  assert.deepEqual(verdicts, [{ verdict: 'reject', reason: 'the value is not UTF-8 from byte 0' }]);
});
