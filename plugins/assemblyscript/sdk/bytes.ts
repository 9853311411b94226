import { decode, encode } from "./utf8";

/**
 * Bytes that cannot be written to: a key, a value, a header.
 *
 * Those of a message lie where the host put them, so that looking at one copies nothing and sending it on copies nothing
 * either. They are good until `handle` returns; `copy()` makes ones that stay.
 */
export class Bytes {
  /** Not for use by handlers: see `bytesOf` and `wrap`. */
  constructor(
    /** Where they lie. What is there must not be written to. */
    readonly start: usize,
    readonly length: i32,
    /** Keeps them alive; null for those of a message. */
    private owner: ArrayBuffer | null,
  ) {}

  /** The byte at an index; traps if there is none. */
  @operator("[]")
  at(index: i32): u8 {
    if (<u32>index >= <u32>this.length) throw new RangeError("Index out of range");
    return load<u8>(this.start + <usize>index);
  }

  /** The byte at an index that is known to exist, as `unchecked(bytes[index])` gives it. */
  @operator("{}")
  atUnchecked(index: i32): u8 {
    return load<u8>(this.start + <usize>index);
  }

  /** A part of them, without copying. Both ends are brought into range. */
  slice(from: i32, to: i32 = i32.MAX_VALUE): Bytes {
    const start = min(max(from, 0), this.length);
    const end = min(max(to, start), this.length);
    return new Bytes(this.start + <usize>start, end - start, this.owner);
  }

  equals(other: Bytes): bool {
    return this.length == other.length && memory.compare(this.start, other.start, <usize>this.length) == 0;
  }

  /** Whether they are the UTF-8 of a text. */
  equalsText(text: string): bool {
    if (this.length < text.length) return false;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) return this.equals(bytesOf(text));
      if (<i32>load<u8>(this.start + <usize>i) != unit) return false;
    }
    return this.length == text.length;
  }

  /** As text. What is not UTF-8 becomes U+FFFD; `Message.text` refuses it instead. */
  toString(): string {
    return decode(this.start, this.length);
  }

  /** A copy to write to; `wrap` makes bytes of it again. */
  toArray(): Uint8Array {
    const array = new Uint8Array(this.length);
    memory.copy(array.dataStart, this.start, <usize>this.length);
    return array;
  }

  /** A copy that stays good after `handle` has returned. */
  copy(): Bytes {
    return wrap(this.toArray());
  }
}

/** A text as UTF-8. A surrogate without its partner becomes U+FFFD. */
export function bytesOf(text: string): Bytes {
  const buffer = encode(text);
  return new Bytes(changetype<usize>(buffer), buffer.byteLength, buffer);
}

/** An array's bytes, without copying: do not write to it before they are sent. */
export function wrap(array: Uint8Array): Bytes {
  return new Bytes(array.dataStart, array.length, array.buffer);
}
