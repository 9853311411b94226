import { write } from './host.js';

/** Lines in the host's log. It cuts, escapes and counts them, and drops what is past the pipeline's limit. */
export const log = {
  /** @param {string} text The finest grain. */
  trace: (text) => write('trace', String(text)),
  /** @param {string} text For whoever looks for a mistake. */
  debug: (text) => write('debug', String(text)),
  /** @param {string} text Worth reading in normal operation. */
  info: (text) => write('info', String(text)),
  /** @param {string} text Something is odd, but handled. */
  warn: (text) => write('warn', String(text)),
  /** @param {string} text Something went wrong. */
  error: (text) => write('error', String(text)),
};
