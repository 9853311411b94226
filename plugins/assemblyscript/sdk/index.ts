/**
 * Write a wasmill handler in AssemblyScript: a class with a method that takes a message.
 *
 *     import { Handler, Message, Outputs, Verdict, ack, bytesOf, register } from "../sdk";
 *     export { cabi_realloc, handle, init } from "../sdk/exports";
 *
 *     class Upper extends Handler {
 *       handle(message: Message, out: Outputs): Verdict {
 *         const text = message.text();
 *         if (text === null) return message.notText();
 *         out.send(message.key, bytesOf(text.toUpperCase()));
 *         return ack();
 *       }
 *     }
 *     register(new Upper());
 *
 * An instance serves one or more partitions, from one thread, and is thrown away after a trap or when its partitions
 * move: its state is a cache.
 */

export { Bytes, bytesOf, wrap } from "./bytes";
export { Context } from "./context";
export { Handler, register } from "./handler";
export { log } from "./log";
export { Header, Message } from "./message";
export { Draft, Outputs, Topic } from "./outputs";
export { Verdict, ack, reject, retry } from "./verdict";
