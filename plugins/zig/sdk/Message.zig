//! One Kafka message. It is read from the batch only where it is looked at, and good until `handle` returns.
//!
//! An absent value (a tombstone) is not an empty one, and an absent key is not an empty key.

const std = @import("std");
const Batch = @import("Batch.zig");

const Message = @This();

batch: *const Batch,
/// At least `Batch.row_words` words, laid out as in world `batches` of `wit/handler.wit`.
row: [*]const u32,

/// The key.
pub fn key(message: Message) ?[]const u8 {
    return message.batch.bytes(message.row[0], message.row[1]);
}

/// The value; null in a tombstone.
pub fn value(message: Message) ?[]const u8 {
    return message.batch.bytes(message.row[2], message.row[3]);
}

/// The value as UTF-8. If it is absent or not UTF-8, the error rejects the message and says from which byte it is not.
pub fn text(message: Message) error{Reject}![]const u8 {
    const bytes = message.value() orelse return message.reject("the value is absent", .{});
    if (std.unicode.utf8ValidateSlice(bytes)) return bytes;
    return message.reject("the value is not UTF-8 from byte {d}", .{validUpTo(bytes)});
}

/// One header.
pub const Header = struct {
    /// Text by convention, but Kafka lets producers write any bytes.
    name: []const u8,
    value: ?[]const u8,
};

/// The headers, in order. A name may occur more than once.
pub fn headers(message: Message) Headers {
    return .{ .batch = message.batch, .rows = message.headerRows() };
}

/// Gives headers one by one: `while (headers.next()) |header|`.
pub const Headers = struct {
    batch: *const Batch,
    /// Those still to come.
    rows: []const Batch.HeaderRow,

    pub fn next(self: *Headers) ?Header {
        if (self.rows.len == 0) return null;
        defer self.rows = self.rows[1..];
        return self.batch.header(self.rows[0]);
    }
};

/// The value of the last header of that name, as Kafka's own clients look it up; null if there is no such header or it
/// has no value.
pub fn header(message: Message, name: []const u8) ?[]const u8 {
    const rows = message.headerRows();
    var index = rows.len;
    while (index > 0) {
        index -= 1;
        const found = message.batch.header(rows[index]);
        if (std.mem.eql(u8, found.name, name)) return found.value;
    }
    return null;
}

/// The offset in its partition. Offsets ascend, with gaps.
pub fn offset(message: Message) i64 {
    return long(message.row[6], message.row[7]);
}

/// Milliseconds since 1970; null if the message has no timestamp.
pub fn timestamp(message: Message) ?i64 {
    const ms = long(message.row[8], message.row[9]);
    return if (ms == -1) null else ms;
}

/// 1 the first time, one more after each retry.
pub fn attempt(message: Message) u32 {
    return message.row[10];
}

/// The topic it was read from.
pub fn topic(message: Message) []const u8 {
    return message.batch.shared.topicName(message.batch.source);
}

/// The partition it was read from.
pub fn partition(message: Message) i32 {
    return message.batch.partition;
}

/// For what is needed while this message is handled: all of it is taken back when `handle` returns.
pub fn allocator(message: Message) std.mem.Allocator {
    return message.batch.shared.arena.allocator();
}

/// Makes the error by which `handle` asks for the message once more, after the pipeline's `retry.backoff` or later, as
/// attempt + 1; after `retry.attempts` it is given up. No later message of its partition is handled in between.
pub fn retry(message: Message, comptime format: []const u8, args: anytype) error{Retry} {
    return message.retryAfter(0, format, args);
}

/// As `retry`, but not before so many milliseconds have passed. The pipeline's `retry.max_delay` is the most it waits.
pub fn retryAfter(message: Message, ms: u32, comptime format: []const u8, args: anytype) error{Retry} {
    message.batch.shared.failure = .{ .retry_after_ms = ms, .reason = message.print(format, args) };
    return error.Retry;
}

/// Makes the error by which `handle` gives the message up for good: it goes to the pipeline's dead letters, or wherever
/// `on_exhausted` says.
pub fn reject(message: Message, comptime format: []const u8, args: anytype) error{Reject} {
    message.batch.shared.failure = .{ .retry_after_ms = null, .reason = message.print(format, args) };
    return error.Reject;
}

fn print(message: Message, comptime format: []const u8, args: anytype) []const u8 {
    return std.fmt.allocPrint(message.allocator(), format, args) catch @panic("out of memory");
}

/// The input's header rows of this message.
pub fn headerRows(message: Message) []const Batch.HeaderRow {
    return message.batch.headers[message.row[4]..][0..message.row[5]];
}

fn long(low: u32, high: u32) i64 {
    return @bitCast(@as(u64, high) << 32 | low);
}

/// How many bytes are UTF-8, from the first, of bytes that are not.
fn validUpTo(bytes: []const u8) usize {
    var at: usize = 0;
    while (at < bytes.len) {
        const length = std.unicode.utf8ByteSequenceLength(bytes[at]) catch return at;
        if (at + length > bytes.len or !std.unicode.utf8ValidateSlice(bytes[at..][0..length])) return at;
        at += length;
    }
    return at;
}
