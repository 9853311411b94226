//! A broker as companies have them: nobody may do anything that no ACL allows, topics are made by being asked for, and
//! there are several ways in.
//!
//! | listener | who comes in | principal |
//! |---|---|---|
//! | [`Broker::bootstrap`] | anybody, without a word: for the eye | the super user |
//! | [`SASL`] | a user with a password (`PLAIN`), or with an unsecured token (`OAUTHBEARER`) | `User:NAME`, the token's `sub` |
//! | [`SASL_TLS`] | the same over TLS | the same |
//! | [`TLS`] | anybody; with a certificate of the authority if there is one | `User:CN=NAME` of the certificate |
//! | [`MUTUAL`] | only with a certificate of the authority | the same |
//! | [`EXPIRED`], [`ELSEWHERE`] | as [`TLS`]; the broker's certificate has run out, or names another host | |
//!
//! ```no_run
//! # use wasmill_tests::{company::company, mill::{Mill, Options}, rights::Resource};
//! # fn main() -> anyhow::Result<()> {
//! let company = company()?;
//! let person = company.person()?; // nobody else has this name
//! company.eye.allow(&person.name, Resource::Topic("in"), &["Read", "Describe"])?;
//! let options = Options::new(&person.bootstrap, "...").properties(&person.properties);
//! let mill = Mill::spawn(&options)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`company`] is shared by the tests of a binary, as [`crate::shared::shared`] is. [`Company::start`] is a test's own, with
//! more properties: small limits, expiring logins. [`options`] is for a [`Cluster`](crate::cluster::Cluster) like it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::broker::{Broker, Options};
use crate::certificates::{Authority, Valid};
use crate::eye::Eye;
use crate::scratch::Scratch;
use crate::shared::Place;

/// SASL, not encrypted.
pub const SASL: &str = "SASL";
/// SASL over TLS.
pub const SASL_TLS: &str = "SASLTLS";
/// TLS.
pub const TLS: &str = "TLS";
/// TLS, and who has no certificate is turned away.
pub const MUTUAL: &str = "MUTUAL";
/// TLS with a certificate that has run out.
pub const EXPIRED: &str = "EXPIRED";
/// TLS with a certificate for another host.
pub const ELSEWHERE: &str = "ELSEWHERE";

/// Users that exist: `user0` to `user63`, whose password is `secret of NAME`.
const USERS: u32 = 64;

/// The certificates of a company, as files.
#[derive(Debug)]
pub struct Papers {
    authority: Authority,
    folder: Scratch,
}

impl Papers {
    /// Makes the authority and the broker's certificates.
    ///
    /// # Errors
    /// OpenSSL fails, or the folder cannot be written.
    pub fn new() -> Result<Self> {
        let (authority, folder) = (Authority::new("wasmill's tests")?, Scratch::new("papers")?);
        let here = ["localhost", "127.0.0.1"];
        std::fs::write(folder.path().join("ca.pem"), authority.pem()?)?;
        authority.sign("broker", &here, Valid::Now)?.write(folder.path(), TLS)?;
        authority.sign("broker", &here, Valid::Expired)?.write(folder.path(), EXPIRED)?;
        authority.sign("broker", &["elsewhere.example"], Valid::Now)?.write(folder.path(), ELSEWHERE)?;
        Ok(Self { authority, folder })
    }

    /// The authority's certificate, for `ssl.ca.location`.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A client's certificate: `NAME.crt` and `NAME.key` in a folder, for `ssl.certificate.location` and
    /// `ssl.key.location`.
    ///
    /// # Errors
    /// OpenSSL fails, or the folder cannot be written.
    pub fn client(&self, folder: &Path, name: &str, valid: Valid) -> Result<PathBuf> {
        self.authority.sign(name, &[], valid)?.write(folder, name)
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(format!("{name}.pem")).display().to_string()
    }
}

/// Somebody who has a password and may do nothing yet.
#[derive(Clone, Debug)]
pub struct Person {
    /// The principal is `User:NAME`.
    pub name: String,
    /// Of the listener that takes the password.
    pub bootstrap: String,
    /// librdkafka's properties with which this person comes in.
    pub properties: Vec<(String, String)>,
}

impl Person {
    /// The same person with one property more, or another value of it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.properties.retain(|(other, _)| other != name);
        self.properties.push((name.into(), value.into()));
        self
    }
}

/// The broker.
#[derive(Debug)]
pub struct Company {
    /// It must not be stopped if it is shared.
    pub broker: Broker,
    /// Certificates.
    pub papers: Papers,
}

/// What a broker or a cluster needs to be like a company's.
pub fn options(papers: &Papers) -> Options {
    let users: String = (0..USERS).map(|user| format!(" user_user{user}=\"secret of user{user}\"")).collect();
    let plain = format!("org.apache.kafka.common.security.plain.PlainLoginModule required{users};");
    let token = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";";
    let mut options = Options::default()
        .property("auto.create.topics.enable", "true")
        .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .property("super.users", "User:ANONYMOUS")
        .property("ssl.keystore.type", "PEM")
        .property("ssl.truststore.type", "PEM");
    for (name, protocol) in [(SASL, "SASL_PLAINTEXT"), (SASL_TLS, "SASL_SSL")] {
        let key = |rest: &str| format!("listener.name.{}.{rest}", name.to_lowercase());
        options = options
            .listener(name, protocol)
            .property(&key("sasl.enabled.mechanisms"), "PLAIN,OAUTHBEARER")
            .property(&key("plain.sasl.jaas.config"), &plain)
            .property(&key("oauthbearer.sasl.jaas.config"), token);
    }
    for (name, certificate, client) in [
        (SASL_TLS, TLS, "none"),
        (TLS, TLS, "requested"),
        (MUTUAL, TLS, "required"),
        (EXPIRED, EXPIRED, "none"),
        (ELSEWHERE, ELSEWHERE, "none"),
    ] {
        let key = |rest: &str| format!("listener.name.{}.{rest}", name.to_lowercase());
        if name != SASL_TLS {
            options = options.listener(name, "SSL");
        }
        options = options
            .property(&key("ssl.keystore.location"), papers.file(certificate))
            .property(&key("ssl.truststore.location"), papers.file("ca"))
            .property(&key("ssl.client.auth"), client);
    }
    options
}

impl Company {
    /// Starts a broker of one's own, with these properties of the server besides. The test holds a [`Place`].
    ///
    /// # Errors
    /// Kafka cannot be started.
    pub fn start(properties: &[(&str, &str)]) -> Result<Self> {
        let papers = Papers::new()?;
        let options = properties.iter().fold(options(&papers), |options, (name, value)| options.property(name, value));
        Ok(Self { broker: Broker::start(&options)?, papers })
    }

    /// The second opinion, who may do everything.
    ///
    /// # Errors
    /// See [`Eye::new`].
    pub fn eye(&self) -> Result<Eye> {
        self.broker.eye()
    }

    /// A user whom no other test has, with a password, at the listener [`SASL`].
    ///
    /// # Errors
    /// So many there are not.
    pub fn person(&self) -> Result<Person> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        ensure!(number < USERS, "more than {USERS} users; raise USERS");
        let name = format!("user{number}");
        let properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", &name),
            ("sasl.password", &format!("secret of {name}")),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Ok(Person { bootstrap: self.broker.address(SASL)?, properties, name })
    }
}

/// An unsecured token (JWS without a signature) of this user, good for so many seconds from now.
///
/// # Errors
/// The clock is wrong.
pub fn token(user: &str, seconds: u64) -> Result<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let claims = serde_json::json!({ "sub": user, "iat": now, "exp": now + seconds });
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    Ok(format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims.to_string())))
}

/// The shared company, for one test.
#[derive(Debug)]
pub struct Shared {
    /// The broker with its listeners. It must not be stopped.
    pub company: &'static Company,
    /// The second opinion on it, who may do everything.
    pub eye: Eye,
    _place: Place,
}

impl std::ops::Deref for Shared {
    type Target = Company;

    fn deref(&self) -> &Company {
        self.company
    }
}

/// Waits for a place and starts the shared company if this is the first test that needs it.
///
/// # Errors
/// Kafka cannot be started.
pub fn company() -> Result<Shared> {
    static COMPANY: OnceLock<Result<Company, String>> = OnceLock::new();
    let place = Place::take();
    let company = COMPANY.get_or_init(|| Company::start(&[]).map_err(|error| format!("{error:#}")));
    let company = company.as_ref().map_err(|error| anyhow::anyhow!("{error}")).context("no company")?;
    Ok(Shared { company, eye: company.eye()?, _place: place })
}
