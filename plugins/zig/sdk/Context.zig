//! What an instance is told once, before its first message. Not which topics and partitions: an instance may serve
//! several. All texts are good for as long as the instance.

const std = @import("std");
const host = @import("host.zig");
const Topic = @import("topic.zig").Topic;

const Context = @This();

/// For what lives as long as the instance.
allocator: std.mem.Allocator,
/// The pipeline's name in wasmill.toml.
pipeline: []const u8,
/// The consumer group the pipeline belongs to.
group: []const u8,
/// SHA-256 of the plugin's bytes, in hexadecimal.
digest: []const u8,
/// The pipeline's `config` table, sorted by key.
settings: []const Setting,
/// Why `init` refuses, once it does.
refusal: ?[]const u8 = null,

/// A row of the pipeline's `config` table.
pub const Setting = struct { key: []const u8, value: []const u8 };

/// A setting of the pipeline's `config` table, as text; null if it is not written there.
pub fn config(context: *const Context, key: []const u8) ?[]const u8 {
    for (context.settings) |setting| {
        if (std.mem.eql(u8, setting.key, key)) return setting.value;
    }
    return null;
}

/// A setting that must be there, else `init` refuses and names it.
pub fn require(context: *Context, key: []const u8) error{Refused}![]const u8 {
    return context.config(key) orelse context.refuse("config `{s}` is missing", .{key});
}

/// Refuses settings that the handler does not know, so that a misspelt one is noticed before the first message.
pub fn only(context: *Context, known: []const []const u8) error{Refused}!void {
    next: for (context.settings) |setting| {
        for (known) |key| {
            if (std.mem.eql(u8, key, setting.key)) continue :next;
        }
        if (known.len == 0) {
            return context.refuse("config `{s}` is unknown; this handler has no settings", .{setting.key});
        }
        return context.refuse("config `{s}` is unknown; hint: this handler knows {f}", .{ setting.key, Quoted{ .names = known } });
    }
}

/// An output topic by its name. If the pipeline's `output` does not grant it, `init` refuses with the host's text,
/// which says what it does grant.
pub fn topic(context: *Context, name: []const u8) error{Refused}!Topic {
    switch (host.topicNumber(name)) {
        .granted => |number| return @fromBackingInt(@intCast(number)),
        .refused => |text| return context.refuse("{s}", .{text}),
    }
}

/// Makes the error by which `init` keeps the pipeline from starting; the text is shown as it is. Any other error of
/// `init` is shown by its name.
pub fn refuse(context: *Context, comptime format: []const u8, args: anytype) error{Refused} {
    context.refusal = std.fmt.allocPrint(context.allocator, format, args) catch @panic("out of memory");
    return error.Refused;
}

/// Names in backticks, separated by commas.
const Quoted = struct {
    names: []const []const u8,

    pub fn format(quoted: Quoted, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        for (quoted.names, 0..) |name, index| {
            if (index > 0) try writer.writeAll(", ");
            try writer.print("`{s}`", .{name});
        }
    }
};
