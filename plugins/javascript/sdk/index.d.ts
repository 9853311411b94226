/** A handler looks at one message at a time, emits what it wants published, and gives a verdict. */

/** What keys, values and headers are given as: text is written as UTF-8; null is absent, which is not empty. */
export type Bytes = string | Uint8Array | null;

/**
 * Handles one message. Returning acknowledges it; throwing {@link Retry} or {@link Reject} says otherwise, and any
 * other error rejects it with its text and stack. Nothing is published of what was sent for a message that is not
 * acknowledged.
 */
export type Handle = (message: Message, out: Outputs) => void;

/** A handler with state. */
export interface Handler {
  /** Once for each instance, before its first message. What it throws keeps the pipeline from starting. */
  init?(context: Context): void;
  handle(message: Message, out: Outputs): void;
}

/** A function over a message, an object, or a class, of which every instance of the handler gets an object. */
export type HandlerDefinition = Handle | Handler | (new () => Handler);

/** Says what the handler is: `export default handler(…)`. Hands it back as it is. */
export function handler(definition: Handle): Handle;
export function handler<H extends HandlerDefinition>(definition: H): H;

/**
 * One Kafka message. There is one object for all messages of a batch: it is good until `handle` returns. Keys, values
 * and headers are views that stay good, and are made anew each time they are asked for: keep one in a variable.
 */
export interface Message {
  /** The key; null if there is none. */
  readonly key: Uint8Array | null;
  /** The value; null in a tombstone. */
  readonly value: Uint8Array | null;
  /** The value as UTF-8 text. Rejects the message if it is absent or not UTF-8, naming the byte. */
  text(): string;
  /** The value as JSON. Rejects the message if it is absent, not UTF-8 or not JSON. */
  json(): any;
  /** The headers, in order. A name may occur more than once. */
  readonly headers: Headers;
  /** The value of the last header of that name; null if there is no such header or it has no value. */
  header(name: string): Uint8Array | null;
  /** The same as UTF-8 text. Rejects the message if it is not UTF-8. */
  headerText(name: string): string | null;
  /** The topic it was read from. */
  readonly topic: string;
  /** The partition it was read from. */
  readonly partition: number;
  /** The offset in its partition, exact up to 2 ** 53. Offsets ascend, with gaps. */
  readonly offset: number;
  /** The offset, always exact. */
  readonly offsetBig: bigint;
  /** Milliseconds since 1970, exact up to 2 ** 53; null if the message has no timestamp. */
  readonly timestamp: number | null;
  /** The timestamp, always exact. */
  readonly timestampBig: bigint | null;
  /** 1 the first time, one more after each retry. */
  readonly attempt: number;
}

/** The headers of a message, in order. */
export interface Headers extends Iterable<Header> {
  readonly length: number;
  /** The header at a place below `length`. */
  at(index: number): Header;
  /** The value of the last header of that name; null if there is no such header or it has no value. */
  get(name: string): Uint8Array | null;
}

/** One header. */
export interface Header {
  /** The name; what is not UTF-8 in it shows as U+FFFD. */
  readonly name: string;
  readonly nameBytes: Uint8Array;
  /** The value, if there is one. */
  readonly value: Uint8Array | null;
}

/** What the handler emits for the message at hand; published, in order, if and when the message is acknowledged. */
export interface Outputs {
  /**
   * Sends a key and a value: to the pipeline's default output, without headers, with the message's timestamp and to the
   * partition that the key decides, where the options do not say otherwise. A value of null is a tombstone.
   */
  send(key: Bytes, value: Bytes, options?: OutputOptions): void;
  /** Sends the message on as the host handed it over, headers included, to the pipeline's default output. */
  forward(message: Message): void;
}

export interface OutputOptions {
  topic?: Topic;
  /** `message.headers`, or any sequence of headers and of pairs: `[...message.headers, ['region', 'eu']]`. */
  headers?: Headers | Iterable<Header | readonly [name: string | Uint8Array, value: Bytes]>;
  /** Milliseconds since 1970. */
  timestamp?: number | bigint;
  partition?: number;
}

/** An output topic. */
export interface Topic {
  /** By which the host knows it. */
  readonly number: number;
}

export const Topic: {
  /** The pipeline's default output. */
  readonly DEFAULT: Topic;
  /**
   * An output topic by name. Ask in `init`, so that a topic that is not granted keeps the pipeline from starting: the
   * error is the host's text, which says what is granted. In `handle` it rejects the message.
   */
  named(name: string): Topic;
};

/**
 * The message is handed over again, as `attempt` + 1, after the pipeline's `retry.backoff` or after so many
 * milliseconds, whichever is longer. No later message of its partition is handled before. After `retry.attempts` it is
 * given up.
 */
export class Retry extends Error {
  constructor(reason: string, options?: ErrorOptions & { after?: number });
  readonly after: number;
}

/** The message is given up for good: it goes to the dead letters, or wherever `on_exhausted` says. */
export class Reject extends Error {
  constructor(reason: string, options?: ErrorOptions);
}

/** What an instance is told once. Not which topics and partitions: it may serve several. */
export interface Context {
  /** The pipeline's name in wasmill.toml. */
  readonly pipeline: string;
  /** The consumer group it belongs to. */
  readonly group: string;
  /** SHA-256 of the handler's file, in hexadecimal. */
  readonly digest: string;
  /** The pipeline's `config` table, sorted by key. */
  readonly settings: Iterable<[key: string, value: string]>;
  /** A setting of the pipeline's `config` table, as text; undefined if it is not written there. */
  config(key: string): string | undefined;
  /** A setting that must be there; throws if it is not. */
  require(key: string): string;
  /** A setting as a number; undefined if it is not written, throws if it is not a number. */
  number(key: string): number | undefined;
  /** Throws if there is a setting that the handler does not know, so that a misspelt one is noticed at once. */
  only(known: readonly string[]): void;
}

/** Lines in the host's log. It cuts, escapes and counts them, and drops what is past the pipeline's limit. */
export const log: Record<'trace' | 'debug' | 'info' | 'warn' | 'error', (text: string) => void>;
