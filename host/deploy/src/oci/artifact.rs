//! The layout of a WebAssembly artifact, as the CNCF describes it: a manifest with a config that says what the component
//! imports and exports, and one layer, the component itself. `wkg` and `oras` read and write the same.

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wasmill_wasm::{Form, Inspection};

use super::digest::digest_of;

/// The media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
/// The name of the annotation that says how the file is called.
const TITLE: &str = "org.opencontainers.image.title";
/// The most that a registry has to accept of a manifest, says the specification.
const MANIFEST_BYTES: usize = 4 << 20;
/// The config's `created` is demanded, and would make another digest of the same file with each push.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// What a manifest says of the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The digest of the component, `sha256:…`.
    pub digest: String,
    /// The size of the component.
    pub bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    /// Only an index has these.
    #[serde(default)]
    manifests: Vec<serde_json::Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Artifact {
    /// Reads a manifest.
    ///
    /// # Errors
    /// It is none, or one of something else than a component.
    pub fn read(manifest: &[u8]) -> anyhow::Result<Self> {
        if manifest.len() > MANIFEST_BYTES {
            bail!("the manifest has {} bytes, more than the {MANIFEST_BYTES} that one may have", manifest.len());
        }
        let read: Manifest = serde_json::from_slice(manifest).context("the manifest is none of OCI's")?;
        if read.schema_version != 2 {
            bail!("the manifest is one of version {}; hint: push it again with a newer tool", read.schema_version);
        }
        let hint = "hint: `wasmill push FILE.wasm`, or any tool that writes a layer of type application/wasm";
        if !read.manifests.is_empty() || read.media_type.as_deref().is_some_and(|kind| kind.contains("index")) {
            bail!("it is an index of several images, and no handler; {hint}");
        }
        // The layer decides: tools differ in the config that they write.
        let [layer] = read.layers.as_slice() else {
            let config = read.config.map_or("none".to_owned(), |config| config.media_type);
            bail!("it is no handler: {} layers, config {config:?}; {hint}", read.layers.len());
        };
        if layer.media_type != LAYER {
            let config = read.config.map_or("none".to_owned(), |config| config.media_type);
            bail!("it is no handler: its layer is {:?}, its config {config:?}; {hint}", layer.media_type);
        }
        let digits = layer.digest.strip_prefix("sha256:").unwrap_or_default();
        if digits.len() != 64 || !digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            bail!("the manifest lists {:?}, which is no digest of SHA-256", layer.digest);
        }
        Ok(Self { digest: layer.digest.clone(), bytes: layer.size })
    }
}

/// An artifact to be pushed.
#[derive(Debug)]
pub struct Draft {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The config.
    pub config: Vec<u8>,
    /// The config's digest.
    pub config_digest: String,
}

impl Draft {
    /// Describes a component, or a module, called `title`.
    pub fn new(bytes: &[u8], found: &Inspection, title: &str) -> anyhow::Result<Self> {
        let names = || found.imports.items.iter().map(|import| import.name.as_str()).collect::<Vec<_>>();
        let component = json!({ "imports": names(), "exports": found.exports.items, "target": null });
        let is_component = found.form == Form::Component;
        let config = serde_json::to_vec(&json!({
            "created": CREATED,
            "author": null,
            "architecture": "wasm",
            // The layout's words for a component and for a module.
            "os": if is_component { "wasip2" } else { "wasip1" },
            "layerDigests": [digest_of(bytes)],
            "component": is_component.then_some(component),
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": digest_of(&config), "size": config.len() },
            "layers": [{
                "mediaType": LAYER,
                "digest": digest_of(bytes),
                "size": bytes.len(),
                "annotations": { TITLE: title },
            }],
        }))?;
        Ok(Self { manifest, config_digest: digest_of(&config), config })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn what_is_pushed_is_what_is_read() {
        let bytes = b"\0asm not really";
        let draft = Draft::new(bytes, &wasmill_wasm::inspect(bytes), "handler.wasm").unwrap();
        let read = Artifact::read(&draft.manifest).unwrap();
        assert_eq!(read, Artifact { digest: digest_of(bytes), bytes: bytes.len() as u64 });
        let again = Draft::new(bytes, &wasmill_wasm::inspect(bytes), "handler.wasm").unwrap();
        assert_eq!(again.manifest, draft.manifest, "the same file has the same digest");
    }

    #[test]
    fn what_is_no_handler_is_told_by_what_it_is() {
        let digest = digest_of(b"");
        let layer = |kind: &str| json!({ "mediaType": kind, "digest": digest, "size": 1 });
        let image = |layers: Vec<serde_json::Value>| {
            let config = layer("application/vnd.docker.container.image.v1+json");
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
        };
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        for (manifest, said) in [
            (image(vec![layer(tar)]), "its layer is \"application/vnd.oci.image.layer.v1.tar+gzip\""),
            (image(vec![layer(tar), layer(tar)]), "2 layers, config \"application/vnd.docker"),
            (image(vec![]), "0 layers"),
            (json!({ "schemaVersion": 2, "manifests": [{}] }), "an index of several images"),
            (json!({ "schemaVersion": 1 }), "of version 1"),
            (json!([]), "none of OCI's"),
            (image(vec![json!({ "mediaType": LAYER, "digest": "sha256:../../x", "size": 1 })]), "no digest"),
        ] {
            let error = Artifact::read(manifest.to_string().as_bytes()).expect_err(said).to_string();
            assert!(error.contains(said), "{error}");
        }
        let long = vec![b' '; MANIFEST_BYTES + 1];
        assert!(Artifact::read(&long).unwrap_err().to_string().contains("more than"));
    }

    /// A text, a number or nothing, in the place of a part.
    fn leaf() -> impl Strategy<Value = serde_json::Value> + Clone {
        let texts = [MANIFEST, CONFIG, LAYER, "", "sha256:", "sha256:../../etc/passwd", "\u{202e}\u{1b}[2J"];
        let numbers =
            [json!(0), json!(1), json!(2), json!(-1), json!(u64::MAX), json!(1e300), json!(null), json!(true)];
        prop_oneof![
            prop::sample::select(texts.to_vec()).prop_map(|text| json!(text)),
            Just(json!(digest_of(b"a"))),
            any::<String>().prop_map(|text| json!(text)),
            prop::sample::select(numbers.to_vec()),
        ]
    }

    /// Any JSON, with the names that a manifest has.
    fn answer() -> impl Strategy<Value = serde_json::Value> {
        let names = ["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "x"];
        let key = prop::sample::select(names.to_vec()).prop_map(str::to_owned);
        leaf().prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
                prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| json!(map)),
            ]
        })
    }

    /// A manifest with one of its places taken by something else.
    fn manifest() -> impl Strategy<Value = serde_json::Value> {
        let places = [
            "/schemaVersion",
            "/mediaType",
            "/config",
            "/layers",
            "/layers/0",
            "/layers/0/mediaType",
            "/layers/0/digest",
            "/layers/0/size",
        ];
        (prop::sample::select(places.to_vec()), prop_oneof![3 => leaf(), 1 => answer()]).prop_map(|(place, value)| {
            let one = json!({ "mediaType": LAYER, "digest": digest_of(b"a"), "size": 1 });
            let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": one, "layers": [one] });
            *manifest.pointer_mut(place).expect("a place of it") = value;
            manifest
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

        #[test]
        fn whatever_a_registry_answers_no_manifest_leads_anywhere_but_to_a_digest(
            text in prop_oneof![
                5 => manifest().prop_map(|json| json.to_string().into_bytes()),
                1 => answer().prop_map(|json| json.to_string().into_bytes()),
                1 => prop::collection::vec(any::<u8>(), 0..200),
                1 => (1usize..4000).prop_map(|deep| "[".repeat(deep).into_bytes()),
            ],
        ) {
            match Artifact::read(&text) {
                Ok(artifact) => {
                    let digits = artifact.digest.strip_prefix("sha256:").expect("a digest of SHA-256");
                    prop_assert!(digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
                }
                Err(error) => {
                    let shown = format!("{error:#}");
                    prop_assert!(!shown.is_empty() && !shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
                }
            }
        }
    }
}
