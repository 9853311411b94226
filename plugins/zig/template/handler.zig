//! A wasmill handler. Begin here: this one sends every value on in upper case.

const std = @import("std");
const wasmill = @import("wasmill");

pub const Handler = struct {
    suffix: []const u8,

    /// Once for each instance. An error keeps the pipeline from starting.
    pub fn init(context: *wasmill.Context) !Handler {
        try context.only(&.{"suffix"});
        return .{ .suffix = context.config("suffix") orelse "" };
    }

    /// Once for each message. An error rejects the message.
    pub fn handle(self: *Handler, message: wasmill.Message, out: *wasmill.Outputs) !void {
        const text = try message.text();
        const upper = try std.ascii.allocUpperString(message.allocator(), text);
        const value = try std.mem.concat(message.allocator(), u8, &.{ upper, self.suffix });
        try out.send(message.key(), value);
    }
};

test "sends upper case with the suffix" {
    var harness = try wasmill.testing.Harness(Handler).init(.{ .settings = &.{.{ .key = "suffix", .value = "!" }} });
    defer harness.deinit();
    const run = try harness.run(&.{.{ .value = "hello" }});
    try std.testing.expectEqualStrings("HELLO!", run.outputs[0].value.?);
}

test "refuses a setting that it does not know" {
    const refusal = try wasmill.testing.Harness(Handler).refusal(.{ .settings = &.{.{ .key = "sufix", .value = "!" }} });
    defer std.testing.allocator.free(refusal);
    try std.testing.expectStringStartsWith(refusal, "config `sufix` is unknown");
}

test "rejects what is no text" {
    var harness = try wasmill.testing.Harness(Handler).init(.{});
    defer harness.deinit();
    const run = try harness.run(&.{.{ .value = "\xff" }});
    try std.testing.expectEqualStrings("the value is not UTF-8 from byte 0", run.outcomes[0].reject);
}
