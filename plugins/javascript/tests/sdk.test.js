/** What a handler says is what the contract's tables say: the SDK's layout, read back as the host reads it. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { handler, log, Reject, Retry, Topic } from '../sdk/index.js';
import { run, start } from '../sdk/testing.js';

const bytes = (text) => new TextEncoder().encode(text);
const full = { key: 'k', value: 'v', headers: [['a', '1'], ['b', null], ['a', '2']], timestamp: 77 };

/** Runs a handler that checks what it sees; an assertion that fails would be a rejection. */
function seeing(check, sample, options) {
  const { verdicts } = run((message) => check(message), [sample], options);
  assert.deepEqual(verdicts, [{ verdict: 'ack' }]);
}

test('a message shows all that was handed over', () => {
  const check = (message) => {
    assert.deepEqual([message.key, message.value], [bytes('k'), bytes('v')]);
    const headers = Array.from(message.headers, ({ name, nameBytes, value }) => [name, nameBytes, value]);
    assert.deepEqual(headers, [
      ['a', bytes('a'), bytes('1')],
      ['b', bytes('b'), null],
      ['a', bytes('a'), bytes('2')],
    ]);
    assert.equal(message.headers.length, 3);
    assert.equal(message.headerText('a'), '2');
    assert.deepEqual([message.header('a'), message.header('b'), message.header('c')], [bytes('2'), null, null]);
    assert.deepEqual([message.topic, message.partition], ['somewhere', 5]);
    assert.deepEqual([message.offset, message.offsetBig], [2 ** 40, 1n << 40n]);
    assert.deepEqual([message.timestamp, message.timestampBig, message.attempt], [77, 77n, 3]);
  };
  seeing(check, { ...full, offset: 2 ** 40, attempt: 3 }, { source: { topic: 'somewhere', partition: 5 } });
});

test('an absent key or value is not an empty one', () => {
  seeing((message) => assert.deepEqual([message.key, message.value, message.timestamp], [null, null, null]), {});
  seeing((message) => assert.deepEqual([message.key, message.text()], [bytes(''), '']), { key: '', value: '' });
  const { outputs } = run((message, out) => out.forward(message), [{}, { key: '', value: '' }]);
  assert.deepEqual(
    outputs.map(({ key, value }) => [key, value]),
    [[null, null], [bytes(''), bytes('')]],
  );
});

test('offsets and timestamps survive the split into words', () => {
  const least = -(1n << 63n);
  const check = (message) => {
    assert.deepEqual([message.offset, message.offsetBig], [-2, -2n]);
    assert.deepEqual([message.timestamp, message.timestampBig], [Number(least), least]);
  };
  seeing(check, { offset: -2, timestamp: least });
  seeing((message) => assert.equal(message.offsetBig, (1n << 53n) + 1n), { offset: (1n << 53n) + 1n });
});

test('what is no text or JSON is rejected with the reason', () => {
  const reasons = (handle, samples) => run(handle, samples).verdicts.map(({ reason }) => reason);
  const values = [{}, { value: Uint8Array.of(0x61, 0xff) }];
  assert.deepEqual(reasons((message) => message.text(), values), [
    'the value is absent',
    'the value is not UTF-8 from byte 1',
  ]);
  assert.match(reasons((message) => message.json(), ['{'])[0], /^the value is not JSON: /);
  const headers = [['h', Uint8Array.of(0x80)]];
  assert.deepEqual(reasons((message) => message.headerText('h'), [{ headers }]), ['the header `h` is not UTF-8 from byte 0']);
});

test('a forward keeps everything', () => {
  const { outputs } = run((message, out) => out.forward(message), [full, 'x']);
  const plain = { topic: null, partition: null, timestamp: null, key: null, headers: [] };
  const headers = [['a', bytes('1')], ['b', null], ['a', bytes('2')]];
  assert.deepEqual({ ...outputs[0] }, { ...plain, message: 0, key: bytes('k'), value: bytes('v'), timestamp: 77, headers });
  assert.deepEqual({ ...outputs[1] }, { ...plain, message: 1, value: bytes('x') });
});

test('edited bytes are published as edited, and forwarded as they were', () => {
  const { values } = run((message, out) => {
    const value = message.value;
    out.forward(message);
    out.send(null, value);
    value[0] = 0x58;
    out.send(null, value);
    out.send(null, value.subarray(1));
  }, ['abc']);
  // The harness reads references after the call, so what `forward` shows here is the edit; the host has its own bytes.
  assert.deepEqual(values.slice(1), ['abc', 'Xbc', 'bc']);
});

test('an output says all that it can say', () => {
  const { outputs } = run(
    class {
      init() {
        this.topic = Topic.named('b');
      }

      handle(message, out) {
        const headers = [['first', '1'], ...message.headers, [bytes('last'), null]];
        out.send(message.key, 'new', { topic: this.topic, headers, timestamp: 5 * 2 ** 32, partition: 9 });
        out.send(null, 'own', { headers: message.headers, topic: Topic.DEFAULT, timestamp: 7n });
      }
    },
    ['before', full],
    { topics: ['a', 'b'] },
  );
  const [, , sent, own] = outputs;
  assert.deepEqual(sent.headers.map(([name]) => name), ['first', 'a', 'b', 'a', 'last']);
  assert.deepEqual([sent.header('a'), sent.header('b'), sent.header('last')], [bytes('2'), null, null]);
  assert.deepEqual([sent.topic, sent.timestamp, sent.partition, sent.text()], ['b', 5 * 2 ** 32, 9, 'new']);
  assert.deepEqual([own.topic, own.timestamp, own.partition, own.headers.length], [null, 7, null, 3]);
});

test('what is no output is an error', () => {
  const reason = (send) => run((message, out) => send(out), ['']).verdicts[0].reason?.split('\n')[0];
  assert.match(reason((out) => out.send(null, undefined)), /a value is a string, a Uint8Array or null, not undefined/);
  assert.match(reason((out) => out.send(1, '')), /a key is a string, a Uint8Array or null, not number/);
  assert.match(reason((out) => out.send(null, { id: 1 })), /not an object/);
  assert.match(reason((out) => out.send(null, '', { partiton: 1 })), /an output has no `partiton`/);
  assert.match(reason((out) => out.send(null, '', { topic: 'b' })), /Topic.named/);
  assert.match(reason((out) => out.send(null, '', { timestamp: -1 })), /timestamp -1/);
  assert.match(reason((out) => out.send(null, '', { partition: 1.5 })), /partition 1.5/);
  assert.match(reason((out) => out.send(null, '', { headers: [[null, '']] })), /a header has a name/);
});

test('more outputs than one emission holds keep their order, headers and message', () => {
  const padding = '.'.repeat(1000);
  const { outputs } = run((message, out) => {
    for (let index = 0; index < 3000; index++) {
      out.send(String(index), padding, { headers: [...message.headers, ['n', String(index)]] });
    }
    for (let index = 0; index < 17_000; index++) out.forward(message);
  }, [full, full]);
  assert.equal(outputs.length, 2 * 20_000);
  outputs.forEach((output, index) => {
    assert.equal(output.message, Math.floor(index / 20_000));
    const nth = index % 20_000;
    const expected = nth < 3000 ? [4, String(nth)] : [3, undefined];
    const number = output.header('n');
    assert.deepEqual([output.headers.length, number === null ? undefined : new TextDecoder().decode(number)], expected);
  });
});

test('a retry stops the batch and a rejection does not', () => {
  const picky = (message, out) => {
    out.forward(message);
    const text = message.text();
    if (text === 'wait' && message.attempt < 2) throw new Retry('not yet', { after: 29.5 });
    if (text === 'bad') throw new Reject('is bad');
  };
  const instance = start(picky);
  const { verdicts, values } = instance.handle(['a', 'bad', 'b', 'wait', 'c']);
  assert.deepEqual(verdicts, [
    { verdict: 'ack' },
    { verdict: 'reject', reason: 'is bad' },
    { verdict: 'ack' },
    { verdict: 'retry', after: 30, reason: 'not yet' },
    { verdict: 'not reached' },
  ]);
  assert.deepEqual(values, ['a', 'b']);
  assert.deepEqual(instance.handle([{ value: 'wait', attempt: 2 }, 'c']).values, ['wait', 'c']);
});

test('a rejected message loses what it sent, its neighbours do not', () => {
  const { values, outputs } = run((message, out) => {
    out.send(null, message.value, { headers: [['n', message.value]] });
    if (message.text() === 'bad') throw new Reject('bad');
    out.send(null, message.value, { headers: [['n', message.value]] });
  }, ['a', 'bad', 'b']);
  assert.deepEqual(values, ['a', 'a', 'b', 'b']);
  assert.deepEqual(outputs.map((output) => new TextDecoder().decode(output.header('n'))), values);
});

test('an uncaught error rejects with its text and stack, bounded', () => {
  const fail = (error) => run(() => { throw error; }, ['']).verdicts[0];
  const { verdict, reason } = fail(new TypeError('x is not y'));
  assert.equal(verdict, 'reject');
  assert.match(reason, /^TypeError: x is not y\n +at /);
  assert.equal(fail(new Error('x'.repeat(10_000))).reason.length, 4096);
  assert.equal(fail('just text').reason, 'just text');
  assert.equal(fail(undefined).reason, 'undefined');
  assert.equal(fail(new Reject('y'.repeat(100_000))).reason.length, 100_000);
  assert.equal(fail(new Reject('half \ud800')).reason, 'half \ufffd');
});

test('a delay is rounded up, bounded and never a rejection', () => {
  const after = (delay) => run(() => { throw new Retry('later', { after: delay }); }, ['']).verdicts[0].after;
  assert.deepEqual([0, 0.001, 2000, 3e9, Infinity].map(after), [0, 1, 2000, 3e9, 0xffff_ffff]);
  assert.throws(() => new Retry('later', { after: NaN }), RangeError);
  assert.throws(() => new Retry('later', { after: -1 }), RangeError);
});

test('a handler cannot be async', () => {
  assert.throws(() => start(async () => {}), /cannot be async/);
  assert.throws(() => start({ init: async () => {}, handle() {} }), /cannot be async/);
  assert.match(run(() => Promise.resolve(), ['']).verdicts[0].reason, /returned a promise/);
});

class Counter {
  seen = 0;

  init(context) {
    log.info(`counting in steps of ${context.require('step')}`);
    this.step = context.number('step');
    this.topic = Topic.named('counts');
  }

  handle(message, out) {
    this.seen += this.step;
    out.send(null, String(this.seen), { topic: this.topic });
    log.warn('seen');
  }
}

test('state lives from batch to batch and not from instance to instance', () => {
  for (let round = 0; round < 2; round++) {
    const counter = start(handler(Counter), { config: { step: 10 }, topics: ['counts'] });
    const { values, log: lines } = counter.handle(['', '']);
    assert.deepEqual(values, ['10', '20']);
    const warning = { level: 'warn', text: 'seen' };
    assert.deepEqual(lines, [{ level: 'info', text: 'counting in steps of 10' }, warning, warning]);
    assert.deepEqual(counter.handle(['']).values, ['30']);
  }
});

test('an instance that lacks something does not start', () => {
  const refused = (options, definition = Counter) => {
    try {
      start(definition, options);
    } catch (error) {
      return error.message;
    }
    return 'started';
  };
  assert.equal(refused({}), 'config `step` is missing');
  assert.equal(refused({ config: { step: 1 }, topics: ['other'] }), 'the pipeline grants no output topic `counts`; granted: other');
  assert.equal(refused({ config: { step: 'x' } }), 'config `step`: `x` is not usable: not a number');
  const only = (known) => ({ init: (context) => context.only(known), handle() {} });
  assert.equal(refused({ config: { a: 1, b: 1 } }, only(['a', 'b'])), 'started');
  assert.equal(refused({ config: { mask: 1 } }, only(['a', 'b'])), 'config `mask` is unknown; hint: this handler knows `a`, `b`');
  assert.equal(refused({ config: { mask: 1 } }, only([])), 'config `mask` is unknown; this handler has no settings');
  assert.match(refused({}, { init: () => null.x, handle() {} }), /^TypeError: .*\n +at /);
  assert.match(refused({}, {}), /no default export with a `handle`/);
});

test('a context tells where the handler runs', () => {
  const definition = {
    init({ pipeline, group, digest, settings }) {
      this.seen = [pipeline, group, digest.length, ...settings];
    },
    handle(message, out) {
      out.send(null, JSON.stringify(this.seen));
    },
  };
  const { values } = run(definition, [''], { pipeline: 'p', group: 'g', config: { b: 2, a: true } });
  assert.deepEqual(JSON.parse(values[0]), ['p', 'g', 64, ['a', 'true'], ['b', '2']]);
});
