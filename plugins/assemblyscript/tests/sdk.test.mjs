// What a handler says is what the contract's tables say: the SDK's layout, read back as the host reads it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Harness } from "../sdk/testing.mjs";

const harness = () => new Harness("build/test.wasm").config("suffix", "!").grant("a").grant("b");
const headers = [["ä", "1"], ["n", null], ["ä", "2"]];
const full = (value) => ({ key: "k", value, headers, timestamp: 77 });

/** An output with texts in the place of buffers. */
function readable({ message, topic, key, value, headers, timestamp, partition }) {
  const text = (part) => part?.toString() ?? null;
  const pairs = headers.map(([name, value]) => [text(name), text(value)]);
  return { message, topic, key: text(key), value: text(value), headers: pairs, timestamp, partition };
}

const output = (fields) => ({
  message: 0,
  topic: null,
  key: null,
  value: null,
  headers: [],
  timestamp: 77n,
  partition: null,
  ...fields,
});

test("a message shows all that was handed over", () => {
  const sample = { ...full("look"), offset: -(2n ** 62n), attempt: 3 };
  const run = harness().source("somewhere", 5).message(sample).run();
  const expected = `somewhere/5/${sample.offset} 77 3 ä=1 n=absent ä=2 last=2`;
  assert.deepEqual(run.values, [expected]);
});

test("a forward keeps everything, and absent is not empty", () => {
  const run = harness().message(full("forward")).message("forward").message({ key: "", value: "forward" }).run();
  assert.deepEqual(run.outputs.map(readable), [
    output({ key: "k", value: "forward", headers }),
    output({ message: 1, value: "forward", timestamp: null }),
    output({ message: 2, key: "", value: "forward", timestamp: null }),
  ]);
});

test("a draft says all that an output can say", () => {
  const run = harness().message(full("detailed")).message(full("detailed")).run();
  const one = (message) => [
    output({
      message,
      topic: "b",
      key: "own",
      value: "detailed",
      headers: [["first", ""], ...headers, ["last", null]],
      timestamp: 5n << 32n,
      partition: 9,
    }),
    output({ message, headers: [...headers, ["last", "k"]] }),
    output({ message, topic: "b", key: "k", headers }),
  ];
  assert.deepEqual(run.outputs.map(readable), [...one(0), ...one(1)]);
});

test("parts of the input, edited copies and own bytes mix", () => {
  const run = harness().message("mixed").message("mixed").run();
  const pairs = run.outputs.map(readable).map(({ key, value }) => [key, value]);
  const expected = [["ix", "Mixed"], ["own key", "ed"], ["", "mixed"], ["", "mixed"]];
  assert.deepEqual(pairs, [...expected, ...expected]);
});

test("a draft may be given up, and another output sent while one is open", () => {
  const run = harness().message(full("drafts")).run();
  assert.deepEqual(run.outputs.map(readable), [
    output({ key: "k", value: "drafts", headers }),
    output({ value: "yes", headers: [["n", "1"], ["m", "k"]] }),
  ]);
});

test("more outputs than one emission holds keep their order, headers and message", () => {
  const run = harness().message(full("many")).message(full("many")).run();
  assert.equal(run.outputs.length, 46_000);
  for (const [index, { message, headers, key }] of run.outputs.entries()) {
    const number = index % 23_000;
    assert.equal(message, index < 23_000 ? 0 : 1);
    assert.equal(key.toString(), number < 3000 ? String(number) : "k");
    assert.equal(headers.length, number < 3000 ? 4 : 3);
  }
});

test("a retry stops the batch, a rejection does not, and both lose their outputs", () => {
  const values = ["forward", "bad", null, Uint8Array.of(0x61, 0xe2, 0x82), "forward", "wait", "forward"];
  const run = harness().start().handle(values.map((value) => ({ value })));
  assert.deepEqual(run.outcomes, [
    { ack: true },
    { reject: "is bad" },
    { reject: "the value is absent" },
    { reject: "the value is not UTF-8 from byte 1" },
    { ack: true },
    { retry: "attempt 1", afterMs: 30 },
    { notReached: true },
  ]);
  assert.deepEqual(run.values, ["forward", "forward"]);
});

test("text that is not Unicode never reaches the host", () => {
  const bytes = Uint8Array.of(0x61, 0xf0, 0x9f, 0x98, 0xff, 0xed, 0xa0, 0x80, 0xc3, 0xa4, 0xc0, 0x62, 0xe2);
  const run = harness().message({ value: "lossy", headers: [["h", bytes]] }).run();
  assert.deepEqual(run.outcomes, [{ reject: `${new TextDecoder().decode(bytes)} \uFFFD` }]);
});

test("UTF-8 is told from what only looks like it", () => {
  const invalid = ["c080", "c1bf", "e080af", "eda080", "edbfbf", "f0808080", "f4908080", "f5808080", "80", "e2822e"];
  for (const hex of invalid) {
    const run = harness().message({ value: Buffer.from(`61${hex}`, "hex") }).run();
    assert.deepEqual(run.outcomes, [{ reject: "the value is not UTF-8 from byte 1" }], hex);
  }
  const far = Buffer.concat([Buffer.from("a".repeat(37) + "ä😀\u{10ffff}퟿"), Buffer.of(0xff)]);
  const run = harness().message({ value: far }).run();
  assert.deepEqual(run.outcomes, [{ reject: `the value is not UTF-8 from byte ${far.length - 1}` }]);
});

test("state lives from batch to batch and not from instance to instance", () => {
  for (let round = 0; round < 2; round++) {
    const instance = harness().start();
    const first = instance.handle(["count", "count"]);
    assert.deepEqual(first.values, ["1!", "2!"]);
    assert.deepEqual(first.log, [["info", "counting for test"]]);
    const second = instance.handle(["count"]);
    assert.deepEqual([second.values, second.log], [["3!"], []]);
  }
});

test("an instance that lacks something does not start", () => {
  const bare = () => new Harness("build/test.wasm");
  assert.throws(() => bare().grant("b").start(), { message: "config `suffix` is missing" });
  const hint = "hint: this handler knows `suffix`, `limit`";
  assert.throws(() => harness().config("x", "1").start(), { message: `config \`x\` is unknown; ${hint}` });
  assert.throws(() => bare().config("suffix", "").start(), { message: /^topic `b` is not granted/ });
});

test("an abort says where and why before it traps", () => {
  assert.throws(() => harness().message("nonsense").run(), {
    message: /^aborted: what is nonsense at assembly\/handler\.ts:\d+:\d+$/,
  });
});

test("garbage within a message is collected", () => {
  const instance = harness().start();
  assert.deepEqual(instance.handle(["garbage"]).outcomes, [{ ack: true }]);
  assert.ok(instance.memoryBytes < 8 << 20, `${instance.memoryBytes}`);
});

test("memory settles", () => {
  const instance = harness().start();
  const batch = Array.from({ length: 128 }, () => full("forward"));
  for (let round = 0; round < 200; round++) instance.handle(batch);
  const before = instance.memoryBytes;
  for (let round = 0; round < 2000; round++) instance.handle(batch);
  assert.equal(instance.memoryBytes, before);
});
