import { write } from "./log_write";

/**
 * Log lines. They appear in the host's log with the pipeline, lane and plugin they came from; the host cuts, escapes and
 * counts them, and drops what is past the pipeline's limit.
 */
export namespace log {
  /** The finest grain. */
  export function trace(line: string): void {
    write(0, line);
  }

  /** For whoever looks for a mistake. */
  export function debug(line: string): void {
    write(1, line);
  }

  /** Worth reading in normal operation. */
  export function info(line: string): void {
    write(2, line);
  }

  /** Something is odd, but handled. */
  export function warn(line: string): void {
    write(3, line);
  }

  /** Something went wrong. */
  export function error(line: string): void {
    write(4, line);
  }
}
