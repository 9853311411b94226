/**
 * Write a wasmill handler in JavaScript: a function over a message. Types and their documentation are in `index.d.ts`.
 */

export { handler } from './handler.js';
export { log } from './log.js';
export { Topic } from './outputs.js';
export { Reject, Retry } from './verdict.js';
