//! The canonical ABI of world `batches`, by hand. What it takes from the host is what a host that checked the component's
//! type guarantees:
//!
//! - a (pointer, length) pair given to an export was allocated by `cabi_realloc` with that length and alignment and
//!   filled; strings are UTF-8
//! - an import only reads what it is given, and only during the call
//! - exports are not re-entered, and there is one thread

const std = @import("std");
const Batch = @import("Batch.zig");
const Context = @import("Context.zig");
const Instance = @import("instance.zig").Instance;
const log = @import("log.zig");

const gpa = std.heap.wasm_allocator;

/// Where the host puts what it hands over. Nobody but the host calls `cabi_realloc`, so what it gives away is taken back
/// all at once when a call is over, and a steady stream of batches keeps using the same memory.
var lowered: std.heap.ArenaAllocator = .init(gpa);

/// What a handler's root declares as its `panic`: the text goes to the log, and the host puts the last line of level
/// error into the dead letter of a message that traps.
pub fn panic(text: []const u8, _: ?usize) noreturn {
    log.err("panicked: {s}", .{text});
    @trap();
}

/// The exports of world `batches` for a handler; see `Instance` for what that is.
pub fn Exports(comptime Handler: type) type {
    return struct {
        var instance: ?Instance(Handler) = null;

        /// Memory for what the host hands over, on a multiple of 16: large copies in the host are many times slower when
        /// source and destination lie a few bytes off each other within a page.
        pub fn cabiRealloc(old: [*]const u8, old_len: usize, alignment: usize, len: usize) callconv(.c) [*]u8 {
            std.debug.assert(alignment <= 16);
            // Any aligned address within memory does for nothing.
            if (len == 0) return @ptrFromInt(alignment);
            const new = lowered.allocator().alignedAlloc(u8, .@"16", len) catch @panic("out of memory");
            const kept = @min(old_len, len);
            @memcpy(new[0..kept], old[0..kept]);
            return new.ptr;
        }

        const Setting = extern struct { key: [*]const u8, key_len: usize, value: [*]const u8, value_len: usize };
        const Result = extern struct { tag: u32, text: [*]const u8, text_len: usize };

        /// Returns a `result<_, string>`.
        pub fn init(
            pipeline: [*]const u8,
            pipeline_len: usize,
            group: [*]const u8,
            group_len: usize,
            digest: [*]const u8,
            digest_len: usize,
            settings: [*]const Setting,
            settings_len: usize,
        ) callconv(.c) *const Result {
            // The context's texts are handed to the handler for good, so this call's arena is never emptied.
            defer lowered = .init(gpa);
            var context: Context = .{
                .allocator = gpa,
                .pipeline = pipeline[0..pipeline_len],
                .group = group[0..group_len],
                .digest = digest[0..digest_len],
                .settings = liftSettings(settings[0..settings_len]),
            };
            const result = struct {
                var value: Result = .{ .tag = 0, .text = "", .text_len = 0 };
            };
            instance = Instance(Handler).init(&context) catch {
                const reason = lossy(context.refusal.?);
                result.value = .{ .tag = 1, .text = reason.ptr, .text_len = reason.len };
                return &result.value;
            };
            return &result.value;
        }

        fn liftSettings(rows: []const Setting) []const Context.Setting {
            const settings = gpa.alloc(Context.Setting, rows.len) catch @panic("out of memory");
            for (settings, rows) |*setting, row| {
                setting.* = .{ .key = row.key[0..row.key_len], .value = row.value[0..row.value_len] };
            }
            return settings;
        }

        fn lossy(text: []const u8) []const u8 {
            if (std.unicode.utf8ValidateSlice(text)) return text;
            return std.fmt.allocPrint(gpa, "{f}", .{std.unicode.fmtUtf8(text)}) catch @panic("out of memory");
        }

        pub fn handle(
            source: u32,
            partition: i32,
            data: [*]const u8,
            data_len: usize,
            table: [*]const u32,
            table_len: usize,
            stride: u32,
            count: u32,
        ) callconv(.c) u32 {
            defer _ = lowered.reset(.retain_capacity);
            const running = &(instance orelse @panic("the host calls `init` first"));
            const batch: Batch = .init(
                &running.shared,
                source,
                partition,
                data[0..data_len],
                table[0..table_len],
                stride,
                count,
            );
            return running.handle(&batch);
        }
    };
}
