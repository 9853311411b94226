//! One call's messages, in the contract's layout (world `batches` of `wit/handler.wit`).

const std = @import("std");
const host = @import("host.zig");
const Message = @import("Message.zig");

const Batch = @This();

source: u32,
partition: i32,
data: []const u8,
rows: []const u32,
stride: usize,
headers: []const HeaderRow,
shared: *Shared,

/// Words of a message's row. A later host may append columns.
pub const row_words = 12;
/// Name start and length, value start and length.
pub const HeaderRow = [4]u32;
/// The length that says "absent".
pub const absent = std.math.maxInt(u32);

/// Panics if the table is not what this SDK knows: the host speaks another contract, and going on would misread
/// messages.
pub fn init(
    shared: *Shared,
    source: u32,
    partition: i32,
    data: []const u8,
    table: []const u32,
    stride: usize,
    row_count: usize,
) Batch {
    if (stride < row_words) @panic("the host's rows are narrower than this SDK needs");
    const split = stride * row_count;
    if (split > table.len) @panic("the host's table is shorter than it claims");
    return .{
        .source = source,
        .partition = partition,
        .data = data,
        .rows = table[0..split],
        .stride = stride,
        .headers = @ptrCast(table[split..]),
        .shared = shared,
    };
}

/// How many messages.
pub fn count(batch: *const Batch) usize {
    return batch.rows.len / batch.stride;
}

pub fn message(batch: *const Batch, index: usize) Message {
    return .{ .batch = batch, .row = batch.rows[index * batch.stride ..][0..row_words] };
}

pub fn header(batch: *const Batch, row: HeaderRow) Message.Header {
    return .{ .name = batch.bytes(row[0], row[1]) orelse "", .value = batch.bytes(row[2], row[3]) };
}

pub fn bytes(batch: *const Batch, start: u32, length: u32) ?[]const u8 {
    return if (length == absent) null else batch.data[start..][0..length];
}

/// What the messages of all batches share.
pub const Shared = struct {
    gpa: std.mem.Allocator,
    /// Emptied after each message.
    arena: std.heap.ArenaAllocator,
    /// What the message at hand said last; counts if `handle` returns the error that goes with it.
    failure: ?Failure = null,
    /// Names the host was asked for. A pipeline reads a handful of topics, so a scan beats a map.
    topics: std.ArrayList(struct { source: u32, name: []const u8 }) = .empty,

    pub const Failure = struct { retry_after_ms: ?u32, reason: []const u8 };

    pub fn init(gpa: std.mem.Allocator) Shared {
        return .{ .gpa = gpa, .arena = .init(gpa) };
    }

    pub fn deinit(shared: *Shared) void {
        for (shared.topics.items) |topic| shared.gpa.free(topic.name);
        shared.topics.deinit(shared.gpa);
        shared.arena.deinit();
    }

    pub fn topicName(shared: *Shared, source: u32) []const u8 {
        for (shared.topics.items) |topic| {
            if (topic.source == source) return topic.name;
        }
        const name = shared.gpa.dupe(u8, host.sourceName(source)) catch @panic("out of memory");
        shared.topics.append(shared.gpa, .{ .source = source, .name = name }) catch @panic("out of memory");
        return name;
    }
};
