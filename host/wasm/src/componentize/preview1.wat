  ;; Standard output and error are the host's streams, which make log lines of what is written. A stream's answer goes where
  ;; the count of bytes goes afterwards: it has room for the first byte, and the host's streams never say more than that all
  ;; went well.
  (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $get_stdout (result i32)))
  (import "wasi:cli/stderr@0.2.12" "get-stderr" (func $get_stderr (result i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
  (import "env" "memory" (memory 0))
  (global $stdout (mut i32) (i32.const -1))
  (global $stderr (mut i32) (i32.const -1))

  (func $stream (param $fd i32) (result i32)
    (if (i32.eq (local.get $fd) (i32.const 1))
      (then
        (if (i32.eq (global.get $stdout) (i32.const -1)) (then (global.set $stdout (call $get_stdout))))
        (return (global.get $stdout))))
    (if (i32.eq (global.get $stderr) (i32.const -1)) (then (global.set $stderr (call $get_stderr))))
    (global.get $stderr))

  (func (export "fd_write") (param $fd i32) (param $vectors i32) (param $count i32) (param $written i32) (result i32)
    (local $stream i32) (local $total i32)
    (if (i32.and (i32.ne (local.get $fd) (i32.const 1)) (i32.ne (local.get $fd) (i32.const 2)))
      (then (return (i32.const 8))))
    (local.set $stream (call $stream (local.get $fd)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.load offset=4 (local.get $vectors))
          (then
            (call $write (local.get $stream) (i32.load (local.get $vectors)) (i32.load offset=4 (local.get $vectors))
              (local.get $written))))
        (local.set $total (i32.add (local.get $total) (i32.load offset=4 (local.get $vectors))))
        (local.set $vectors (i32.add (local.get $vectors) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))

  ;; Standard input is at its end.
  (func (export "fd_read") (param $fd i32) (param i32 i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8))))
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))

  (func (export "fd_fdstat_get") (param $fd i32) (param $stat i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    ;; A character device without rights.
    (i64.store (local.get $stat) (i64.const 2))
    (i64.store offset=8 (local.get $stat) (i64.const 0))
    (i64.store offset=16 (local.get $stat) (i64.const 0))
    (i32.const 0))

  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))

  (func $nothing (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $nothing))
  (export "environ_get" (func $nothing))
  (export "fd_fdstat_set_flags" (func $nothing))

  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param i32) unreachable)

  (func (export "clock_res_get") (param i32) (param $answer i32) (result i32)
    (i64.store (local.get $answer) (i64.const 1))
    (i32.const 0))

  ;; 0 is the time of day, 100 and 101 are ours: 101 says that a host call is not allowed from here on (a runtime that
  ;; collects garbage inside of `cabi_realloc` reads the clock there), 100 that it is again. In between time stands.
  (global $last_wall (mut i64) (i64.const 0))
  (global $last_monotonic (mut i64) (i64.const 0))
  (global $closed (mut i32) (i32.const 0))
  (func (export "clock_time_get") (param $clock i32) (param i64) (param $answer i32) (result i32)
    (if (i32.ge_u (local.get $clock) (i32.const 100))
      (then (global.set $closed (i32.sub (local.get $clock) (i32.const 100))) (return (i32.const 0))))
    (if (i32.eqz (local.get $clock))
      (then
        (if (i32.eqz (global.get $closed)) (then (global.set $last_wall (call $wall (local.get $answer)))))
        (i64.store (local.get $answer) (global.get $last_wall)))
      (else
        (if (i32.eqz (global.get $closed)) (then (global.set $last_monotonic (call $monotonic))))
        (i64.store (local.get $answer) (global.get $last_monotonic))))
    (i32.const 0))

  ;; Of what is waited for only timers ever end: the first one does.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $ready i32) (result i32)
    (local $best i32) (local $wait i64) (local $this i64)
    (if (i32.eqz (local.get $count)) (then (return (i32.const 28))))
    (local.set $wait (i64.const -1))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.eqz (i32.load8_u offset=8 (local.get $in)))
          (then
            (local.set $this (i64.load offset=24 (local.get $in)))
            (if (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1))
              (then
                (local.set $this (i64.sub (local.get $this)
                  (if (result i64) (i32.load offset=16 (local.get $in))
                    (then (call $monotonic))
                    (else (call $wall (local.get $out))))))
                (if (i64.lt_s (local.get $this) (i64.const 0)) (then (local.set $this (i64.const 0))))))
            (if (i64.lt_u (local.get $this) (local.get $wait))
              (then (local.set $wait (local.get $this)) (local.set $best (local.get $in))))))
        (local.set $in (i32.add (local.get $in) (i32.const 48)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (if (i32.eqz (local.get $best)) (then (return (i32.const 58))))
    (if (i64.ne (local.get $wait) (i64.const 0)) (then (call $wait (local.get $wait))))
    (i64.store (local.get $out) (i64.load (local.get $best)))
    (i64.store offset=8 (local.get $out) (i64.const 0))
    (i64.store offset=16 (local.get $out) (i64.const 0))
    (i64.store offset=24 (local.get $out) (i64.const 0))
    (i32.store (local.get $ready) (i32.const 1))
    (i32.const 0))

  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (local $word i64) (local $left i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (if (i32.eqz (local.get $left))
          (then (local.set $word (call $random)) (local.set $left (i32.const 8))))
        (i32.store8 (local.get $at) (i32.wrap_i64 (local.get $word)))
        (local.set $word (i64.shr_u (local.get $word) (i64.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next)))
    (i32.const 0))
