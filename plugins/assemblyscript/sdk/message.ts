import { Bytes } from "./bytes";
import * as host from "./host";
import { decodeValid, validUpTo } from "./utf8";
import { Verdict, reject } from "./verdict";

/** Words of a message's row in the table (`wit/handler.wit`, world `batches`). A later host may append columns. */
export const ROW_WORDS: u32 = 12;
/** Bytes of a header's row: name start and length, value start and length. */
export const HEADER_BYTES: usize = 16;
/** The length that says "absent". */
export const ABSENT: u32 = u32.MAX_VALUE;

/** One header. */
export class Header {
  constructor(
    /** Text by convention, but Kafka lets producers write any bytes. */
    readonly name: Bytes,
    /** Null if it has none. */
    readonly value: Bytes | null,
  ) {}
}

/**
 * One Kafka message, good until `handle` returns. It is read from the batch only where it is looked at, and the same
 * object shows one message after the other: do not keep it.
 *
 * An absent value (a tombstone) is not an empty one, and an absent key is not an empty key.
 */
export class Message {
  /** The batch's bytes, rows and header rows. Set by `exports.ts`. */
  data: usize = 0;
  row: usize = 0;
  headerRows: usize = 0;
  source: u32 = 0;
  /** The partition it was read from. */
  partition: i32 = 0;

  /** The key; null if there is none. */
  get key(): Bytes | null {
    return this.bytes(this.row);
  }

  /** The value; null in a tombstone. */
  get value(): Bytes | null {
    return this.bytes(this.row + 8);
  }

  /** The value as text; null if it is absent or not UTF-8. `notText` then says so. */
  text(): string | null {
    const length = load<u32>(this.row, 12);
    if (length == ABSENT) return null;
    const start = this.data + load<u32>(this.row, 8);
    return validUpTo(start, length) == <i32>length ? decodeValid(start, length) : null;
  }

  /** Rejects a message whose `text` is null, with the reason: the value is absent, or from which byte it is not UTF-8. */
  notText(): Verdict {
    const value = this.value;
    if (value === null) return reject("the value is absent");
    return reject(`the value is not UTF-8 from byte ${validUpTo(value.start, value.length)}`);
  }

  /** The headers, in order. A name may occur more than once. */
  headers(): Header[] {
    const headers = new Array<Header>(this.headerCount);
    for (let i = 0; i < headers.length; i++) {
      const row = this.firstHeader + <usize>i * HEADER_BYTES;
      headers[i] = new Header(this.bytes(row)!, this.bytes(row + 8));
    }
    return headers;
  }

  /**
   * The value of the last header of that name, as Kafka's own clients look it up; null if there is no such header or it
   * has no value.
   */
  header(name: string): Bytes | null {
    for (let i = this.headerCount - 1; i >= 0; i--) {
      const row = this.firstHeader + <usize>i * HEADER_BYTES;
      if (this.bytes(row)!.equalsText(name)) return this.bytes(row + 8);
    }
    return null;
  }

  /** The offset in its partition. Offsets ascend, with gaps. */
  get offset(): i64 {
    return load<i64>(this.row, 24);
  }

  /** Milliseconds since 1970; -1 if the message has no timestamp. */
  get timestamp(): i64 {
    return load<i64>(this.row, 32);
  }

  /** 1 the first time, one more after each retry. */
  get attempt(): u32 {
    return load<u32>(this.row, 40);
  }

  /** The topic it was read from. */
  get topic(): string {
    return host.sourceName(this.source);
  }

  /** The row of its first header, and how many follow it. */
  get firstHeader(): usize {
    return this.headerRows + <usize>load<u32>(this.row, 16) * HEADER_BYTES;
  }

  get headerCount(): i32 {
    return load<i32>(this.row, 20);
  }

  /** What a pair of start and length at an address means. */
  private bytes(pair: usize): Bytes | null {
    const length = load<u32>(pair, 4);
    return length == ABSENT ? null : new Bytes(this.data + load<u32>(pair), length, null);
  }
}
