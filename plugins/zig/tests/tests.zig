//! What a handler says is what the contract's tables say: the SDK's layout, read back as the host reads it.

const std = @import("std");
const wasmill = @import("wasmill");

const Harness = wasmill.testing.Harness;
const Message = wasmill.Message;
const Outputs = wasmill.Outputs;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;
const expectEqualDeep = std.testing.expectEqualDeep;
const expectEqualStrings = std.testing.expectEqualStrings;

/// This file is itself a handler, so that it can be built like one.
pub fn handle(message: Message, out: *Outputs) !void {
    try out.forward(message);
}

const full: wasmill.testing.Sample = .{
    .key = "k",
    .value = "v",
    .headers = &.{
        .{ .name = "a", .value = "1" },
        .{ .name = "b", .value = null },
        .{ .name = "a", .value = "2" },
    },
    .timestamp = 77,
};

fn harnessOf(comptime Handler: type) !Harness(Handler) {
    return .init(.{ .topic = "somewhere", .partition = 5, .grant = &.{ "a", "b" } });
}

test "a message shows all that was handed over" {
    const Seeing = struct {
        pub fn handle(message: Message, _: *Outputs) !void {
            try expectEqualStrings("k", message.key().?);
            try expectEqualStrings("v", message.value().?);
            try expectEqualStrings("v", try message.text());
            try expectEqualStrings("2", message.header("a").?);
            try expectEqual(null, message.header("b"));
            try expectEqual(null, message.header("c"));
            try expectEqualStrings("somewhere", message.topic());
            try expectEqual(5, message.partition());
            try expectEqual(1 << 40, message.offset());
            try expectEqual(77, message.timestamp());
            try expectEqual(3, message.attempt());
            var headers = message.headers();
            for (full.headers) |header| try expectEqualDeep(header, headers.next().?);
            try expectEqual(null, headers.next());
        }
    };
    var harness = try harnessOf(Seeing);
    defer harness.deinit();
    var sample = full;
    sample.offset = 1 << 40;
    sample.attempt = 3;
    const run = try harness.run(&.{ sample, sample });
    try expectEqualDeep(&[_]wasmill.testing.Outcome{ .ack, .ack }, run.outcomes);
}

test "an absent key or value is not an empty one" {
    var harness = try harnessOf(@This());
    defer harness.deinit();
    const run = try harness.run(&.{ .{}, .{ .key = "", .value = "" } });
    try expectEqual(null, run.outputs[0].key);
    try expectEqual(null, run.outputs[0].value);
    try expectEqualStrings("", run.outputs[1].key.?);
    try expectEqualStrings("", run.outputs[1].value.?);
}

test "offsets and timestamps below zero survive the split into words" {
    const Seeing = struct {
        pub fn handle(message: Message, _: *Outputs) !void {
            try expectEqual(-2, message.offset());
            try expectEqual(std.math.minInt(i64), message.timestamp());
        }
    };
    var harness = try harnessOf(Seeing);
    defer harness.deinit();
    const run = try harness.run(&.{.{ .offset = -2, .timestamp = std.math.minInt(i64) }});
    try expectEqualDeep(&[_]wasmill.testing.Outcome{.ack}, run.outcomes);
}

test "a forward keeps everything" {
    var harness = try harnessOf(@This());
    defer harness.deinit();
    const run = try harness.run(&.{ full, .{ .value = "x" } });
    try expectEqualDeep(&[_]wasmill.testing.Published{
        .{
            .message = 0,
            .topic = null,
            .key = "k",
            .value = "v",
            .headers = full.headers,
            .timestamp = 77,
            .partition = null,
        },
        .{ .message = 1, .topic = null, .key = null, .value = "x", .headers = &.{}, .timestamp = null, .partition = null },
    }, run.outputs);
}

test "an output can say everything" {
    const Detailed = struct {
        b: wasmill.Topic,

        pub fn init(context: *wasmill.Context) !@This() {
            return .{ .b = try context.topic("b") };
        }

        pub fn handle(self: *@This(), message: Message, out: *Outputs) !void {
            try out.publish(.{
                .topic = self.b,
                .key = "own",
                .value_of = message,
                .headers_of = message,
                .headers = &.{.{ .name = "last", .value = null }},
                .timestamp = 5 << 32,
                .partition = 9,
            });
            try out.publish(.{ .key_of = message, .headers = &.{.{ .name = "", .value = "" }} });
            try out.publish(.{ .headers_of = message });
            try out.forwardTo(self.b, message);
            try out.print("n", "{d}-{s}", .{ 12, "x" });
            @memcpy(try out.sendBuffer(null, 3), "abc");
        }
    };
    var harness = try harnessOf(Detailed);
    defer harness.deinit();
    const run = try harness.run(&.{ full, full });
    try expectEqual(12, run.outputs.len);
    for (0..2) |index| {
        const outputs = run.outputs[index * 6 ..][0..6];
        try expectEqualDeep(wasmill.testing.Published{
            .message = index,
            .topic = "b",
            .key = "own",
            .value = "v",
            .headers = full.headers ++ &[_]wasmill.Header{.{ .name = "last", .value = null }},
            .timestamp = 5 << 32,
            .partition = 9,
        }, outputs[0]);
        try expectEqualStrings("k", outputs[1].key.?);
        try expectEqual(null, outputs[1].value);
        try expectEqualDeep(@as([]const wasmill.Header, &.{.{ .name = "", .value = "" }}), outputs[1].headers);
        try expectEqualDeep(full.headers, outputs[2].headers);
        try expectEqualStrings("b", outputs[3].topic.?);
        try expectEqualStrings("12-x", outputs[4].value.?);
        try expectEqualStrings("abc", outputs[5].value.?);
        try expectEqual(77, outputs[5].timestamp);
    }
}

test "a retry stops the batch, a rejection does not, and both lose their outputs" {
    const Picky = struct {
        pub fn handle(message: Message, out: *Outputs) !void {
            try out.forward(message);
            const text = try message.text();
            if (std.mem.eql(u8, text, "wait")) return message.retryAfter(30, "attempt {d}", .{message.attempt()});
            if (std.mem.eql(u8, text, "lossy")) return message.reject("{s}", .{message.header("h").?});
            if (std.mem.eql(u8, text, "bad")) return message.reject("is {s}", .{text});
            _ = if (std.mem.eql(u8, text, "number")) try std.fmt.parseInt(u8, text, 10);
        }
    };
    var harness = try harnessOf(Picky);
    defer harness.deinit();
    const run = try harness.run(&.{
        .{ .value = "a" },       .{ .value = "bad" }, .{ .value = "number" },                                                   .{},
        .{ .value = "a\xc3(b" }, .{ .value = "b" },   .{ .value = "lossy", .headers = &.{.{ .name = "h", .value = "a\xff" }} }, .{ .value = "wait" },
        .{ .value = "c" },
    });
    try expectEqualDeep(&[_]wasmill.testing.Outcome{
        .ack,
        .{ .reject = "is bad" },
        .{ .reject = "InvalidCharacter" },
        .{ .reject = "the value is absent" },
        .{ .reject = "the value is not UTF-8 from byte 1" },
        .ack,
        .{ .reject = "a\u{fffd}" },
        .{ .retry = .{ .after_ms = 30, .reason = "attempt 1" } },
        .not_reached,
    }, run.outcomes);
    try expectEqual(2, run.outputs.len);
    try expectEqualStrings("b", run.outputs[1].value.?);
}

test "a reason is not kept for another error or a later message" {
    const Wavering = struct {
        pub fn handle(message: Message, out: *Outputs) !void {
            if (message.offset() < 3) _ = out.topicNamed("c") catch {};
            _ = try out.topicNamed("a");
            if (message.offset() == 1) return error.Other;
            if (message.offset() > 1) return error.Reject;
        }
    };
    var harness = try harnessOf(Wavering);
    defer harness.deinit();
    const run = try harness.run(&.{ .{}, .{}, .{}, .{} });
    try expectEqual(.ack, run.outcomes[0]);
    try expectEqualStrings("Other", run.outcomes[1].reject);
    try expect(std.mem.startsWith(u8, run.outcomes[2].reject, "topic `c` is not granted"));
    try expectEqualStrings("Reject", run.outcomes[3].reject);
}

test "more outputs than one emission holds keep their order, headers and message" {
    const Many = struct {
        pub fn handle(message: Message, out: *Outputs) !void {
            const padding: [1000]u8 = @splat('.');
            for (0..3000) |_| try out.publish(.{
                .value = &padding,
                .headers_of = message,
                .headers = &.{.{ .name = "n", .value = "1" }},
            });
            for (0..40_000) |_| try out.forward(message);
            if (message.offset() == 1) return message.reject("after all", .{});
        }
    };
    var harness = try harnessOf(Many);
    defer harness.deinit();
    const run = try harness.run(&.{ full, full, full });
    try expectEqual(2 * 43_000, run.outputs.len);
    for (run.outputs, 0..) |output, index| {
        try expectEqual(@as(usize, if (index < 43_000) 0 else 2), output.message);
        try expectEqual(@as(usize, if (index % 43_000 < 3000) 4 else 3), output.headers.len);
    }
}

const Counter = struct {
    suffix: []const u8,
    seen: u64 = 0,

    pub fn init(context: *wasmill.Context) !Counter {
        try context.only(&.{ "suffix", "limit" });
        wasmill.log.info("counting for {s}", .{context.pipeline});
        return .{ .suffix = try context.require("suffix") };
    }

    pub fn handle(self: *Counter, _: Message, out: *Outputs) !void {
        self.seen += 1;
        try out.print(null, "{d}{s}", .{ self.seen, self.suffix });
    }
};

test "state lives from batch to batch and not from instance to instance" {
    for (0..2) |_| {
        var harness: Harness(Counter) = try .init(.{ .settings = &.{.{ .key = "suffix", .value = "!" }} });
        defer harness.deinit();
        const first = try harness.run(&.{ .{}, .{} });
        try expectEqualStrings("2!", first.outputs[1].value.?);
        try expectEqualDeep(@as([]const wasmill.testing.Line, &.{
            .{ .level = .info, .text = "counting for test" },
        }), first.log);
        const second = try harness.run(&.{.{}});
        try expectEqualStrings("3!", second.outputs[0].value.?);
        try expectEqual(0, second.log.len);
    }
}

test "an instance that lacks something does not start" {
    const cases = [_]struct { []const wasmill.Context.Setting, []const u8 }{
        .{ &.{}, "config `suffix` is missing" },
        .{ &.{.{ .key = "x", .value = "" }}, "config `x` is unknown; hint: this handler knows `suffix`, `limit`" },
    };
    for (cases) |case| {
        const reason = try Harness(Counter).refusal(.{ .settings = case[0] });
        defer std.testing.allocator.free(reason);
        try expectEqualStrings(case[1], reason);
    }
}
