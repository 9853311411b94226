//! What the handler emits for the message at hand, written straight into the layout of the contract (`outcome.emit` in
//! `wit/handler.wit`). It is published, in order, if and when the message is acknowledged.
//!
//! Keys, values and headers given as slices are copied, because Zig cannot prove that the bytes are still what the host
//! handed over. `forward`, `key_of`, `value_of` and `headers_of` name a message instead and copy nothing.
//!
//! The only error is running out of memory. Pass it on with `try`: it ends in a trap, and the host hands the batch to a
//! new instance, one message at a time.

const std = @import("std");
const host = @import("host.zig");
const Batch = @import("Batch.zig");
const Message = @import("Message.zig");
const Topic = @import("topic.zig").Topic;

const Outputs = @This();

gpa: std.mem.Allocator,
/// Aligned, because on some processors the host's copy takes many times longer when source and destination lie a few
/// bytes off each other within a page.
data: std.array_list.Aligned(u8, .@"16") = .empty,
rows: std.ArrayList(u32) = .empty,
headers: std.ArrayList(Batch.HeaderRow) = .empty,
batch: *const Batch = undefined,
/// The message at hand, and how much there was when it began.
message: u32 = 0,
mark: struct { data: usize = 0, rows: usize = 0, headers: usize = 0 } = .{},

/// Words of an output's row.
const row_words = 12;
/// Past either of these the outputs so far go to the host: a handler that emits without end then meets the pipeline's
/// output limit, which says so, and not that of its memory.
const flush_bytes = 1 << 20;
const flush_rows = 16 << 10;

const Error = std.mem.Allocator.Error;

/// All that can be said of an output.
pub const Output = struct {
    topic: Topic = .default,
    /// Null: no key.
    key: ?[]const u8 = null,
    /// Null: no value, a tombstone.
    value: ?[]const u8 = null,
    /// Takes the key of a message as it is, instead of `key`.
    key_of: ?Message = null,
    /// Takes the value of a message as it is, instead of `value`.
    value_of: ?Message = null,
    /// Takes all headers of a message as they are, before `headers`.
    headers_of: ?Message = null,
    headers: []const Message.Header = &.{},
    /// Milliseconds since 1970; null: that of the message at hand. A negative one breaks the contract, which ends the
    /// call as a trap would.
    timestamp: ?i64 = null,
    /// Null: the key decides, as in Kafka's own clients. A negative one breaks the contract; one that the topic does not
    /// have makes the host give the message up.
    partition: ?i32 = null,
};

/// Sends key and value to the pipeline's default output, with the message's timestamp and no headers.
pub fn send(out: *Outputs, key: ?[]const u8, value: ?[]const u8) Error!void {
    out.makeRoom();
    try out.row(.default, try out.put(key), try out.put(value));
}

/// As `send`, with a value of `length` bytes that the caller writes into the slice returned, which saves a copy. The
/// slice is good until the next call of `Outputs`, to which it must not be given; it holds anything before it is written.
pub fn sendBuffer(out: *Outputs, key: ?[]const u8, length: usize) Error![]u8 {
    out.makeRoom();
    const key_span = try out.put(key);
    const start = out.data.items.len;
    try out.row(.default, key_span, .{ out.own(start), @intCast(length) });
    return out.data.addManyAsSlice(out.gpa, length);
}

/// As `send`, with formatted text as the value.
pub fn print(out: *Outputs, key: ?[]const u8, comptime format: []const u8, args: anytype) Error!void {
    out.makeRoom();
    const key_span = try out.put(key);
    const start = out.data.items.len;
    const length: usize = @intCast(std.fmt.count(format, args));
    _ = std.fmt.bufPrint(try out.data.addManyAsSlice(out.gpa, length), format, args) catch unreachable;
    try out.row(.default, key_span, .{ out.own(start), @intCast(length) });
}

/// Sends a message on as it is, headers included, to the pipeline's default output.
pub fn forward(out: *Outputs, message: Message) Error!void {
    return out.forwardTo(.default, message);
}

/// Sends a message on as it is, headers included.
pub fn forwardTo(out: *Outputs, topic: Topic, message: Message) Error!void {
    out.makeRoom();
    const in = message.row;
    const words = [row_words]u32{
        out.message, @backingInt(topic), in[0], in[1], in[2], in[3], in[4], in[5], 0, 0, 0, 0,
    };
    try out.rows.appendSlice(out.gpa, &words);
}

/// Sends whatever an `Output` can say.
pub fn publish(out: *Outputs, output: Output) Error!void {
    out.makeRoom();
    const key = if (output.key_of) |message| message.row[0..2].* else try out.put(output.key);
    const value = if (output.value_of) |message| message.row[2..4].* else try out.put(output.value);
    const headers = try out.putHeaders(output);
    const ms: u64 = @bitCast(output.timestamp orelse 0);
    const flags = @as(u32, @intFromBool(output.timestamp != null)) | @as(u32, @intFromBool(output.partition != null)) << 1;
    const partition: u32 = @bitCast(output.partition orelse 0);
    const words = [row_words]u32{
        out.message,   @backingInt(output.topic), key[0],     key[1],
        value[0],      value[1],                  headers[0], headers[1],
        @truncate(ms), @truncate(ms >> 32),       partition,  flags,
    };
    try out.rows.appendSlice(out.gpa, &words);
}

/// An output topic by its name, for names that only messages bring along; `Context.topic` is for those known before.
/// If the pipeline's `output` does not grant it, the error rejects the message with the host's text.
pub fn topicNamed(out: *Outputs, name: []const u8) error{Reject}!Topic {
    switch (host.topicNumber(name)) {
        .granted => |number| return @fromBackingInt(@intCast(number)),
        .refused => |text| return out.batch.message(out.message).reject("{s}", .{text}),
    }
}

/// Prepares for a batch.
pub fn begin(out: *Outputs, batch: *const Batch) void {
    out.clear();
    out.batch = batch;
}

/// Prepares for a message of it.
pub fn beginMessage(out: *Outputs, index: usize) void {
    out.message = @intCast(index);
    out.mark = .{ .data = out.data.items.len, .rows = out.rows.items.len, .headers = out.headers.items.len };
}

/// Drops what the message at hand emitted. What the host already has of it, the host drops.
pub fn drop(out: *Outputs) void {
    out.data.items.len = out.mark.data;
    out.rows.items.len = out.mark.rows;
    out.headers.items.len = out.mark.headers;
}

/// Hands the outputs so far to the host.
pub fn flush(out: *Outputs) void {
    if (out.rows.items.len == 0) return;
    const count = out.rows.items.len / row_words;
    out.rows.appendSlice(out.gpa, @ptrCast(out.headers.items)) catch @panic("out of memory");
    host.emit(out.data.items, out.rows.items, row_words, @intCast(count));
    out.clear();
}

pub fn deinit(out: *Outputs) void {
    out.data.deinit(out.gpa);
    out.rows.deinit(out.gpa);
    out.headers.deinit(out.gpa);
}

fn clear(out: *Outputs) void {
    out.data.clearRetainingCapacity();
    out.rows.clearRetainingCapacity();
    out.headers.clearRetainingCapacity();
    out.mark = .{};
}

/// Before an output rather than behind it, so that `sendBuffer` can be filled.
fn makeRoom(out: *Outputs) void {
    if (out.data.items.len >= flush_bytes or out.rows.items.len >= flush_rows * row_words) out.flush();
}

/// Start and length: below the length of the batch's data in the batch, else in `data`.
const Span = [2]u32;

fn put(out: *Outputs, bytes: ?[]const u8) Error!Span {
    const present = bytes orelse return .{ 0, Batch.absent };
    const start = out.data.items.len;
    try out.data.appendSlice(out.gpa, present);
    return .{ out.own(start), @intCast(present.len) };
}

fn own(out: *const Outputs, start: usize) u32 {
    return @intCast(out.batch.data.len + start);
}

fn putHeaders(out: *Outputs, output: Output) Error!Span {
    const inherited: Span = if (output.headers_of) |message| message.row[4..6].* else .{ 0, 0 };
    if (output.headers.len == 0) return inherited;
    const first = out.batch.headers.len + out.headers.items.len;
    // Rows of the input are copied as they are: their starts lie below the length of the input, which means the same
    // bytes in both tables.
    if (output.headers_of) |message| try out.headers.appendSlice(out.gpa, message.headerRows());
    for (output.headers) |header| {
        try out.headers.append(out.gpa, (try out.put(header.name)) ++ (try out.put(header.value)));
    }
    return .{ @intCast(first), @intCast(inherited[1] + output.headers.len) };
}

fn row(out: *Outputs, topic: Topic, key: Span, value: Span) Error!void {
    const words = [row_words]u32{
        out.message, @backingInt(topic), key[0], key[1], value[0], value[1], 0, 0, 0, 0, 0, 0,
    };
    try out.rows.appendSlice(out.gpa, &words);
}
