//! Credentials as `docker login` leaves them: in docker's configuration, or with the helper that it names.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use oci_client::secrets::RegistryAuth;
use wasmill_config as config;

/// Bytes that docker's configuration may have.
const MAX_BYTES: u64 = 1 << 20;
/// Under this name docker keeps the credentials of Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// What a helper that works and has nothing for this registry says.
const NOTHING_FOUND: &str = "credentials not found";

/// What is shown to a registry, and what is said of it if that is not enough.
#[derive(Clone)]
pub struct Credentials {
    /// For the client.
    pub auth: RegistryAuth,
    /// `the credentials of NAME in PATH`, or that there are none.
    pub told: String,
}

/// The credentials for a registry; none if docker has none for it.
///
/// # Errors
/// Docker's configuration cannot be read, or the helper that it names fails.
pub fn find(registry: &str) -> anyhow::Result<Credentials> {
    let Some(path) = configuration() else {
        return Ok(none("neither DOCKER_CONFIG nor HOME is set".to_owned()));
    };
    let shown = path.display().to_string();
    let bytes = match config::file::read(&path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(none(format!("there is no {shown}")));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read docker's credentials in {shown}")),
    };
    let name = if matches!(registry, "docker.io" | "index.docker.io") { DOCKER_HUB } else { registry };
    match get_credential_from_reader(bytes.as_slice(), name) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            let told = format!("the credentials of {user} in {shown}");
            Ok(Credentials { auth: RegistryAuth::Basic(user, password), told })
        }
        Ok(DockerCredential::IdentityToken(_)) => bail!(
            "{shown} has an identity token for {registry}, which wasmill cannot use; hint: docker login {registry} with \
             a user and an access token"
        ),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(none(format!("{shown} has none for {registry}"))),
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            let said = format!("{} {}", stdout.trim(), stderr.trim());
            if said.contains(NOTHING_FOUND) {
                return Ok(none(format!("{helper} has none for {registry}")));
            }
            bail!("{helper}, which {shown} names for {registry}, failed: {}", said.trim())
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => bail!(
            "the credential helper that {shown} names for {registry} cannot be started, or ends without an answer; hint: is \
             docker-credential-NAME on the path?"
        ),
        // What it found may be part of no message.
        Err(error) => bail!("docker's credentials for {registry} in {shown} cannot be used: {error}"),
    }
}

fn none(why: String) -> Credentials {
    Credentials { auth: RegistryAuth::Anonymous, told: format!("no credentials ({why})") }
}

/// Docker's configuration, whether it is there or not.
fn configuration() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))?;
    Some(folder.join("config.json"))
}
