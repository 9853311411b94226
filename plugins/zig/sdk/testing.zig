//! Runs a handler in an ordinary unit test, on this machine: `zig build test` and nothing else. The harness stands in
//! for the host, gives the handler its context and messages, and keeps what came of them.
//!
//! ```
//! var harness = try wasmill.testing.Harness(Handler).init(.{
//!     .settings = &.{.{ .key = "limit", .value = "5" }},
//!     .grant = &.{"orders-eu"},
//! });
//! defer harness.deinit();
//! const run = try harness.run(&.{ .{ .value = "abc" }, .{ .key = "k", .headers = &.{.{ .name = "n", .value = "1" }} } });
//! try std.testing.expectEqualStrings("ABC", run.outputs[0].value.?);
//! try std.testing.expectEqualStrings("the value is absent", run.outcomes[1].reject);
//! ```
//!
//! What it does not show is what only the sandbox does: limits, deadlines, and that a panic ends the instance. Memory
//! that the handler takes from `context.allocator` must be freed by a function `deinit` of the handler, if it has one,
//! or else the test fails with a leak; the sandbox frees it with the instance.

const std = @import("std");
const Batch = @import("Batch.zig");
const Context = @import("Context.zig");
const Header = @import("Message.zig").Header;
const Instance = @import("instance.zig").Instance;
const Recorder = @import("testing/Recorder.zig");

/// A log line: its level and its text.
pub const Line = Recorder.Line;

/// A message to hand over. Without a key it has no key, without a value it is a tombstone.
pub const Sample = struct {
    key: ?[]const u8 = null,
    value: ?[]const u8 = null,
    headers: []const Header = &.{},
    /// Null: one more than that of the message before, from 0.
    offset: ?i64 = null,
    /// Milliseconds since 1970.
    timestamp: ?i64 = null,
    attempt: u32 = 1,
};

/// What became of a message.
pub const Outcome = union(enum) {
    ack,
    /// To be handed over again, after at least so many milliseconds.
    retry: struct { after_ms: u32, reason: []const u8 },
    /// Given up for good, for this reason.
    reject: []const u8,
    /// An earlier message asked for a retry. It is handed over again, its attempt unchanged.
    not_reached,
};

/// A message to be published.
pub const Published = struct {
    /// Which message of the batch it was sent for.
    message: usize,
    /// Null: the pipeline's default output.
    topic: ?[]const u8,
    key: ?[]const u8,
    value: ?[]const u8,
    headers: []const Header,
    /// The one set, else the message's.
    timestamp: ?i64,
    /// Null unless the handler chose one.
    partition: ?i32,
};

/// What became of a batch. Good until the harness's `deinit`.
pub const Run = struct {
    /// What was said of each message, in order.
    outcomes: []const Outcome,
    /// What would be published, in order: outputs of acknowledged messages.
    outputs: []const Published,
    /// The log lines, in order; in the first batch also those of `init`.
    log: []const Line,
};

pub const Options = struct {
    pipeline: []const u8 = "test",
    group: []const u8 = "test",
    digest: []const u8 = &@as([64]u8, @splat('0')),
    /// As in the pipeline's `config` table.
    settings: []const Context.Setting = &.{},
    /// Output topics besides the default one, as in the pipeline's `output.topics`.
    grant: []const []const u8 = &.{},
    /// Where the messages come from.
    topic: []const u8 = "input",
    partition: i32 = 0,
};

/// A started handler: a type with `init` and `handle`, or, for a function, the file or struct that it is declared in.
pub fn Harness(comptime Handler: type) type {
    return struct {
        arena: *std.heap.ArenaAllocator,
        recorder: *Recorder,
        instance: Instance(Handler),
        partition: i32,
        next_offset: i64 = 0,

        const Self = @This();

        /// Starts the handler. If its `init` refuses, the reason is printed and the error is `error.Refused`.
        pub fn init(options: Options) !Self {
            return start(options, null);
        }

        /// What `init` refuses with; an error if it does not. The caller frees it with `std.testing.allocator`.
        pub fn refusal(options: Options) ![]const u8 {
            var reason: ?[]const u8 = null;
            if (start(options, &reason)) |harness| {
                var started = harness;
                started.deinit();
                return error.NotRefused;
            } else |err| return reason orelse err;
        }

        fn start(options: Options, reason: ?*?[]const u8) !Self {
            const arena = try std.testing.allocator.create(std.heap.ArenaAllocator);
            arena.* = .init(std.testing.allocator);
            errdefer {
                arena.deinit();
                std.testing.allocator.destroy(arena);
            }
            const recorder = try arena.allocator().create(Recorder);
            recorder.* = .{ .arena = arena.allocator(), .granted = options.grant, .source = options.topic };
            Recorder.current = recorder;
            const settings = try arena.allocator().dupe(Context.Setting, options.settings);
            std.mem.sort(Context.Setting, settings, {}, byKey);
            var context: Context = .{
                .allocator = std.testing.allocator,
                .pipeline = options.pipeline,
                .group = options.group,
                .digest = options.digest,
                .settings = settings,
            };
            const instance = Instance(Handler).init(&context) catch |err| {
                if (reason) |out| {
                    out.* = context.refusal.?;
                } else {
                    std.debug.print("the handler's init refused: {s}\n", .{context.refusal.?});
                    std.testing.allocator.free(context.refusal.?);
                }
                return err;
            };
            return .{ .arena = arena, .recorder = recorder, .instance = instance, .partition = options.partition };
        }

        fn byKey(_: void, a: Context.Setting, b: Context.Setting) bool {
            return std.mem.order(u8, a.key, b.key) == .lt;
        }

        pub fn deinit(self: *Self) void {
            self.instance.deinit();
            Recorder.current = null;
            self.arena.deinit();
            std.testing.allocator.destroy(self.arena);
        }

        /// Hands over a batch.
        pub fn run(self: *Self, samples: []const Sample) !Run {
            const arena = self.arena.allocator();
            Recorder.current = self.recorder;
            const input: Input = try .of(arena, samples, &self.next_offset);
            const batch: Batch = .init(
                &self.instance.shared,
                0,
                self.partition,
                input.data,
                input.table,
                input.stride,
                samples.len,
            );
            const reached = self.instance.handle(&batch);
            defer {
                self.recorder.emissions = .empty;
                self.recorder.failures = .empty;
                self.recorder.lines = .empty;
            }
            const outcomes = try arena.alloc(Outcome, samples.len);
            for (outcomes, 0..) |*outcome, index| outcome.* = self.outcomeOf(index, reached);
            var outputs: std.ArrayList(Published) = .empty;
            for (self.recorder.emissions.items) |emission| {
                for (0..emission.count) |index| {
                    const output = try self.decode(&batch, emission, index);
                    if (outcomes[output.message] == .ack) try outputs.append(arena, output);
                }
            }
            return .{ .outcomes = outcomes, .outputs = outputs.items, .log = self.recorder.lines.items };
        }

        fn outcomeOf(self: *const Self, index: usize, reached: u32) Outcome {
            if (index >= reached) return .not_reached;
            for (self.recorder.failures.items) |failure| {
                if (failure.message != index) continue;
                const ms = failure.retry_after_ms orelse return .{ .reject = failure.reason };
                return .{ .retry = .{ .after_ms = ms, .reason = failure.reason } };
            }
            return .ack;
        }

        /// Reads an output as the host does.
        fn decode(self: *const Self, batch: *const Batch, emission: Recorder.Emission, index: usize) !Published {
            const words = emission.table[index * emission.stride ..][0..12];
            const own_headers: []const Batch.HeaderRow = @ptrCast(emission.table[emission.count * emission.stride ..]);
            const headers = try self.arena.allocator().alloc(Header, words[7]);
            for (headers, words[6]..) |*header, number| {
                const inherited = number < batch.headers.len;
                const row = if (inherited) batch.headers[number] else own_headers[number - batch.headers.len];
                header.* = .{
                    .name = bytes(batch, emission, row[0], row[1]).?,
                    .value = bytes(batch, emission, row[2], row[3]),
                };
            }
            const given: i64 = @bitCast(@as(u64, words[9]) << 32 | words[8]);
            return .{
                .message = words[0],
                .topic = if (words[1] == 0) null else self.recorder.granted[words[1] - 1],
                .key = bytes(batch, emission, words[2], words[3]),
                .value = bytes(batch, emission, words[4], words[5]),
                .headers = headers,
                .timestamp = if (words[11] & 1 != 0) given else batch.message(words[0]).timestamp(),
                .partition = if (words[11] & 2 != 0) @bitCast(words[10]) else null,
            };
        }

        fn bytes(batch: *const Batch, emission: Recorder.Emission, begin: u32, length: u32) ?[]const u8 {
            if (length == Batch.absent) return null;
            if (begin < batch.data.len) return batch.data[begin..][0..length];
            return emission.data[begin - batch.data.len ..][0..length];
        }
    };
}

/// Samples in the contract's layout, with two columns of a later host's and bytes that no row refers to, so that a
/// handler that counts on neither is found out.
const Input = struct {
    data: []const u8,
    table: []const u32,
    stride: usize,

    fn of(arena: std.mem.Allocator, samples: []const Sample, next_offset: *i64) !Input {
        const stride = Batch.row_words + 2;
        var data: std.ArrayList(u8) = .empty;
        var rows: std.ArrayList(u32) = .empty;
        var headers: std.ArrayList(u32) = .empty;
        try data.append(arena, '?');
        for (samples) |sample| {
            const key = try put(arena, &data, sample.key);
            const value = try put(arena, &data, sample.value);
            const offset = sample.offset orelse next_offset.*;
            next_offset.* = offset + 1;
            const at: u64 = @bitCast(offset);
            const ms: u64 = @bitCast(sample.timestamp orelse -1);
            try rows.appendSlice(arena, &.{
                key[0],                          key[1],
                value[0],                        value[1],
                @intCast(headers.items.len / 4), @intCast(sample.headers.len),
                @truncate(at),                   @truncate(at >> 32),
                @truncate(ms),                   @truncate(ms >> 32),
                sample.attempt,                  0,
                7,                               7,
            });
            for (sample.headers) |header| {
                try headers.appendSlice(arena, &(try put(arena, &data, header.name)));
                try headers.appendSlice(arena, &(try put(arena, &data, header.value)));
            }
        }
        try rows.appendSlice(arena, headers.items);
        return .{ .data = data.items, .table = rows.items, .stride = stride };
    }

    fn put(arena: std.mem.Allocator, data: *std.ArrayList(u8), part: ?[]const u8) ![2]u32 {
        const present = part orelse return .{ 0, Batch.absent };
        const start: u32 = @intCast(data.items.len);
        try data.appendSlice(arena, present);
        return .{ start, @intCast(present.len) };
    }
};
