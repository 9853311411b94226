;; World `messages`: the first byte of a message's value says what becomes of it.
(module
  (import "wasmill:handler/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 32)
  (global $free (mut i32) (i32.const 65536))
  (data (i32.const 1000) "later")
  (data (i32.const 1010) "nowhere")
  (data (i32.const 1020) "eu")

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))) (then unreachable))
    (local.get $at))

  (func (export "init") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.const 16))

  (func $spin (loop $again (br $again)))

  ;; A list of so many outputs, all of them the one at 2000.
  (func $ok (param $outputs i32) (result i32)
    (i32.store8 (i32.const 512) (i32.const 0))
    (i32.store (i32.const 516) (i32.const 2000))
    (i32.store (i32.const 520) (local.get $outputs))
    (global.set $free (i32.const 65536))
    (i32.const 512))

  (func $handle (export "handle")
    (param $topic i32) (param $topic_len i32) (param $partition i32) (param $offset i64)
    (param $timed i32) (param $timestamp i64) (param $attempt i32)
    (param $keyed i32) (param $key i32) (param $key_len i32)
    (param $valued i32) (param $value i32) (param $value_len i32)
    (param $headers i32) (param $headers_len i32) (result i32)
    (local $what i32)
    (if (i32.eqz (local.get $valued)) (then (return (call $ok (i32.const 0)))))
    (local.set $what (i32.load8_u (local.get $value)))
    ;; The output at 2000: everything as it came, to the default topic.
    (i32.store8 (i32.const 2000) (i32.const 0))
    (i32.store8 (i32.const 2012) (i32.const 0))
    (i32.store8 (i32.const 2024) (i32.const 0))
    (i32.store8 (i32.const 2040) (local.get $keyed))
    (i32.store (i32.const 2044) (local.get $key))
    (i32.store (i32.const 2048) (local.get $key_len))
    (i32.store8 (i32.const 2052) (i32.const 1))
    (i32.store (i32.const 2056) (local.get $value))
    (i32.store (i32.const 2060) (local.get $value_len))
    (i32.store (i32.const 2064) (local.get $headers))
    (i32.store (i32.const 2068) (local.get $headers_len))

    ;; w: warn with all of it
    (if (i32.eq (local.get $what) (i32.const 119)) (then
      (call $log (i32.const 3) (local.get $value) (local.get $value_len))
      (return (call $ok (i32.const 0)))))
    ;; e: echo
    (if (i32.eq (local.get $what) (i32.const 101)) (then (return (call $ok (i32.const 1)))))
    ;; m: the topic's name and the message's attempt, to partition 7 of topic eu, a millisecond after the offset
    (if (i32.eq (local.get $what) (i32.const 109)) (then
      (i32.store8 (i32.const 2000) (i32.const 1))
      (i32.store (i32.const 2004) (i32.const 1020))
      (i32.store (i32.const 2008) (i32.const 2))
      (i32.store8 (i32.const 2012) (i32.const 1))
      (i32.store (i32.const 2016) (i32.add (local.get $partition) (i32.const 4)))
      (i32.store8 (i32.const 2024) (i32.const 1))
      (i64.store (i32.const 2032) (i64.add (local.get $offset) (i64.const 1)))
      (i32.store8 (i32.const 2040) (i32.const 1))
      (i32.store (i32.const 2044) (local.get $topic))
      (i32.store (i32.const 2048) (local.get $topic_len))
      (i32.store8 (local.get $value) (i32.add (local.get $attempt) (i32.const 48)))
      (return (call $ok (i32.const 1)))))
    ;; u: to a topic that is not granted
    (if (i32.eq (local.get $what) (i32.const 117)) (then
      (i32.store8 (i32.const 2000) (i32.const 1))
      (i32.store (i32.const 2004) (i32.const 1010))
      (i32.store (i32.const 2008) (i32.const 7))
      (return (call $ok (i32.const 1)))))
    ;; p: to partition -1
    (if (i32.eq (local.get $what) (i32.const 112)) (then
      (i32.store8 (i32.const 2012) (i32.const 1))
      (i32.store (i32.const 2016) (i32.const -1))
      (return (call $ok (i32.const 1)))))
    ;; f: more outputs than memory can hold apart
    (if (i32.eq (local.get $what) (i32.const 102)) (then (return (call $ok (i32.const 20000)))))
    ;; r: retry, j: reject
    (if (i32.or (i32.eq (local.get $what) (i32.const 114)) (i32.eq (local.get $what) (i32.const 106))) (then
      (i32.store8 (i32.const 512) (i32.const 1))
      (if (i32.eq (local.get $what) (i32.const 114))
        (then
          (i32.store8 (i32.const 516) (i32.const 0))
          (i32.store (i32.const 520) (i32.const 250))
          (i32.store (i32.const 524) (i32.const 1000))
          (i32.store (i32.const 528) (i32.const 5)))
        (else
          (i32.store8 (i32.const 516) (i32.const 1))
          (i32.store (i32.const 520) (local.get $value))
          (i32.store (i32.const 524) (local.get $value_len))))
      (return (i32.const 512))))
    ;; s: spin, t: trap
    (if (i32.eq (local.get $what) (i32.const 115)) (then (call $spin)))
    unreachable))
