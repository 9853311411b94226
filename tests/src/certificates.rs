//! Certificates for tests of TLS: an authority of one's own, and what it signs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

/// Who signs.
#[derive(Debug)]
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// When a certificate is good.
#[derive(Clone, Copy, Debug)]
pub enum Valid {
    /// Since yesterday, for a day from now.
    Now,
    /// Since yesterday, for so many seconds from now.
    Seconds(i64),
    /// Until a minute ago.
    Expired,
}

/// A certificate and its key in PEM, PKCS #8 without a password.
#[derive(Debug)]
pub struct Signed {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// An authority by this name.
    ///
    /// # Errors
    /// OpenSSL fails.
    pub fn new(name: &str) -> Result<Self> {
        let (mut builder, key) = begin(name, Valid::Now)?;
        let subject = builder.subject(name)?;
        builder.0.set_issuer_name(&subject)?;
        builder.0.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.0.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        builder.0.sign(&key, MessageDigest::sha256())?;
        Ok(Self { certificate: builder.0.build(), key })
    }

    /// Its own certificate in PEM.
    ///
    /// # Errors
    /// OpenSSL fails.
    pub fn pem(&self) -> Result<String> {
        Ok(String::from_utf8(self.certificate.to_pem()?)?)
    }

    /// A certificate by it, with this common name, for these hosts.
    ///
    /// # Errors
    /// OpenSSL fails.
    pub fn sign(&self, name: &str, hosts: &[&str], valid: Valid) -> Result<Signed> {
        let (mut builder, key) = begin(name, valid)?;
        builder.0.set_issuer_name(self.certificate.subject_name())?;
        if !hosts.is_empty() {
            let mut names = SubjectAlternativeName::new();
            hosts.iter().for_each(|host| {
                if host.parse::<std::net::IpAddr>().is_ok() {
                    names.ip(host)
                } else {
                    names.dns(host)
                };
            });
            let extension = names.build(&builder.0.x509v3_context(Some(&self.certificate), None))?;
            builder.0.append_extension(extension)?;
        }
        builder.0.sign(&self.key, MessageDigest::sha256())?;
        let certificate = String::from_utf8(builder.0.build().to_pem()?)?;
        Ok(Signed { certificate, key: String::from_utf8(key.private_key_to_pem_pkcs8()?)? })
    }
}

impl Signed {
    /// Writes `NAME.pem`, the key and then the certificate, as Kafka wants it, and beside it `NAME.crt` and `NAME.key`.
    /// Returns the path of the first.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let file = folder.join(format!("{name}.pem"));
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(&file, format!("{}{}", self.key, self.certificate))?;
        write(&file.with_extension("crt"), self.certificate.clone())?;
        write(&file.with_extension("key"), self.key.clone())?;
        Ok(file)
    }
}

struct Builder(X509Builder);

impl Builder {
    fn subject(&mut self, name: &str) -> Result<openssl::x509::X509Name> {
        let mut subject = X509NameBuilder::new()?;
        subject.append_entry_by_text("CN", name)?;
        Ok(subject.build())
    }
}

fn begin(name: &str, valid: Valid) -> Result<(Builder, PKey<Private>)> {
    let key = PKey::from_rsa(openssl::rsa::Rsa::generate(2048)?)?;
    let mut builder = Builder(X509Builder::new()?);
    let subject = builder.subject(name)?;
    builder.0.set_version(2)?;
    builder.0.set_serial_number(&*BigNum::from_u32(rand::random_range(1..u32::MAX))?.to_asn1_integer()?)?;
    builder.0.set_subject_name(&subject)?;
    builder.0.set_pubkey(&key)?;
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?;
    let end = match valid {
        Valid::Now => now + 86_400,
        Valid::Seconds(seconds) => now + seconds,
        Valid::Expired => now - 60,
    };
    builder.0.set_not_before(&*Asn1Time::from_unix(now - 86_400)?)?;
    builder.0.set_not_after(&*Asn1Time::from_unix(end)?)?;
    Ok((builder, key))
}
