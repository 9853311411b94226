/** The string field `name` of a JSON object; null if the text is no such object. The last field of that name counts. */
export function nameOf(text: string): string | null {
  const scanner = new Scanner(text);
  const name = scanner.object();
  return scanner.failed || !scanner.atEnd() ? null : name;
}

/** How deep values may be nested. */
const DEPTH = 128;

/** A small JSON scanner, because AssemblyScript's library has none. After a mistake it stays `failed`. */
class Scanner {
  failed: bool = false;
  private at: i32 = 0;
  private depth: i32 = 0;

  constructor(private text: string) {}

  /** An object; returns its string field `name`. */
  object(): string | null {
    let name: string | null = null;
    if (!this.open(0x7b /* { */)) return null;
    if (this.close(0x7d /* } */)) return null;
    do {
      this.space();
      const key = this.string();
      this.space();
      this.expect(0x3a /* : */);
      this.space();
      if (key != "name") {
        this.value();
      } else if (this.peek() == 0x22 /* " */) {
        name = this.string();
      } else {
        name = null;
        this.value();
      }
      this.space();
    } while (this.take(0x2c /* , */));
    if (!this.close(0x7d)) this.failed = true;
    return name;
  }

  atEnd(): bool {
    this.space();
    return this.at == this.text.length;
  }

  private value(): void {
    if (this.failed) return;
    const unit = this.peek();
    if (unit == 0x22) this.string();
    else if (unit == 0x7b) this.object();
    else if (unit == 0x5b /* [ */) this.array();
    else if (unit == 0x74 /* t */) this.word("true");
    else if (unit == 0x66 /* f */) this.word("false");
    else if (unit == 0x6e /* n */) this.word("null");
    else this.number();
  }

  private array(): void {
    if (!this.open(0x5b)) return;
    if (this.close(0x5d /* ] */)) return;
    do {
      this.space();
      this.value();
      this.space();
    } while (this.take(0x2c));
    if (!this.close(0x5d)) this.failed = true;
  }

  private string(): string {
    this.expect(0x22);
    let text = "";
    let from = this.at;
    while (!this.failed) {
      const unit = this.peek();
      if (unit == 0x22) {
        text += this.text.substring(from, this.at++);
        return text;
      }
      if (unit == 0x5c /* \ */) {
        text += this.text.substring(from, this.at++);
        text += this.escape();
        from = this.at;
      } else if (unit < 0x20) {
        // A control character, or the end.
        this.failed = true;
      } else {
        this.at++;
      }
    }
    return text;
  }

  private escape(): string {
    const unit = this.peek();
    this.at++;
    switch (unit) {
      case 0x22: return '"';
      case 0x5c: return "\\";
      case 0x2f: return "/";
      case 0x62: return "\b";
      case 0x66: return "\f";
      case 0x6e: return "\n";
      case 0x72: return "\r";
      case 0x74: return "\t";
      case 0x75: return String.fromCharCode(this.hex());
      default: this.failed = true;
    }
    return "";
  }

  /** Four hexadecimal digits. */
  private hex(): i32 {
    let number = 0;
    for (let i = 0; i < 4; i++) {
      const unit = this.peek();
      this.at++;
      if (unit >= 0x30 && unit <= 0x39) number = number * 16 + unit - 0x30;
      else if ((unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x66) number = number * 16 + (unit | 0x20) - 0x61 + 10;
      else this.failed = true;
    }
    return number;
  }

  private number(): void {
    this.take(0x2d /* - */);
    if (!this.take(0x30 /* 0 */)) this.digits();
    if (this.take(0x2e /* . */)) this.digits();
    if (this.take(0x65 /* e */) || this.take(0x45 /* E */)) {
      if (!this.take(0x2b /* + */)) this.take(0x2d);
      this.digits();
    }
  }

  private digits(): void {
    const from = this.at;
    while (this.peek() >= 0x30 && this.peek() <= 0x39) this.at++;
    if (this.at == from) this.failed = true;
  }

  private word(word: string): void {
    if (this.text.substr(this.at, word.length) == word) this.at += word.length;
    else this.failed = true;
  }

  private open(unit: i32): bool {
    if (!this.spaceAndTake(unit) || ++this.depth > DEPTH) this.failed = true;
    return !this.failed;
  }

  private close(unit: i32): bool {
    if (!this.spaceAndTake(unit)) return false;
    this.depth--;
    return true;
  }

  private spaceAndTake(unit: i32): bool {
    this.space();
    return this.take(unit);
  }

  private expect(unit: i32): void {
    if (!this.take(unit)) this.failed = true;
  }

  private take(unit: i32): bool {
    if (this.failed || this.peek() != unit) return false;
    this.at++;
    return true;
  }

  private space(): void {
    let unit = this.peek();
    while (unit == 0x20 || unit == 0x09 || unit == 0x0a || unit == 0x0d) {
      this.at++;
      unit = this.peek();
    }
  }

  /** The code unit at hand; -1 at the end. */
  private peek(): i32 {
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1;
  }
}
