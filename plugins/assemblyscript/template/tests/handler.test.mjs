import assert from "node:assert/strict";
import { test } from "node:test";
import { Harness } from "../../sdk/testing.mjs";

// What `npm test` compiled before.
const handler = () => new Harness("build/test.wasm");

test("sends upper case with the suffix", () => {
  const run = handler().config("suffix", "!").message("hello").run();
  assert.deepEqual(run.outcomes, [{ ack: true }]);
  assert.deepEqual(run.values, ["HELLO!"]);
});

test("rejects what is no text", () => {
  const run = handler().message({ value: Uint8Array.of(0xff) }).run();
  assert.deepEqual(run.outcomes, [{ reject: "the value is not UTF-8 from byte 0" }]);
});
