;; World `batches` of wasmill:handler@0.1.0, frozen as batches.wasm. Uses every import and reads every column:
;; - a value that begins with `!` is rejected, one with `?` is tried again until attempt 3
;; - others go to topic `eu` if it is granted, else to the default output, with their headers, with the offset as
;;   timestamp and with the value of the first header, if there is one, in place of the key
(module
  (import "wasmill:handler/outcome@0.1.0" "emit" (func $emit (param i32 i32 i32 i32 i32 i32)))
  (import "wasmill:handler/outcome@0.1.0" "fail" (func $fail (param i32 i32 i32 i32 i32)))
  (import "wasmill:handler/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (import "wasmill:handler/topics@0.1.0" "number" (func $number (param i32 i32 i32)))
  (import "wasmill:handler/topics@0.1.0" "source-name" (func $source_name (param i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 1000) "eu")
  (data (i32.const 1010) "as asked")
  (global $free (mut i32) (i32.const 131072))
  (global $topic (mut i32) (i32.const 0))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))) (then unreachable))
    (local.get $at))

  ;; Logs the pipeline's name, then `eu` if that is granted.
  (func (export "init") (param $p i32) (param $pl i32) (param i32 i32 i32 i32 i32 i32) (result i32)
    (call $log (i32.const 2) (local.get $p) (local.get $pl))
    (call $number (i32.const 1000) (i32.const 2) (i32.const 32))
    (if (i32.eqz (i32.load8_u (i32.const 32))) (then
      (global.set $topic (i32.load (i32.const 36)))
      (call $log (i32.const 2) (i32.const 1000) (i32.const 2))))
    (i32.store8 (i32.const 16) (i32.const 0))
    (global.set $free (i32.const 131072))
    (i32.const 16))

  (func (export "handle")
    (param $source i32) (param $partition i32) (param $data i32) (param $bytes i32)
    (param $table i32) (param $words i32) (param $stride i32) (param $count i32) (result i32)
    (local $i i32) (local $row i32) (local $out i32) (local $first i32) (local $header i32)
    ;; Logs the name of the topic that the messages are from.
    (call $source_name (local.get $source) (i32.const 32))
    (call $log (i32.const 2) (i32.load (i32.const 32)) (i32.load (i32.const 36)))
    ;; Output rows from 4096 on.
    (local.set $out (i32.const 4096))
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $i) (local.get $count)))
      (local.set $row (i32.add (local.get $table) (i32.mul (i32.mul (local.get $i) (local.get $stride)) (i32.const 4))))
      (local.set $first (i32.const 0))
      (if (i32.gt_s (i32.load offset=12 (local.get $row)) (i32.const 0)) (then
        (local.set $first (i32.load8_u (i32.add (local.get $data) (i32.load offset=8 (local.get $row)))))))
      (block $done
        (if (i32.eq (local.get $first) (i32.const 33)) (then
          (call $fail (local.get $i) (i32.const 0) (i32.const 0) (i32.const 1010) (i32.const 8))
          (br $done)))
        (if (i32.and (i32.eq (local.get $first) (i32.const 63)) (i32.lt_u (i32.load offset=40 (local.get $row)) (i32.const 3)))
          (then
            (call $fail (local.get $i) (i32.const 1) (i32.const 250) (i32.const 1010) (i32.const 8))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $end)))
        (i32.store (local.get $out) (local.get $i))
        (i32.store offset=4 (local.get $out) (global.get $topic))
        (i32.store offset=8 (local.get $out) (i32.load (local.get $row)))
        (i32.store offset=12 (local.get $out) (i32.load offset=4 (local.get $row)))
        (i32.store offset=16 (local.get $out) (i32.load offset=8 (local.get $row)))
        (i32.store offset=20 (local.get $out) (i32.load offset=12 (local.get $row)))
        (i32.store offset=24 (local.get $out) (i32.load offset=16 (local.get $row)))
        (i32.store offset=28 (local.get $out) (i32.load offset=20 (local.get $row)))
        (i64.store offset=32 (local.get $out) (i64.load offset=24 (local.get $row)))
        (i32.store offset=40 (local.get $out) (local.get $partition))
        (i32.store offset=44 (local.get $out) (i32.const 3))
        (if (i32.load offset=20 (local.get $row)) (then
          ;; Header rows stand behind all rows.
          (local.set $header (i32.add (local.get $table) (i32.mul (i32.const 4) (i32.add
            (i32.mul (local.get $stride) (local.get $count))
            (i32.mul (i32.load offset=16 (local.get $row)) (i32.const 4))))))
          (i32.store offset=8 (local.get $out) (i32.load offset=8 (local.get $header)))
          (i32.store offset=12 (local.get $out) (i32.load offset=12 (local.get $header)))))
        (local.set $out (i32.add (local.get $out) (i32.const 48))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (call $emit (i32.const 0) (i32.const 0)
      (i32.const 4096) (i32.div_u (i32.sub (local.get $out) (i32.const 4096)) (i32.const 4))
      (i32.const 12) (i32.div_u (i32.sub (local.get $out) (i32.const 4096)) (i32.const 48)))
    (global.set $free (i32.const 131072))
    (local.get $i)))
