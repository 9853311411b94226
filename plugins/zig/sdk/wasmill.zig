//! Write a wasmill handler in Zig: a function over a message.
//!
//! ```
//! const std = @import("std");
//! const wasmill = @import("wasmill");
//!
//! pub fn handle(message: wasmill.Message, out: *wasmill.Outputs) !void {
//!     const upper = try std.ascii.allocUpperString(message.allocator(), try message.text());
//!     try out.send(message.key(), upper);
//! }
//! ```
//!
//! A handler with state or settings is a public struct `Handler` with `init` and `handle` instead:
//!
//! ```
//! pub const Handler = struct {
//!     limit: u64,
//!
//!     pub fn init(context: *wasmill.Context) !Handler { .. }
//!     pub fn handle(self: *Handler, message: wasmill.Message, out: *wasmill.Outputs) !void { .. }
//! };
//! ```
//!
//! Returning acknowledges the message. `message.retry(..)` and `message.reject(..)` make errors to return; any other
//! error rejects the message with its name. An instance serves one or more partitions, from one thread, and is thrown
//! away after a trap or when its partitions move: its state is a cache.

pub const Context = @import("Context.zig");
pub const Message = @import("Message.zig");
pub const Outputs = @import("Outputs.zig");
pub const Output = Outputs.Output;
pub const Topic = @import("topic.zig").Topic;
/// A header of a message, or of an output.
pub const Header = Message.Header;
/// Lines for the host's log.
pub const log = @import("log.zig");
/// Runs a handler in an ordinary unit test, on this machine.
pub const testing = @import("testing.zig");

/// What `main.zig` makes the exports of; not for use by hand.
pub const abi = @import("abi.zig");
