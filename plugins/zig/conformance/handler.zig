//! The reference handler: it does what each message's header `do` says, or without one the setting `do`, so that a test
//! of the host can ask for everything a handler can do. The same in every language's SDK.

const std = @import("std");
const wasmill = @import("wasmill");

const Message = wasmill.Message;
const Outputs = wasmill.Outputs;

const Command = enum {
    forward,
    drop,
    copy,
    upper,
    many,
    to,
    tombstone,
    empty,
    describe,
    retry,
    reject,
    log,
    config,
    context,
    count,
    json,
    crash,
};

pub const Handler = struct {
    context: wasmill.Context,
    /// The command of messages without one of their own, and what it stands for.
    standing_name: []const u8,
    standing: ?Command,
    /// Messages handed to this instance so far.
    seen: u64 = 0,

    pub fn init(context: *wasmill.Context) !Handler {
        if (context.config("fail")) |text| return context.refuse("{s}", .{text});
        const name = context.config("do") orelse "forward";
        return .{ .context = context.*, .standing_name = name, .standing = commandNamed(name) };
    }

    pub fn handle(self: *Handler, message: Message, out: *Outputs) !void {
        defer self.seen += 1;
        const named = message.header("do");
        const value = message.value() orelse "";
        const command = (if (named) |name| commandNamed(name) else self.standing) orelse
            return message.reject("unknown command {s}", .{named orelse self.standing_name});
        switch (command) {
            .forward => try out.forward(message),
            .drop => {},
            .copy => try copy(message, out),
            .upper => try upper(message, out),
            .many => {
                const count = std.fmt.parseInt(u32, argumentOf(message), 10) catch
                    return message.reject("not a number: {s}", .{argumentOf(message)});
                for (0..count) |index| try out.print(null, "{d}", .{index});
            },
            .to => try out.publish(.{
                .topic = try out.topicNamed(argumentOf(message)),
                .key_of = message,
                .value_of = message,
            }),
            .tombstone => try out.publish(.{ .key_of = message }),
            .empty => try out.publish(.{
                .key = "",
                .value = "",
                .headers = &.{ .{ .name = "", .value = "" }, .{ .name = "n", .value = null } },
            }),
            .describe => try out.print(null, "{f}", .{Description{ .message = message }}),
            .retry => try retry(message, out),
            .reject => return message.reject("{s}", .{value}),
            .log => {
                const level = std.meta.stringToEnum(LevelName, argumentOf(message)) orelse
                    return message.reject("unknown level {s}", .{argumentOf(message)});
                wasmill.log.write(level.level(), "{s}", .{value});
            },
            .config => {
                const setting = self.context.config(argumentOf(message)) orelse
                    return message.reject("no setting {s}", .{argumentOf(message)});
                try out.send(null, setting);
            },
            .context => try out.print(null, "pipeline={s} group={s} digest={s}", .{
                self.context.pipeline, self.context.group, self.context.digest,
            }),
            .count => try out.print(null, "{d}", .{self.seen}),
            .json => try json(message, out),
            .crash => std.debug.panic("{f}", .{std.unicode.fmtUtf8(value)}),
        }
    }
};

fn commandNamed(name: []const u8) ?Command {
    return std.meta.stringToEnum(Command, name);
}

fn argumentOf(message: Message) []const u8 {
    return message.header("arg") orelse "";
}

fn copy(message: Message, out: *Outputs) !void {
    var headers: std.ArrayList(wasmill.Header) = .empty;
    var each = message.headers();
    while (each.next()) |header| try headers.append(message.allocator(), header);
    try out.publish(.{
        .key = message.key(),
        .value = message.value(),
        .headers = headers.items,
        .timestamp = message.timestamp(),
        .partition = message.partition(),
    });
}

fn upper(message: Message, out: *Outputs) !void {
    const value = message.value() orelse return out.send(message.key(), null);
    upperBytes(try out.sendBuffer(message.key(), value.len), value);
}

/// `std.ascii.upperString` with vectors, which Zig 0.17 does not make of a loop: of the 191 ns that a message of 100 bytes
/// costs with the loop, 114 are left.
fn upperBytes(to: []u8, from: []const u8) void {
    const Block = @Vector(16, u8);
    var at: usize = 0;
    while (from.len - at >= 16) : (at += 16) {
        const block: Block = from[at..][0..16].*;
        const is_lower = block -% @as(Block, @splat('a')) < @as(Block, @splat(26));
        const bit = @select(u8, is_lower, @as(Block, @splat(0x20)), @as(Block, @splat(0)));
        to[at..][0..16].* = block ^ bit;
    }
    _ = std.ascii.upperString(to[at..], from[at..]);
}

fn retry(message: Message, out: *Outputs) !void {
    const enough = std.fmt.parseInt(u32, argumentOf(message), 10) catch 0;
    if (message.attempt() >= enough) return out.forward(message);
    const after = if (message.header("after")) |ms| try std.fmt.parseInt(u32, ms, 10) else 0;
    return message.retryAfter(after, "attempt {d}", .{message.attempt()});
}

/// With the standard library's parser. A field that occurs twice has its last value.
fn json(message: Message, out: *Outputs) !void {
    const parsed = std.json.parseFromSliceLeaky(std.json.Value, message.allocator(), message.value() orelse "", .{
        .duplicate_field_behavior = .use_last,
    }) catch |err| switch (err) {
        error.OutOfMemory => return error.OutOfMemory,
        else => return message.reject("no name", .{}),
    };
    if (parsed == .object) {
        if (parsed.object.get("name")) |name| {
            if (name == .string) return out.send(null, name.string);
        }
    }
    return message.reject("no name", .{});
}

/// The levels by the names they have everywhere; `error` is a keyword.
const LevelName = enum {
    trace,
    debug,
    info,
    warn,
    @"error",

    fn level(name: LevelName) wasmill.log.Level {
        return @fromBackingInt(@intCast(@backingInt(name)));
    }
};

/// A message in a line of text.
const Description = struct {
    message: Message,

    pub fn format(self: Description, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        const message = self.message;
        try writer.print("topic={s} partition={d} offset={d} timestamp=", .{
            message.topic(), message.partition(), message.offset(),
        });
        if (message.timestamp()) |ms| try writer.print("{d}", .{ms}) else try writer.writeAll("none");
        try writer.print(" attempt={d} key={f} value={f} headers=", .{
            message.attempt(), Length{ .bytes = message.key() }, Length{ .bytes = message.value() },
        });
        var headers = message.headers();
        var separator: []const u8 = "";
        while (headers.next()) |header| {
            try writer.print("{s}{s}:{f}", .{ separator, header.name, Length{ .bytes = header.value } });
            separator = ",";
        }
    }
};

const Length = struct {
    bytes: ?[]const u8,

    pub fn format(self: Length, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        if (self.bytes) |bytes| try writer.print("{d}", .{bytes.len}) else try writer.writeAll("absent");
    }
};
