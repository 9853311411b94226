//! What `push` and `pull` tell of a handler in a registry.

use serde::Serialize;
use wasmill_config::OciReference;
use wasmill_wasm::inspect;

use super::inspect::version;
use super::output::known;

/// A handler in a registry.
#[derive(Debug, Serialize)]
pub struct Artifact {
    reference: String,
    /// What a configuration names so that nobody can give it another handler.
    pinned: String,
    digest: String,
    sha256: String,
    bytes: usize,
    contract: Option<String>,
    world: Option<&'static str>,
    accepted: bool,
    error: Option<String>,
    /// The file that was pushed, or into which was pulled.
    pub file: Option<String>,
    /// Of a pull: `cache` or `registry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'static str>,
}

impl Artifact {
    /// `refusal`: why wasmill would not run it.
    pub fn of(reference: &OciReference, digest: &str, bytes: &[u8], refusal: Option<String>) -> Self {
        let found = inspect(bytes);
        Self {
            reference: reference.to_string(),
            pinned: reference.pinned(digest).to_string(),
            digest: digest.to_owned(),
            contract: version(&found, refusal.as_deref()),
            world: found.world.map(|world| world.as_str()),
            sha256: found.digest,
            bytes: found.size,
            accepted: refusal.is_none(),
            error: refusal,
            file: None,
            from: None,
        }
    }

    /// For people; `done`: what was done with it.
    pub fn told(&self, done: &str) -> String {
        let Self { reference, pinned, digest, sha256, bytes, .. } = self;
        let (contract, world) = (known(self.contract.as_ref()), known(self.world));
        let accepted = self.error.as_ref().map_or("yes".to_owned(), |error| format!("no: {error}"));
        format!(
            "{done} {reference}\n  digest    {digest}\n  sha256    {sha256} ({bytes} bytes)\n  \
             contract  wasmill:handler {contract}, world {world}\n  accepted  {accepted}\n  pinned    {pinned}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_told_line_by_line_and_as_json() {
        let reference: OciReference = "oci://host/name:1.0".parse().expect("a reference");
        let digest = format!("sha256:{}", "a".repeat(64));
        let artifact = Artifact::of(&reference, &digest, b"no handler", Some("not WebAssembly".to_owned()));
        let (pinned, sha256) = (reference.pinned(&digest), &artifact.sha256);
        assert_eq!(
            artifact.told("pulled"),
            format!(
                "pulled oci://host/name:1.0\n  digest    {digest}\n  sha256    {sha256} (10 bytes)\n  contract  \
                 wasmill:handler -, world -\n  accepted  no: not WebAssembly\n  pinned    {pinned}\n"
            )
        );
        let pulled = Artifact { from: Some("cache"), ..artifact };
        let json = serde_json::to_value(&pulled).expect("plain data");
        let fields: Vec<_> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        let expected = "accepted bytes contract digest error file from pinned reference sha256 world";
        assert_eq!(fields.join(" "), expected);
    }
}
