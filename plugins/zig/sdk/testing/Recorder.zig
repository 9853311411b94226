//! The harness's stand-in for the host's imports: it writes down what a handler says.

const std = @import("std");
const host = @import("../host.zig");
const Level = @import("../log.zig").Level;

const Recorder = @This();

/// Who records at present. One test at a time in a process, as Zig's test runner does it.
pub var current: ?*Recorder = null;

/// For all that is kept; an arena of the harness's.
arena: std.mem.Allocator,
/// What the pipeline would grant.
granted: []const []const u8,
/// The topic the messages come from.
source: []const u8,
emissions: std.ArrayList(Emission) = .empty,
failures: std.ArrayList(Failure) = .empty,
lines: std.ArrayList(Line) = .empty,

/// One call of `emit`, as it was made.
pub const Emission = struct { data: []const u8, table: []const u32, stride: usize, count: usize };
/// One call of `fail`, as it was made.
pub const Failure = struct { message: u32, retry_after_ms: ?u32, reason: []const u8 };
/// A log line.
pub const Line = struct { level: Level, text: []const u8 };

pub fn emit(self: *Recorder, data: []const u8, table: []const u32, stride: u32, count: u32) void {
    self.emissions.append(self.arena, .{
        .data = self.copy(u8, data),
        .table = self.copy(u32, table),
        .stride = stride,
        .count = count,
    }) catch @panic("out of memory");
}

pub fn fail(self: *Recorder, message: u32, retry_after_ms: ?u32, reason: []const u8) void {
    self.failures.append(self.arena, .{
        .message = message,
        .retry_after_ms = retry_after_ms,
        .reason = self.copy(u8, reason),
    }) catch @panic("out of memory");
}

pub fn log(self: *Recorder, level: Level, text: []const u8) void {
    self.lines.append(self.arena, .{ .level = level, .text = self.copy(u8, text) }) catch @panic("out of memory");
}

pub fn topicNumber(self: *Recorder, name: []const u8) host.Number {
    for (self.granted, 1..) |granted, number| {
        if (std.mem.eql(u8, granted, name)) return .{ .granted = @intCast(number) };
    }
    const text = std.fmt.allocPrint(self.arena, "topic `{s}` is not granted; hint: `.grant` names those that are", .{name});
    return .{ .refused = text catch @panic("out of memory") };
}

fn copy(self: *Recorder, comptime T: type, items: []const T) []const T {
    return self.arena.dupe(T, items) catch @panic("out of memory");
}
