//! Tokens of SASL/OAUTHBEARER, for every client alike: where they come from and when they are fetched again.
//!
//! librdkafka asks for a new token when four fifths of a token's life are over. Clients of ours answer on librdkafka's
//! background thread; consumers, which rust-rdkafka makes, where they are polled. It has a maker of unsecured tokens of its
//! own, which a consumer of rust-rdkafka switches off: hence ours.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rdkafka::bindings as sys;
use rdkafka::client::OAuthToken;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

use crate::error::ClientError;
use crate::native::{Client, ClientRef, text_in};

/// The longest that a command may take.
const COMMAND: Duration = Duration::from_secs(10);
/// No token is longer.
const LARGEST: u64 = 1 << 20;
/// A token that does not say how long it lives is fetched again after four fifths of this.
const UNSAID: Duration = Duration::from_secs(300);
/// What several clients of a process ask for at about the same time is fetched once.
const FRESH: Duration = Duration::from_secs(1);

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A file that somebody else keeps fresh, read again for each new token.
    File(PathBuf),
    /// A command that prints one: program and arguments.
    Command(Vec<String>),
    /// Tokens without a signature, by `sasl.oauthbearer.config`: for tests and for clusters that trust their network.
    Unsecured(String),
}

/// A token as librdkafka wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) value: String,
    /// Milliseconds since 1970.
    pub(crate) end: i64,
    pub(crate) principal: String,
}

impl TokenSource {
    /// A token, fetched now or a moment ago. The error says what to look at.
    pub(crate) fn fetch(&self) -> Result<Token, String> {
        let text = match self {
            Self::Unsecured(config) => return unsecured(config, now()),
            Self::File(path) => read(path)?,
            Self::Command(words) => commanded(words)?,
        };
        let text = text.trim();
        if text.is_empty() || text.contains(char::is_whitespace) || !text.is_ascii() {
            return Err(format!("{self} gives no token: it has to be one word of ASCII"));
        }
        let token = dated(text, now());
        if token.end <= now() {
            return Err(format!("{self} gives a token that has expired"));
        }
        Ok(token)
    }
}

impl std::fmt::Display for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "token_file {}", path.display()),
            Self::Command(words) => write!(f, "token_command {}", words.first().map_or("", String::as_str)),
            Self::Unsecured(_) => f.write_str("sasl.oauthbearer.config"),
        }
    }
}

/// For a consumer that rust-rdkafka made, which asks where it is polled.
pub(crate) fn for_consumer(source: Option<&TokenSource>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
    let token = source.ok_or("no tokens are configured")?.fetch().inspect_err(|reason| {
        tracing::warn!(reason, "no token for the cluster; trying again");
    })?;
    Ok(OAuthToken { token: token.value, principal_name: token.principal, lifetime_ms: token.end })
}

/// The first token of a consumer that rust-rdkafka made: it is asked for where it is polled, and may be asked for something
/// before that.
pub(crate) fn first<C: ConsumerContext>(consumer: &BaseConsumer<C>, source: Option<&TokenSource>) {
    // SAFETY: the consumer lives during the call.
    if let (Some(source), Some(client)) = (source, unsafe { ClientRef::new(consumer.client().native_ptr()) }) {
        give(client, source);
    }
}

/// Gives a client its token, or says why there is none; it asks again after a while then.
fn give(client: ClientRef<'_>, source: &TokenSource) {
    match source.fetch() {
        Ok(token) => set(client, token),
        Err(reason) => {
            tracing::warn!(reason, "no token for the cluster; trying again");
            fail(client, &reason);
        }
    }
}

/// Gives a client this token.
pub(crate) fn set(client: ClientRef<'_>, token: Token) {
    let Token { value, end, principal } = token;
    let mut text = [0 as c_char; 512];
    let (Ok(value), Ok(principal)) = (CString::new(value), CString::new(principal)) else {
        return fail(client, "the token holds a NUL byte");
    };
    // SAFETY: the client is alive; all strings live during the call and are copied; `text` is as long as is said. There are no
    // extensions.
    let code = unsafe {
        let (list, text) = (std::ptr::null_mut(), &mut text);
        let (value, principal) = (value.as_ptr(), principal.as_ptr());
        sys::rd_kafka_oauthbearer_set_token(client.ptr(), value, end, principal, list, 0, text.as_mut_ptr(), text.len())
    };
    if code as i32 != 0 {
        let reason = text_in(&text);
        tracing::warn!(reason, "the client does not take the token; trying again");
        fail(client, &reason);
    }
}

fn fail(client: ClientRef<'_>, reason: &str) {
    if let Ok(reason) = CString::new(reason) {
        // SAFETY: the client is alive; the text is copied.
        unsafe { sys::rd_kafka_oauthbearer_set_token_failure(client.ptr(), reason.as_ptr()) };
    }
}

/// Makes a client of ours that renews its tokens by itself, if it needs some.
pub(crate) fn open(
    kind: sys::rd_kafka_type_t,
    config: &ClientConfig,
    events: c_int,
    tokens: Option<TokenSource>,
) -> Result<Client, ClientError> {
    let Some(source) = tokens.map(Arc::new) else { return Client::open(kind, config, events) };
    let client = Client::open_with(kind, config, events, Some(source.clone()), |conf| {
        // SAFETY: the configuration is valid. The callback finds the source behind the client, which keeps it.
        unsafe {
            sys::rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, Some(refresh));
            sys::rd_kafka_conf_enable_sasl_queue(conf, 1);
        }
    })?;
    give(client.as_ref(), &source);
    // SAFETY: the client is alive. It fails only for a client without a queue for this, which was asked for above.
    let code = unsafe { crate::error::Code::take(sys::rd_kafka_sasl_background_callbacks_enable(client.ptr())) };
    if code.is_error() { Err(ClientError::request("tokens in the background", code)) } else { Ok(client) }
}

/// What librdkafka calls on its background thread when a token is needed.
unsafe extern "C" fn refresh(rk: *mut sys::rd_kafka_t, _: *const c_char, opaque: *mut c_void) {
    // A panic must not cross into C.
    let _ = std::panic::catch_unwind(|| {
        // SAFETY: librdkafka passes the client that is calling, and its opaque, which `open` set and the client keeps.
        let (source, client) = unsafe { (opaque.cast::<TokenSource>().as_ref(), ClientRef::new(rk)) };
        if let (Some(source), Some(client)) = (source, client) {
            give(client, source);
        }
    });
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("token_file {} cannot be read: {error}", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("token_file {} is not a regular file", path.display()));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// What a command printed. Clients that ask at the same time share one run of it.
fn commanded(words: &[String]) -> Result<String, String> {
    static LAST: Mutex<Option<(Instant, Vec<String>, String)>> = Mutex::new(None);
    let mut last = LAST.lock();
    if let Some((when, of, text)) = &*last
        && of == words
        && when.elapsed() < FRESH
    {
        return Ok(text.clone());
    }
    let text = run(words)?;
    *last = Some((Instant::now(), words.to_vec(), text.clone()));
    Ok(text)
}

fn run(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("token_command is empty")?;
    let failed = |error: std::io::Error| format!("token_command {program}: {error}");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(failed)?;
    let mut out = child.stdout.take().ok_or("token_command has no standard output")?.take(LARGEST);
    let (sender, printed) = std::sync::mpsc::channel();
    let read = move || {
        let mut text = String::new();
        sender.send(out.read_to_string(&mut text).map(|_| text)).ok();
    };
    std::thread::Builder::new().name("token".into()).spawn(read).map_err(failed)?;
    let printed = printed.recv_timeout(COMMAND);
    if printed.is_err() {
        child.kill().ok();
    }
    let status = child.wait().map_err(failed)?;
    match printed {
        Ok(text) if status.success() => text.map_err(failed),
        Ok(_) => Err(format!("token_command {program} ended with {status}")),
        Err(_) => Err(format!("token_command {program} did not end within {COMMAND:?}")),
    }
}

/// A token with what its claims say, if it is one that can be read.
fn dated(text: &str, now: i64) -> Token {
    let claims = text.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok());
    let claims: serde_json::Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    let end = claims["exp"].as_f64().map(|seconds| (seconds * 1000.0) as i64);
    let unsaid = now.saturating_add(i64::try_from(UNSAID.as_millis()).unwrap_or(i64::MAX));
    let principal = claims["sub"].as_str().unwrap_or_default().to_owned();
    Token { value: text.to_owned(), end: end.unwrap_or(unsaid), principal }
}

/// librdkafka's own unsecured token: `principal=NAME [scope=A,B] [lifeSeconds=N] [principalClaimName=...] [scopeClaimName=...]`.
fn unsecured(config: &str, now: i64) -> Result<Token, String> {
    let pairs = config.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (mut principal, mut seconds, mut claims) = (None, 3600, serde_json::Map::new());
    let (mut claim, mut scope_claim, mut scope) = ("sub", "scope", None);
    for (name, value) in pairs {
        match name {
            "principal" => principal = Some(value),
            "principalClaimName" => claim = value,
            "scopeClaimName" => scope_claim = value,
            "scope" => scope = Some(value),
            "lifeSeconds" => {
                seconds =
                    value.parse().map_err(|_| format!("sasl.oauthbearer.config: lifeSeconds={value} is no number"))?;
            }
            _ => {
                return Err(format!(
                    "sasl.oauthbearer.config: {name} is not known; hint: principal=NAME lifeSeconds=N"
                ));
            }
        }
    }
    let principal = principal.ok_or("sasl.oauthbearer.config names no principal; hint: principal=NAME")?;
    let end = now.saturating_add(1000_i64.saturating_mul(seconds));
    claims.insert(claim.to_owned(), principal.into());
    claims.insert("iat".into(), (now as f64 / 1000.0).into());
    claims.insert("exp".into(), (end as f64 / 1000.0).into());
    if let Some(scope) = scope {
        let scopes: Vec<_> = scope.split(',').collect();
        claims.insert(scope_claim.to_owned(), scopes.into());
    }
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = serde_json::Value::Object(claims).to_string();
    let value = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims));
    Ok(Token { value, end, principal: principal.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn an_unsecured_token_says_who_and_until_when() {
        let token = unsecured("principal=alice lifeSeconds=8", NOW).unwrap();
        assert_eq!((token.end, token.principal.as_str()), (NOW + 8000, "alice"));
        let read = dated(&token.value, 0);
        assert_eq!((read.end, read.principal.as_str()), (NOW + 8000, "alice"));
        assert!(token.value.ends_with('.'));
        assert!(unsecured("lifeSeconds=8", NOW).unwrap_err().contains("principal=NAME"));
        assert!(unsecured("principal=a colour=red", NOW).unwrap_err().contains("colour"));
    }

    #[test]
    fn a_token_that_cannot_be_read_is_fetched_again_after_a_while() {
        let token = dated("opaque", NOW);
        assert_eq!((token.end - NOW, token.principal.as_str()), (300_000, ""));
    }

    #[test]
    fn a_command_s_token_is_what_it_prints_and_a_failure_is_said() {
        let words = |script: &str| TokenSource::Command(["sh", "-c", script].map(str::to_owned).to_vec());
        assert_eq!(words("echo abc").fetch().unwrap().value, "abc");
        assert!(words("exit 3").fetch().unwrap_err().contains("ended with"));
        assert!(words("echo two words").fetch().unwrap_err().contains("one word"));
        assert!(TokenSource::Command(vec!["/nowhere/at/all".into()]).fetch().unwrap_err().contains("/nowhere"));
        let gone = TokenSource::File("/nowhere/at/all".into()).fetch().unwrap_err();
        assert!(gone.contains("token_file /nowhere/at/all cannot be read"), "{gone}");
    }
}
