;; World `batches`: does what the value of each message says, so that a test can make it tell any lie.
;; A value is words: an operation and its operands, then bytes.
(module
  (import "wasmill:handler/outcome@0.1.0" "emit" (func $emit (param i32 i32 i32 i32 i32 i32)))
  (import "wasmill:handler/outcome@0.1.0" "fail" (func $fail (param i32 i32 i32 i32 i32)))
  (import "wasmill:handler/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (import "wasmill:handler/topics@0.1.0" "number" (func $number (param i32 i32 i32)))
  (import "wasmill:handler/topics@0.1.0" "source-name" (func $source_name (param i32 i32)))
  (memory (export "memory") 32)
  (table $table 1 funcref)
  (global $free (mut i32) (i32.const 65536))
  (global $reached (mut i32) (i32.const 0))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.add (i32.div_u (local.get 3) (i32.const 65536)) (i32.const 2))) (i32.const -1))
        (then unreachable)))
    (local.get $at))

  ;; The pipeline's name decides: "refuse" is refused with the group as reason, "trap" traps, "spin" spins,
  ;; "emit" emits outside of a call; told apart by their length.
  (func (export "init") (param $p i32) (param $pl i32) (param $g i32) (param $gl i32) (param i32 i32 i32 i32) (result i32)
    (if (i32.eq (local.get $pl) (i32.const 6)) (then
      (i32.store (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (local.get $g))
      (i32.store (i32.const 24) (local.get $gl))
      (return (i32.const 16))))
    (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 116 (; t ;))) (then unreachable))
    (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 115 (; s ;))) (then (call $spin)))
    (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 101 (; e ;)))
      (then (call $emit (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 12) (i32.const 0))))
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.const 16))

  (func $spin (loop $again (br $again)))
  (func $deep (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))

  (func $handle (export "handle")
    (param $source i32) (param $partition i32) (param $data i32) (param $bytes i32)
    (param $table i32) (param $words i32) (param $stride i32) (param $count i32) (result i32)
    (local $i i32) (local $row i32)
    (global.set $reached (local.get $count))
    (loop $next
      (if (i32.lt_u (local.get $i) (local.get $count)) (then
        (local.set $row (i32.add (local.get $table)
          (i32.mul (i32.mul (local.get $i) (local.get $stride)) (i32.const 4))))
        (if (i32.ge_s (i32.load offset=12 (local.get $row)) (i32.const 4))
          (then (call $run (i32.add (local.get $data) (i32.load offset=8 (local.get $row)))
                           (i32.load offset=12 (local.get $row)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next))))
    (global.set $free (i32.const 65536))
    (global.get $reached))

  (func $run (param $at i32) (param $len i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32)
    (local.set $a (i32.load offset=4 (local.get $at)))
    (local.set $b (i32.load offset=8 (local.get $at)))
    (local.set $c (i32.load offset=12 (local.get $at)))
    (local.set $d (i32.load offset=16 (local.get $at)))
    (block $10 (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 $10 (i32.load (local.get $at))))
      ;; 0 emit: stride, count, words of the table, bytes of data; then both
      (call $emit (i32.add (i32.add (local.get $at) (i32.const 20)) (i32.mul (local.get $c) (i32.const 4))) (local.get $d)
                  (i32.add (local.get $at) (i32.const 20)) (local.get $c) (local.get $a) (local.get $b))
      return)
      ;; 1 fail: message, whether to retry, after; then the reason
      (call $fail (local.get $a) (local.get $b) (local.get $c)
                  (i32.add (local.get $at) (i32.const 16)) (i32.sub (local.get $len) (i32.const 16)))
      return)
      ;; 2 say how many were reached
      (global.set $reached (local.get $a))
      return)
      ;; 3 log: level, times; then the text
      (loop $again
        (call $log (local.get $a) (i32.add (local.get $at) (i32.const 12)) (i32.sub (local.get $len) (i32.const 12)))
        (local.set $b (i32.sub (local.get $b) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get $b) (i32.const 0))))
      return)
      ;; 4 trap
      unreachable)
      ;; 5 spin
      (call $spin)
      return)
      ;; 6 take memory until there is no more; then trap if the operand says so
      (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (if (local.get $a) (then unreachable))
      return)
      ;; 7 recurse
      (drop (call $deep (i32.const 0)))
      return)
      ;; 8 take table elements until there are no more, then trap
      (loop $again (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 65536)) (i32.const -1))))
      unreachable)
      ;; 9 ask for a topic's number, and log the name or the error
      (call $number (i32.add (local.get $at) (i32.const 4)) (i32.sub (local.get $len) (i32.const 4)) (i32.const 32))
      (if (i32.load8_u (i32.const 32))
        (then (call $log (i32.const 4) (i32.load (i32.const 36)) (i32.load (i32.const 40))))
        (else (i32.store8 (i32.const 48) (i32.add (i32.load (i32.const 36)) (i32.const 48)))
              (call $log (i32.const 2) (i32.const 48) (i32.const 1))))
      return)
    ;; 10 log a source's name
    (call $source_name (local.get $a) (i32.const 32))
    (call $log (i32.const 2) (i32.load (i32.const 32)) (i32.load (i32.const 36)))))
