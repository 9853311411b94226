  ;; Time that nobody granted: it begins in 1970, goes on by a microsecond when it is looked at, and by as much as is waited.
  (global $now (mut i64) (i64.const 0))
  (func $monotonic (result i64)
    (global.set $now (i64.add (global.get $now) (i64.const 1000)))
    (global.get $now))
  (func $wall (param i32) (result i64) (call $monotonic))
  (func $wait (param $nanoseconds i64)
    (global.set $now (i64.add (global.get $now) (local.get $nanoseconds))))
