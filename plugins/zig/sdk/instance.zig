//! A running handler, and the loop that takes it through a batch.

const std = @import("std");
const host = @import("host.zig");
const Batch = @import("Batch.zig");
const Context = @import("Context.zig");
const Message = @import("Message.zig");
const Outputs = @import("Outputs.zig");

/// An instance of `Handler`: a type with `init` and `handle`, or any container with a function `handle`.
pub fn Instance(comptime Handler: type) type {
    return struct {
        handler: State,
        out: Outputs,
        shared: Batch.Shared,

        const Self = @This();
        const has_state = @hasDecl(Handler, "init");
        const State = if (has_state) Handler else void;

        /// If the handler refuses, the context has the reason.
        pub fn init(context: *Context) error{Refused}!Self {
            return .{
                .handler = if (has_state) Handler.init(context) catch |err| {
                    if (err == error.Refused and context.refusal != null) return error.Refused;
                    return context.refuse("{s}", .{@errorName(err)});
                },
                .out = .{ .gpa = context.allocator },
                .shared = .init(context.allocator),
            };
        }

        pub fn deinit(self: *Self) void {
            if (@hasDecl(Handler, "deinit")) self.handler.deinit();
            self.out.deinit();
            self.shared.deinit();
        }

        /// Takes the handler through a batch; returns how many messages it reached.
        pub fn handle(self: *Self, batch: *const Batch) u32 {
            self.out.begin(batch);
            const count = batch.count();
            const reached = for (0..count) |index| {
                self.out.beginMessage(index);
                self.call(batch.message(index)) catch |err| {
                    // Whatever came after a retry would overtake it; the host would discard it.
                    if (self.fail(index, err)) break index + 1;
                };
                self.shared.failure = null;
                // Sooner read than emptied, for handlers that never use the arena.
                if (self.shared.arena.state.used_list != null) {
                    _ = self.shared.arena.reset(.{ .retain_with_limit = 1 << 20 });
                }
            } else count;
            self.out.flush();
            return @intCast(reached);
        }

        fn call(self: *Self, message: Message) anyerror!void {
            return if (has_state) self.handler.handle(message, &self.out) else Handler.handle(message, &self.out);
        }

        /// Says why a message is not acknowledged; returns whether it is a retry.
        fn fail(self: *Self, index: usize, err: anyerror) bool {
            @branchHint(.cold);
            defer _ = self.shared.arena.reset(.free_all);
            // Not the message's fault: a new instance, which is handed one message at a time, may well have enough.
            if (err == error.OutOfMemory) @panic("out of memory");
            self.out.drop();
            const failure: Batch.Shared.Failure = switch (err) {
                error.Retry, error.Reject => self.shared.failure,
                else => null,
            } orelse .{ .retry_after_ms = if (err == error.Retry) 0 else null, .reason = @errorName(err) };
            self.shared.failure = null;
            host.fail(@intCast(index), failure.retry_after_ms, failure.reason);
            return failure.retry_after_ms != null;
        }
    };
}
