//! Talking to a registry: one manifest, its blobs, and what can go wrong.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures_util::StreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError as Error, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::{Client, Reference};
use wasmill_config::OciReference;

use super::artifact::MANIFEST;
use super::credentials::{self, Credentials};
use super::digest::digest_of;

/// Media types of what may lie under a reference. Images are asked for too: what they are is told, and not that there is
/// nothing.
const MANIFESTS: [&str; 4] = [
    MANIFEST,
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// How often a registry is asked that does not answer.
const MAX_ATTEMPTS: u32 = 3;
/// The wait before it is asked again; it doubles.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(250);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long it may be silent within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a manifest may take.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a component may take.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(600);

/// Why something was not to be had.
#[derive(Debug)]
pub enum Trouble {
    /// The registry did not answer, or said that it cannot now. This is why.
    Away(String),
    /// It answered, and the answer is no, or is not usable.
    Refused(anyhow::Error),
}

impl Trouble {
    /// As an error.
    pub fn into_error(self) -> anyhow::Error {
        match self {
            Self::Away(reason) => anyhow!("{reason}"),
            Self::Refused(error) => error,
        }
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Refused(error)
    }
}

/// Runs a transfer to its end on a thread of its own: callers may be within a runtime, which must not be blocked on.
pub fn wait<T: Send, F: Future<Output = T>>(task: impl FnOnce() -> F + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let done = runtime.block_on(task());
            // A look-up of a name that hangs is not waited for.
            runtime.shutdown_background();
            Ok(done)
        };
        let thread = std::thread::Builder::new().name("oci".to_owned()).spawn_scoped(scope, run)?;
        thread.join().map_err(|_| anyhow!("the transfer panicked"))?
    })
}

/// A registry, asked for one reference.
pub struct Registry {
    client: Client,
    reference: Reference,
    credentials: Credentials,
    /// `name:tag` or `name@digest`, for messages.
    shown: String,
}

impl Registry {
    /// Finds the credentials. Says nothing to the registry yet.
    pub fn open(reference: &OciReference) -> anyhow::Result<Self> {
        let [registry, name] = [reference.registry(), reference.repository()].map(str::to_owned);
        let protocol = if reference.is_loopback() {
            ClientProtocol::HttpsExcept(vec![registry.clone()])
        } else {
            ClientProtocol::Https
        };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("wasmill/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).context("cannot make a client for registries")?;
        let credentials = credentials::find(&registry)?;
        let (shown, reference) = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => {
                (format!("{name}@{digest}"), Reference::with_digest(registry, name, digest.to_owned()))
            }
            (None, tag) => {
                let tag = tag.unwrap_or_default();
                (format!("{name}:{tag}"), Reference::with_tag(registry, name, tag.to_owned()))
            }
        };
        Ok(Self { client, reference, credentials, shown })
    }

    /// The manifest under the reference.
    pub async fn manifest(&self) -> Result<Vec<u8>, Trouble> {
        let ask = async || {
            let asked = self.client.pull_manifest_raw(&self.reference, &self.credentials.auth, &MANIFESTS);
            self.within(MANIFEST_TIMEOUT, asked).await
        };
        Ok(patiently(ask).await?.0.to_vec())
    }

    /// A blob of so many bytes, with this digest. `progress` is told how many are here.
    pub async fn blob(&self, digest: &str, bytes: u64, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<u8>, Trouble> {
        let whole =
            patiently(async || self.within(TRANSFER_TIMEOUT, self.read_blob(digest, bytes, progress)).await).await?;
        let found = digest_of(&whole);
        if found != digest {
            // Of the same length and something else: by mistake or on purpose, it is not what the manifest names.
            return Err(self.altered(digest, &found));
        }
        Ok(whole)
    }

    async fn read_blob(&self, digest: &str, bytes: u64, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<u8>, Error> {
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.credentials.auth).await;
        // Without the addresses elsewhere that a manifest may list: the registry that was named is asked, and no other.
        let wanted = OciDescriptor {
            digest: digest.to_owned(),
            size: i64::try_from(bytes).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let too_long =
            || Error::SpecViolationError(format!("{digest} has more than the {bytes} bytes that its manifest says"));
        let mut answer = self.client.pull_blob_stream(&self.reference, &wanted).await?;
        if answer.content_length.is_some_and(|length| length > bytes) {
            return Err(too_long());
        }
        let mut whole = Vec::new();
        while let Some(part) = answer.stream.next().await {
            let part = part?;
            // What the manifest says was within the limit; who sends more is cut off before it is in memory.
            if (whole.len() + part.len()) as u64 > bytes {
                return Err(too_long());
            }
            whole.extend_from_slice(&part);
            progress(whole.len() as u64);
        }
        Ok(whole)
    }

    /// Sends a blob, unless the registry has it.
    pub async fn push_blob(&self, bytes: &[u8], digest: &str) -> Result<(), Trouble> {
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.credentials.auth).await;
        let has = self.within(MANIFEST_TIMEOUT, self.client.blob_exists(&self.reference, digest)).await;
        if matches!(has, Ok(true)) {
            return Ok(());
        }
        let send = async || {
            let sent = self.client.push_blob(&self.reference, bytes.to_vec(), digest);
            self.within(TRANSFER_TIMEOUT, sent).await.map(drop)
        };
        patiently(send).await
    }

    /// Sends the manifest. The tag means it from then on.
    pub async fn push_manifest(&self, manifest: Vec<u8>) -> Result<(), Trouble> {
        let kind = MANIFEST.parse().context("a media type of ours")?;
        let sent = self.client.push_manifest_raw(&self.reference, manifest, kind);
        self.within(MANIFEST_TIMEOUT, sent).await.map(drop)
    }

    async fn within<T>(&self, time: Duration, task: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
        match tokio::time::timeout(time, task).await {
            Ok(done) => done.map_err(|error| self.trouble(error)),
            Err(_) => {
                let registry = self.reference.registry();
                Err(Trouble::Away(format!("{registry} took longer than {} s", time.as_secs())))
            }
        }
    }

    fn altered(&self, expected: &str, found: &str) -> Trouble {
        let registry = self.reference.registry();
        Trouble::Refused(anyhow!(
            "{registry} sent something else than {expected}: its digest is {found}; it is not used; hint: push it again, and \
             find out who changed it"
        ))
    }

    /// What an error of the client means for whoever asked.
    fn trouble(&self, error: Error) -> Trouble {
        let registry = self.reference.registry();
        match &error {
            Error::RequestError(cause) => Trouble::Away(self.silent(&chain(cause))),
            Error::IoError(cause) => match cause.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(DigestError::VerificationError { expected, actual }) => self.altered(expected, actual),
                _ => Trouble::Away(self.silent(&chain(cause))),
            },
            Error::DigestError(DigestError::VerificationError { expected, actual }) => self.altered(expected, actual),
            Error::UnauthorizedError { .. } | Error::AuthenticationFailure(_) => self.denied(),
            Error::ServerError { code: 401 | 403, .. } => self.denied(),
            Error::ServerError { code: 404, .. } | Error::ImageManifestNotFoundError(_) => self.missing(),
            Error::ServerError { code, .. } if *code >= 500 || *code == 429 => {
                Trouble::Away(format!("{registry} cannot answer now: it says {code}"))
            }
            Error::RegistryError { envelope, .. } => {
                let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|one| codes.contains(&one.code));
                use OciErrorCode::{
                    BlobUnknown, Denied, ManifestUnknown, NameUnknown, NotFound, Toomanyrequests, Unauthorized,
                };
                if has(&[Toomanyrequests]) {
                    Trouble::Away(format!("{registry} cannot answer now: it was asked too often"))
                } else if has(&[Denied, Unauthorized]) {
                    self.denied()
                } else if has(&[ManifestUnknown, NameUnknown, NotFound, BlobUnknown]) {
                    self.missing()
                } else {
                    Trouble::Refused(anyhow!("{registry} refuses: {envelope}"))
                }
            }
            _ => Trouble::Refused(anyhow!("{registry}: {}", chain(&error))),
        }
    }

    fn silent(&self, causes: &str) -> String {
        let registry = self.reference.registry();
        let hint = if causes.contains("wrong version number") || causes.contains("record layer") {
            "; hint: it does not speak TLS, which only localhost, 127.0.0.1 and [::1] may do without"
        } else {
            ""
        };
        format!("{registry} does not answer: {causes}{hint}")
    }

    fn denied(&self) -> Trouble {
        let (registry, shown, told) = (self.reference.registry(), &self.shown, &self.credentials.told);
        Trouble::Refused(anyhow!(
            "{registry} does not give access to {shown} with {told}; hint: docker login {registry}"
        ))
    }

    fn missing(&self) -> Trouble {
        let (registry, shown) = (self.reference.registry(), &self.shown);
        Trouble::Refused(anyhow!("{registry} has no {shown}; hint: is the name right, and was it pushed?"))
    }
}

/// Asks again, a few times, where there was no answer.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let mut pause = FIRST_RETRY_DELAY;
    for _ in 1..MAX_ATTEMPTS {
        match ask().await {
            Err(Trouble::Away(reason)) => tracing::debug!(reason, "asking the registry again"),
            answered => return answered,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    ask().await
}

/// An error with its causes, without those that say no more than that a request was made.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut told: Vec<String> = Vec::new();
    for cause in causes {
        let says_nothing = cause.starts_with("error sending request") || cause.starts_with("client error (");
        if !says_nothing && !told.iter().any(|known| known.contains(&cause)) {
            told.push(cause);
        }
    }
    if told.is_empty() { error.to_string() } else { told.join(": ") }
}
