/** Runs a handler in an ordinary unit test, without the sandbox. */

import type { HandlerDefinition } from './index.js';

/** Starts a handler and hands it samples as one batch. Throws what its `init` refuses with. */
export function run(handler: HandlerDefinition, samples: (string | Sample)[], options?: Options): Run;

/** Starts a handler, for tests of more than one batch. Throws what its `init` refuses with. */
export function start(handler: HandlerDefinition, options?: Options): { handle(samples: (string | Sample)[]): Run };

/** What the pipeline would say. */
export interface Options {
  /** Its `config` table. */
  config?: Record<string, string | number | boolean>;
  /** The output topics it grants by name. */
  topics?: readonly string[];
  /** Its name; `test` if not given. */
  pipeline?: string;
  /** Its consumer group; `test` if not given. */
  group?: string;
  /** Where the messages come from; partition 0 of `input` if not given. */
  source?: { topic?: string; partition?: number };
}

/** A message to hand over; a string in its place is one with that value and nothing else. */
export interface Sample {
  key?: string | Uint8Array | null;
  /** Not given or null: a tombstone. */
  value?: string | Uint8Array | null;
  headers?: readonly (readonly [name: string | Uint8Array, value: string | Uint8Array | null])[];
  /** One more than that of the message before, from 0, if not given. */
  offset?: number | bigint;
  /** Milliseconds since 1970. */
  timestamp?: number | bigint | null;
  attempt?: number;
}

/** What became of a batch. */
export interface Run {
  /** What was said of each message, in order. */
  readonly verdicts: Verdict[];
  /** What would be published, in order: the outputs of acknowledged messages. */
  readonly outputs: Output[];
  /** The log lines, in order; in the first batch also those of `init`. */
  readonly log: Line[];
  /** The values of the outputs as text; throws if one is absent or not UTF-8. */
  readonly values: string[];
  /** Whether every message was acknowledged. */
  readonly acknowledged: boolean;
}

/** `after` is in milliseconds. A message is not reached if an earlier one asked for a retry. */
export type Verdict =
  | { verdict: 'ack' }
  | { verdict: 'retry'; after: number; reason: string }
  | { verdict: 'reject'; reason: string }
  | { verdict: 'not reached' };

/** A message to be published. */
export interface Output {
  /** Which message of the batch it was sent for. */
  readonly message: number;
  /** The topic; null is the pipeline's default output. */
  readonly topic: string | null;
  /** The partition, if the handler chose one. */
  readonly partition: number | null;
  /** Milliseconds since 1970: those set, else the message's. */
  readonly timestamp: number | null;
  readonly key: Uint8Array | null;
  /** The value; null in a tombstone. */
  readonly value: Uint8Array | null;
  readonly headers: [name: string, value: Uint8Array | null][];
  /** The value as text; throws if it is absent or not UTF-8. */
  text(): string;
  /** The value of the last header of that name. */
  header(name: string): Uint8Array | null;
}

export interface Line {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error';
  readonly text: string;
}
