//! Whether a cluster can be reached, and if it cannot, why: the cause that librdkafka knows and keeps to its log.
//!
//! A request of librdkafka's waits until its time is over, whatever the reason: a wrong password, a certificate that nobody
//! trusts, and a broker that is away all end as "timed out". [`reach`] makes a client that listens to itself. What no wait
//! mends is *decisive* and told at once; what may pass is told when the time is over.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::bindings as sys;

use crate::error::{ClientError, text_of};
use crate::native::{Client, millis};
use crate::settings::ClientSettings;
use crate::token;

/// How long one look for an answer waits.
const LOOK: Duration = Duration::from_millis(50);
/// How long other servers may answer after one gave a decisive reason.
const OTHERS: Duration = Duration::from_secs(3);

/// Waits until a broker answers.
///
/// # Errors
/// [`ClientError::Unreachable`] with the cause: at once if no wait mends it, else after `timeout`.
pub fn reach(settings: &ClientSettings, timeout: Duration) -> Result<(), ClientError> {
    let heard = Arc::new(Heard::default());
    let prepare = |conf: *mut sys::rd_kafka_conf_t| {
        // SAFETY: the configuration is valid; what the pointer means lives as long as the client, which keeps it.
        unsafe {
            sys::rd_kafka_conf_set_log_cb(conf, Some(log));
            sys::rd_kafka_conf_set_ssl_cert_verify_cb(conf, Some(verify));
        }
    };
    let kind = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
    let client = Client::open_with(kind, &settings.base(), 0, Some(heard.clone()), prepare)?;
    if let Some(tokens) = settings.tokens() {
        // It does not live long enough to need another one.
        let token = tokens
            .fetch()
            .map_err(|text| Cause { server: settings.bootstrap.clone(), text, hint: TOKEN }.error(true))?;
        token::set(client.as_ref(), token);
    }
    let one_server = !settings.bootstrap.contains(',');
    let deadline = Instant::now() + timeout;
    let mut decided = None;
    loop {
        if is_answered(&client, LOOK) {
            return Ok(());
        }
        let now = Instant::now();
        let decisive = heard.0.lock().decisive.clone();
        if let Some(cause) = decisive {
            let since = *decided.get_or_insert(now);
            if one_server || now.duration_since(since) > OTHERS || now >= deadline {
                return Err(cause.error(false));
            }
        } else if now >= deadline {
            let passing = heard.0.lock().passing.clone();
            return Err(passing.unwrap_or_else(|| Cause::silence(&settings.bootstrap)).error(true));
        }
    }
}

/// True once a broker has told the cluster's id, which each does that answers at all.
fn is_answered(client: &Client, timeout: Duration) -> bool {
    // SAFETY: the client lives; the answer is NULL or a string of ours, given back once.
    unsafe {
        let id = sys::rd_kafka_clusterid(client.ptr(), millis(timeout));
        if id.is_null() {
            return false;
        }
        sys::rd_kafka_mem_free(client.ptr(), id.cast());
        true
    }
}

/// Why a server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cause {
    server: String,
    text: String,
    hint: &'static str,
}

impl Cause {
    fn silence(bootstrap: &str) -> Self {
        Self { server: bootstrap.to_owned(), text: "no server answers".to_owned(), hint: ADDRESS }
    }

    fn error(self, passing: bool) -> ClientError {
        let Self { server, text, hint } = self;
        ClientError::Unreachable { server, text, hint, passing }
    }
}

/// What a client said of itself.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Said>);

#[derive(Default)]
struct Said {
    /// The first cause that no wait mends.
    decisive: Option<Cause>,
    /// The last one that may pass.
    passing: Option<Cause>,
}

impl Heard {
    fn hear(&self, cause: Cause, decisive: bool) {
        let mut said = self.0.lock();
        if decisive {
            said.decisive.get_or_insert(cause);
        } else {
            said.passing = Some(cause);
        }
    }
}

const ADDRESS: &str = "see bootstrap in [kafka], or --bootstrap: is the cluster there?";
const LOGIN: &str = "check `sasl.mechanism`, `sasl.username` and `sasl.password` in [kafka.properties]";
const TOKEN: &str = "check what [kafka] says of tokens, and that the broker takes them";
const MECHANISM: &str = "`sasl.mechanism` in [kafka.properties] names one that the broker has";
const WANTS_SASL: &str = "`security.protocol` in [kafka.properties] may have to be `sasl_plaintext` or `sasl_ssl`";
const WANTS_MORE: &str =
    "`security.protocol` in [kafka.properties] may have to be `sasl_plaintext`, `sasl_ssl` or `ssl`";
const WANTS_TLS: &str = "`security.protocol` in [kafka.properties] has to be `ssl` or `sasl_ssl` there";
const NO_TLS: &str = "`security.protocol` in [kafka.properties] has to be `plaintext` or `sasl_plaintext` there";
const AUTHORITY: &str =
    "`ssl.ca.location` in [kafka.properties] names the authority's certificate; without it those of the system count";
const RENEW: &str = "the broker needs a new certificate; nothing in [kafka.properties] is wrong";
const CLOCK: &str = "compare the clocks of the broker and of this machine";
const HOST: &str = "`bootstrap` in [kafka] has to name a host that stands in the certificate, and brokers have to advertise such names";
const CLIENT: &str = "check `ssl.certificate.location` and `ssl.key.location` in [kafka.properties]: the broker does not take what they name";

/// Phrases of librdkafka and OpenSSL, what they mean where their own words do not say it, whether no wait mends it, and the
/// hint. The first one that fits counts.
const PHRASES: &[(&str, &str, bool, &str)] = &[
    (
        "certificate required",
        "the broker asks for a client certificate, and was given none that it takes",
        true,
        CLIENT,
    ),
    ("alert certificate expired", "the broker says that the client certificate has expired", true, CLIENT),
    ("alert bad certificate", "the broker refuses the client certificate", true, CLIENT),
    ("alert unknown ca", "the broker does not know who signed the client certificate", true, CLIENT),
    ("alert certificate unknown", "the broker refuses the client certificate", true, CLIENT),
    ("alert certificate revoked", "the broker says that the client certificate was revoked", true, CLIENT),
    ("client SSL authentication might be required", "the broker asks for a client certificate", true, CLIENT),
    ("certificate verify failed", "the broker's certificate could not be verified", true, AUTHORITY),
    ("mechanism not supported", "", true, MECHANISM),
    ("Unsupported SASL mechanism", "", true, MECHANISM),
    ("SASL OAUTHBEARER", "", true, TOKEN),
    ("uthentication failed", "", true, LOGIN),
    ("SASL authentication error", "", true, LOGIN),
    ("broker might require SASL", "the broker ends the connection: it may ask for a login", true, WANTS_SASL),
    (
        "connecting to a SSL listener",
        "the broker ends the connection: it may speak TLS, and the client does not",
        true,
        WANTS_TLS,
    ),
    // The first bytes of a TLS alert, read as a length.
    ("nvalid response size 352518912", "the broker speaks TLS, and the client does not", true, WANTS_TLS),
    ("nvalid message size 352518912", "the broker speaks TLS, and the client does not", true, WANTS_TLS),
    ("352518912", "the broker speaks TLS, and the client does not", true, WANTS_TLS),
    ("connecting to a PLAINTEXT broker listener", "the broker speaks no TLS, and the client does", true, NO_TLS),
    ("wrong version number", "the broker speaks no TLS, and the client does", true, NO_TLS),
    ("packet length too long", "the broker speaks no TLS, and the client does", true, NO_TLS),
    ("Disconnected", "the broker ends the connection at once: it may ask for a login, or for TLS", false, WANTS_MORE),
    ("Failed to resolve", "", false, ADDRESS),
];

/// The cause in a line of librdkafka's log, and whether no wait mends it. None for a line that tells of no failed connection.
fn cause(line: &str, protocol_server: &str) -> Option<(Cause, bool)> {
    let (server, text) = taken_apart(line);
    let server = server.unwrap_or(protocol_server).to_owned();
    for (phrase, meaning, decisive, hint) in PHRASES {
        if text.contains(phrase) {
            let text = if meaning.is_empty() { text } else { *meaning };
            return Some((Cause { server, text: text.to_owned(), hint }, *decisive));
        }
    }
    Some((Cause { server, text: text.to_owned(), hint: ADDRESS }, false))
}

/// `[thrd:X]: sasl_ssl://host:9093/bootstrap: TEXT (after 3ms in state CONNECT)` is `host:9093` and `TEXT`.
fn taken_apart(line: &str) -> (Option<&str>, &str) {
    let line = match line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => line,
    };
    let (server, text) = match line.split_once(": ") {
        Some((name, text)) if name.contains(':') && !name.contains(' ') => {
            let host = name.split_once("://").map_or(name, |(_, host)| host);
            (Some(host.split_once('/').map_or(host, |(host, _)| host)), text)
        }
        _ => (None, line),
    };
    (server, text.rfind(" (after ").map_or(text, |end| &text[..end]).trim())
}

/// librdkafka's log of a client that listens.
unsafe extern "C" fn log(rk: *const sys::rd_kafka_t, _: c_int, facility: *const c_char, text: *const c_char) {
    // A panic must not cross into C.
    let _ = std::panic::catch_unwind(|| {
        // SAFETY: librdkafka passes two NUL-terminated strings that live during this call, and a client whose opaque is that
        // of `reach`, alive as long as the client.
        unsafe {
            let (facility, text) = (text_of(facility), text_of(text));
            tracing::debug!(target: "librdkafka", facility, "{text}");
            let heard = sys::rd_kafka_opaque(rk).cast::<Heard>();
            if facility == "FAIL"
                && !heard.is_null()
                && let Some((cause, decisive)) = cause(&text, "the cluster")
            {
                (*heard).hear(cause, decisive);
            }
        }
    });
}

/// Says why a certificate is refused, which librdkafka does not. It decides nothing: 1 is what OpenSSL accepts.
unsafe extern "C" fn verify(
    _: *mut sys::rd_kafka_t,
    server: *const c_char,
    _: i32,
    error: *mut c_int,
    _: c_int,
    _: *const c_char,
    _: usize,
    _: *mut c_char,
    _: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka passes an error number that lives during this call.
    let code = unsafe { *error };
    if code == 0 {
        return 1;
    }
    let _ = std::panic::catch_unwind(|| {
        let (meaning, hint) = certificate(code);
        // SAFETY: the name is NUL-terminated and lives during this call; the opaque is that of `reach`.
        unsafe {
            let server = if server.is_null() { "".into() } else { CStr::from_ptr(server).to_string_lossy() };
            let cause = Cause { server: server.into_owned(), text: meaning, hint };
            if let Some(heard) = opaque.cast::<Heard>().as_ref() {
                heard.hear(cause, true);
            }
        }
    });
    0
}

/// What one of OpenSSL's numbers (`X509_V_ERR_*`) means.
fn certificate(code: c_int) -> (String, &'static str) {
    let (meaning, hint) = match code {
        2 | 18 | 19 | 20 | 21 | 27 => ("nobody that is trusted signed the broker's certificate", AUTHORITY),
        9 => ("the broker's certificate is not valid yet", CLOCK),
        10 => ("the broker's certificate has expired", RENEW),
        62 | 64 => ("the broker's certificate is for another host", HOST),
        _ => return (format!("the broker's certificate could not be verified (OpenSSL's error {code})"), AUTHORITY),
    };
    (meaning.to_owned(), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> (String, String, &'static str, bool) {
        let (cause, decisive) = cause(line, "the cluster").unwrap();
        (cause.server, cause.text, cause.hint, decisive)
    }

    #[test]
    fn names_the_server_and_the_cause_and_leaves_out_what_only_a_developer_of_the_library_reads() {
        let line = "[thrd:sasl_plaintext://localhost:20000/bootstrap]: sasl_plaintext://localhost:20000/bootstrap: SASL \
                    authentication error: Authentication failed: Invalid username or password (after 301ms in state AUTH_REQ)";
        let text = "SASL authentication error: Authentication failed: Invalid username or password";
        assert_eq!(told(line), ("localhost:20000".into(), text.into(), LOGIN, true));
        let line = "[thrd:localhost:1/bootstrap]: localhost:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused \
                    (after 0ms in state CONNECT)";
        assert_eq!(
            told(line),
            ("localhost:1".into(), "Connect to ipv4#127.0.0.1:1 failed: Connection refused".into(), ADDRESS, false)
        );
    }

    #[test]
    fn what_may_pass_is_told_from_what_no_wait_mends() {
        assert!(!told("a:1/bootstrap: Failed to resolve 'a:1': Name or service not known").3);
        assert!(
            told("ssl://a:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?")
                .3
        );
    }

    #[test]
    fn a_cause_that_comes_later_does_not_hide_the_first_that_counts() {
        let heard = Heard::default();
        heard.hear(Cause { server: "a".into(), text: certificate(10).0, hint: RENEW }, true);
        let (cause, decisive) = cause("ssl://a:1/1: SSL handshake failed: certificate verify failed", "a").unwrap();
        heard.hear(cause, decisive);
        assert!(heard.0.lock().decisive.as_ref().unwrap().text.contains("expired"));
    }
}
