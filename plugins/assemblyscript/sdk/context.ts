import * as host from "./host";
import { Topic } from "./outputs";

/**
 * What an instance is told once, before its first message. Not which topics and partitions: an instance may serve several.
 *
 * The first thing that a handler's `init` refuses counts; it may go on, with an empty text or the default topic in the
 * place of what is missing.
 */
export class Context {
  /** Not for use by handlers. */
  constructor(
    /** The pipeline's name in wasmill.toml. */
    readonly pipeline: string,
    /** The consumer group the pipeline belongs to. */
    readonly group: string,
    /** SHA-256 of the plugin's bytes, in hexadecimal. */
    readonly digest: string,
    /** The keys of the pipeline's `config` table, sorted. */
    readonly keys: string[],
    private values: string[],
  ) {}

  /** Why the handler does not start; null if nothing was refused. */
  refusal: string | null = null;

  /** A setting of the pipeline's `config` table, as text; null if it is not written there. */
  config(key: string): string | null {
    const index = this.keys.indexOf(key);
    return index < 0 ? null : this.values[index];
  }

  /** A setting that must be there, else the handler does not start. */
  require(key: string): string {
    const value = this.config(key);
    if (value !== null) return value;
    this.refuse(`config \`${key}\` is missing`);
    return "";
  }

  /** Refuses settings that the handler does not know, so that a misspelt one is noticed before the first message. */
  only(known: string[]): void {
    for (let i = 0; i < this.keys.length; i++) {
      const key = this.keys[i];
      if (known.includes(key)) continue;
      if (known.length == 0) this.refuse(`config \`${key}\` is unknown; this handler has no settings`);
      else this.refuse(`config \`${key}\` is unknown; hint: this handler knows \`${known.join("`, `")}\``);
      return;
    }
  }

  /** An output topic by its name; if the pipeline's `output` does not grant it, the handler does not start. */
  topic(name: string): Topic {
    const topic = Topic.named(name);
    if (topic !== null) return topic;
    this.refuse(host.refusal);
    return Topic.DEFAULT;
  }

  /** Keeps the pipeline from starting; the text is shown as it is. */
  refuse(reason: string): void {
    if (this.refusal === null) this.refusal = reason;
  }
}
