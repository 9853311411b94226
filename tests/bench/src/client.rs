//! A client of librdkafka, which is given back once.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

use anyhow::{Context, Result, bail};
use rdkafka::bindings as sys;

/// What a message's delivery is told to.
pub type OnDelivery = unsafe extern "C" fn(*mut sys::rd_kafka_t, *const sys::rd_kafka_message_t, *mut std::ffi::c_void);

/// A consumer or a producer. Dropping it ends its threads.
pub struct Client(NonNull<sys::rd_kafka_t>);

impl Client {
    /// Makes a client with these properties.
    pub fn open(
        kind: sys::rd_kafka_type_t,
        properties: &[(&str, String)],
        on_delivery: Option<OnDelivery>,
    ) -> Result<Self> {
        let mut text = [0 as c_char; 512];
        // SAFETY: a new configuration, ours until `rd_kafka_new` takes it over or it is destroyed below.
        let conf = unsafe { sys::rd_kafka_conf_new() };
        for (name, value) in properties {
            let (name, value) = (c_string(name)?, c_string(value)?);
            // SAFETY: `conf` is valid, both texts end in NUL, and `text` is as long as is said.
            let answer =
                unsafe { sys::rd_kafka_conf_set(conf, name.as_ptr(), value.as_ptr(), text.as_mut_ptr(), text.len()) };
            if answer as i32 != 0 {
                // SAFETY: still ours.
                unsafe { sys::rd_kafka_conf_destroy(conf) };
                bail!("{}", text_in(&text));
            }
        }
        // SAFETY: `conf` is valid; on success it belongs to the client, else it is destroyed here, once.
        let client = unsafe {
            if on_delivery.is_some() {
                sys::rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
            }
            let client = sys::rd_kafka_new(kind, conf, text.as_mut_ptr(), text.len());
            if client.is_null() {
                sys::rd_kafka_conf_destroy(conf);
            }
            client
        };
        NonNull::new(client).map(Self).with_context(|| text_in(&text))
    }

    /// For librdkafka's calls.
    pub fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.0.as_ptr()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: ours, and nothing made from it outlives it: the fields of `Consumer` and `Producer` are in that order.
        unsafe { sys::rd_kafka_destroy(self.ptr()) }
    }
}

/// Fails with librdkafka's name of the error unless there is none.
pub fn check(what: &str, code: sys::rd_kafka_resp_err_t) -> Result<()> {
    if code as i32 == 0 {
        return Ok(());
    }
    // SAFETY: librdkafka answers every code with a text that lives as long as the library.
    let name = unsafe { CStr::from_ptr(sys::rd_kafka_err2name(code)) };
    bail!("{what}: {}", name.to_string_lossy())
}

/// Text as C has it.
pub fn c_string(text: &str) -> Result<CString> {
    CString::new(text).with_context(|| format!("{text:?} has a NUL in it"))
}

fn text_in(text: &[c_char]) -> String {
    let bytes: Vec<u8> = text.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
