/// An output topic, as the host numbers it. Valid as long as the instance. `Context.topic` gives it by its name.
pub const Topic = enum(u32) {
    /// The pipeline's default output.
    default = 0,
    _,
};
