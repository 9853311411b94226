/** What an instance is told once, before its first message. Not which topics and partitions: it may serve several. */
export class Context {
  #settings;

  /**
   * @param {string} pipeline
   * @param {string} group
   * @param {string} digest
   * @param {Iterable<[key: string, value: string]>} settings
   */
  constructor(pipeline, group, digest, settings) {
    /** The pipeline's name in wasmill.toml. */
    this.pipeline = pipeline;
    /** The consumer group it belongs to. */
    this.group = group;
    /** SHA-256 of the handler's file, in hexadecimal. */
    this.digest = digest;
    this.#settings = new Map(settings);
  }

  /** The pipeline's `config` table, sorted by key. */
  get settings() {
    return this.#settings.entries();
  }

  /**
   * A setting of the pipeline's `config` table, as text; undefined if it is not written there.
   *
   * @param {string} key
   * @returns {string | undefined}
   */
  config(key) {
    return this.#settings.get(key);
  }

  /**
   * A setting that must be there; throws if it is not.
   *
   * @param {string} key
   * @returns {string}
   */
  require(key) {
    const value = this.config(key);
    if (value === undefined) throw new Error(`config \`${key}\` is missing`);
    return value;
  }

  /**
   * A setting as a number; undefined if it is not written, throws if it is not a number.
   *
   * @param {string} key
   * @returns {number | undefined}
   */
  number(key) {
    const value = this.config(key);
    if (value === undefined) return undefined;
    const number = Number(value);
    if (value.trim() === '' || !Number.isFinite(number)) {
      throw new Error(`config \`${key}\`: \`${value}\` is not usable: not a number`);
    }
    return number;
  }

  /**
   * Throws if there is a setting that the handler does not know, so that a misspelt one is noticed before the first
   * message.
   *
   * @param {readonly string[]} known
   */
  only(known) {
    for (const key of this.#settings.keys()) {
      if (known.includes(key)) continue;
      const names = known.map((name) => `\`${name}\``).join(', ');
      const hint = names ? `hint: this handler knows ${names}` : 'this handler has no settings';
      throw new Error(`config \`${key}\` is unknown; ${hint}`);
    }
  }
}
