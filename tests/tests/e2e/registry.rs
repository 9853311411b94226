//! Handlers from a registry: pushed, pulled, run, and run without the registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::case::Case;
use wasmill_tests::message::Message;
use wasmill_tests::mill::{Mill, binary, guest};
use wasmill_tests::registry::{Options, Registry, USER, docker_login};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::shared;

const SOON: Duration = Duration::from_secs(60);

/// What a command came to.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("not JSON: {}\n{}", self.out, self.err))
    }

    /// That it ended with this code and said these.
    fn said(&self, code: i32, texts: &[&str]) -> Result<()> {
        let all = format!("{}{}", self.out, self.err);
        ensure!(self.code == code, "exit {} instead of {code}: {all}", self.code);
        for text in texts {
            ensure!(all.contains(text), "nothing of `{text}`: {all}");
        }
        Ok(())
    }
}

/// A machine of its own: cache, docker's configuration, a folder for files.
struct Machine {
    folder: Scratch,
    environment: Vec<(String, PathBuf)>,
}

impl Machine {
    fn new() -> Result<Self> {
        Ok(Self { folder: Scratch::new("oci")?, environment: Vec::new() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn variables(&self) -> Vec<(String, PathBuf)> {
        let own = [("WASMILL_CACHE", "cache"), ("DOCKER_CONFIG", "docker")];
        let own = own.map(|(name, folder)| (name.to_owned(), self.path(folder)));
        own.into_iter().chain(self.environment.clone()).collect()
    }

    fn wasmill(&self, words: &[&str]) -> Result<Done> {
        let mut command = Command::new(binary()?);
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null()).envs(self.variables());
        let done = command.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = done.status.code().with_context(|| format!("{words:?} ended with {}", done.status))?;
        Ok(Done { code, out: text(&done.stdout), err: text(&done.stderr) })
    }

    /// Pushes a guest; returns what was told.
    fn push(&self, name: &str, reference: &str) -> Result<Value> {
        let done = self.wasmill(&["push", &guest(name)?, reference, "--json"])?;
        done.said(0, &[])?;
        done.json()
    }

    /// `wasmill check` of a pipeline with this handler: it is fetched, compiled and started once, as `run` does.
    fn check(&self, handler: &str) -> Result<Done> {
        let text = format!(
            "[kafka]\nbootstrap = \"localhost:1\"\n[pipelines.p]\ntopics = [\"t\"]\ngroup = \"g\"\nhandler = {handler:?}\n\
             on_exhausted = \"stop\"\n"
        );
        std::fs::write(self.path("wasmill.toml"), text)?;
        self.wasmill(&["check", "--json"])
    }

    /// What `check` tells of the handler.
    fn loaded(&self, handler: &str) -> Result<Value> {
        let done = self.check(handler)?;
        done.said(0, &[])?;
        Ok(done.json()?["handlers"][0].clone())
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

/// SHA-256 of a guest, as `inspect` tells it.
fn sha256(machine: &Machine, name: &str) -> Result<Value> {
    Ok(machine.wasmill(&["inspect", &guest(name)?, "--json"])?.json()?["digest"].clone())
}

/// Changes a byte in the middle of a file.
fn tamper(path: &Path) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(path, bytes)?)
}

#[test]
fn what_is_pushed_is_pulled_and_loaded_with_the_digests_that_were_told() -> Result<()> {
    let (registry, machine) = (Registry::start(&Options::default())?, Machine::new()?);
    let reference = registry.reference("team/upper:1.0");
    let pushed = machine.push("upper", &reference)?;
    let digest = text(&pushed["digest"])?;
    let pinned = text(&pushed["pinned"])?.to_owned();
    assert_eq!(pinned, registry.reference(&format!("team/upper@{digest}")));
    assert_eq!(pushed["sha256"], sha256(&machine, "upper")?);
    assert_eq!((&pushed["contract"], &pushed["world"]), (&json!("0.1.0"), &json!("batches")));
    assert_eq!(machine.push("upper", &reference)?["digest"], digest, "the same file has the same digest");

    let elsewhere = Machine::new()?;
    let pulled = elsewhere.wasmill(&["pull", &reference, "-o", "got.wasm"])?;
    pulled.said(0, &[digest, &pinned, text(&pushed["sha256"])?, "accepted  yes"])?;
    ensure!(std::fs::read(elsewhere.path("got.wasm"))? == std::fs::read(guest("upper")?)?, "other bytes");

    for handler in [&reference, &pinned] {
        let loaded = Machine::new()?.loaded(handler)?;
        assert_eq!((&loaded["handler"], &loaded["artifact"]), (&json!(handler), &json!(digest)));
        assert_eq!((&loaded["digest"], &loaded["warning"]), (&pushed["sha256"], &Value::Null));
    }
    machine.wasmill(&["push", &guest("upper")?, &pinned])?.said(2, &["has a digest", "hint: name a tag instead"])?;
    machine.wasmill(&["pull", &registry.reference("team/upper")])?.said(2, &["says nothing of the version", "hint:"])
}

#[test]
fn a_tag_that_moves_brings_the_new_handler_and_a_digest_stays_with_the_old() -> Result<()> {
    let (registry, machine) = (Registry::start(&Options::default())?, Machine::new()?);
    let reference = registry.reference("moves:1");
    let old = machine.push("upper", &reference)?;
    assert_eq!(machine.loaded(&reference)?["digest"], old["sha256"]);
    let new = machine.push("echo", &reference)?;
    ensure!(old["digest"] != new["digest"], "{new}");
    assert_eq!(machine.loaded(&reference)?["digest"], new["sha256"]);
    // Here, and where neither was ever seen.
    for machine in [machine, Machine::new()?] {
        assert_eq!(machine.loaded(text(&old["pinned"])?)?["digest"], old["sha256"]);
        assert_eq!(machine.loaded(text(&new["pinned"])?)?["digest"], new["sha256"]);
    }
    Ok(())
}

#[test]
fn without_the_registry_a_tag_is_what_it_was_last_and_says_so_and_a_digest_needs_no_registry() -> Result<()> {
    let (registry, machine) = (Registry::start(&Options::default())?, Machine::new()?);
    let reference = registry.reference("away:1");
    let pushed = machine.push("upper", &reference)?;
    let pinned = text(&pushed["pinned"])?;
    machine.push("echo", &registry.reference("away:2"))?;
    machine.loaded(&reference)?;
    registry.stop();
    let loaded = machine.loaded(&reference)?;
    assert_eq!(loaded["digest"], pushed["sha256"]);
    let warning = text(&loaded["warning"])?;
    ensure!(warning.contains("from the cache") && warning.contains(text(&pushed["digest"])?), "{warning}");
    ensure!(warning.contains("does not answer"), "{warning}");
    assert_eq!(machine.loaded(pinned)?["warning"], Value::Null);
    // Never seen from here, under this name or at all; and whoever pulls wants to know what there is now.
    machine.check(&registry.reference("away:2"))?.said(3, &["does not answer", "away:2"])?;
    Machine::new()?.check(&reference)?.said(3, &["does not answer"])?;
    machine.wasmill(&["pull", &reference])?.said(1, &["does not answer"])?;

    registry.start_again()?;
    let before = registry.said().matches("GET /v2/away/").count();
    machine.loaded(pinned)?;
    assert_eq!(registry.said().matches("GET /v2/away/").count(), before, "a digest in the cache asks nobody");
    assert_eq!(machine.loaded(&reference)?["warning"], Value::Null);
    // An answer is an answer: a tag that was taken away is not run from the cache.
    registry.forget("away", "1")?;
    machine.check(&reference)?.said(3, &["has no away:1", "hint:"])
}

#[test]
fn bytes_that_are_not_what_a_digest_says_are_never_used() -> Result<()> {
    let (registry, machine) = (Registry::start(&Options::default())?, Machine::new()?);
    let reference = registry.reference("changed:1");
    let pushed = machine.push("upper", &reference)?;
    let component = registry.blob(text(&pushed["sha256"])?);
    let whole = std::fs::read(&component)?;

    tamper(&component)?;
    machine.check(&reference)?.said(3, &["sent something else than sha256:", "it is not used"])?;
    machine.wasmill(&["pull", &reference, "-o", "got.wasm"])?.said(1, &["sent something else than sha256:"])?;
    ensure!(!machine.path("got.wasm").exists(), "it was written all the same");
    std::fs::write(&component, [&whole[..], b"more"].concat())?;
    machine.check(&reference)?.said(3, &["more than the"])?;
    std::fs::write(&component, &whole[..whole.len() / 2])?;
    machine.check(&reference)?.said(3, &["sent something else than sha256:"])?;
    std::fs::write(&component, &whole)?;
    machine.loaded(&reference)?;

    // In the cache as well: what was changed there is fetched again.
    let cached = machine.path("cache/plugins/blobs").join(format!("sha256-{}", text(&pushed["sha256"])?));
    tamper(&cached)?;
    assert_eq!(machine.loaded(text(&pushed["pinned"])?)?["digest"], pushed["sha256"]);
    ensure!(std::fs::read(&cached)? == whole, "the cache has other bytes");
    tamper(&cached)?;
    registry.stop();
    machine.check(text(&pushed["pinned"])?)?.said(3, &["does not answer"])?;
    registry.start_again()?;

    // A manifest under the digest that a configuration names.
    let manifest = registry.blob(text(&pushed["digest"])?);
    let text_of = std::fs::read_to_string(&manifest)?;
    std::fs::write(&manifest, text_of.replace("upper.wasm", "lower.wasm"))?;
    ensure!(std::fs::read_to_string(&manifest)? != text_of, "nothing to change in {text_of}");
    let said = format!("sent something else than {}", text(&pushed["digest"])?);
    Machine::new()?.check(text(&pushed["pinned"])?)?.said(3, &[&said])
}

#[test]
fn only_with_the_credentials_of_docker_login_a_registry_lets_one_in() -> Result<()> {
    let registry = Registry::start(&Options { users: true, ..Options::default() })?;
    let mut machine = Machine::new()?;
    let reference = registry.reference("closed:1");
    let login = format!("hint: docker login {}", registry.host());
    let push = |machine: &Machine| machine.wasmill(&["push", &guest("upper")?, &reference]);
    push(&machine)?.said(1, &["does not give access to closed:1", "no credentials (there is no ", &login])?;
    docker_login(&machine.path("docker"), "another.example.com", USER)?;
    push(&machine)?.said(1, &["has none for", &login])?;
    docker_login(&machine.path("docker"), &registry.host(), ("robot", "wrong secret"))?;
    let denied = push(&machine)?;
    denied.said(1, &["with the credentials of robot in", &login])?;
    ensure!(!denied.err.contains("wrong secret"), "{}", denied.err);
    docker_login(&machine.path("docker"), &registry.host(), USER)?;
    push(&machine)?.said(0, &["pushed"])?;
    machine.loaded(&reference)?;
    // Kept or not: who is refused does not run what there was yesterday.
    docker_login(&machine.path("docker"), &registry.host(), ("robot", "wrong secret"))?;
    machine.check(&reference)?.said(3, &["does not give access", &login])?;

    // A helper, as docker's own keep them.
    let helper = machine.path("bin/docker-credential-test");
    std::fs::create_dir_all(machine.path("bin"))?;
    std::fs::write(&helper, "#!/bin/sh\nserver=$(cat)\n. \"$0.answer\"\n")?;
    let answer = machine.path("bin/docker-credential-test.answer");
    let (user, password) = USER;
    let secret = json!({ "ServerURL": "", "Username": user, "Secret": password });
    std::fs::write(&answer, format!("[ \"$server\" = '{}' ] || exit 1\necho '{secret}'\n", registry.host()))?;
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let helpers = json!({ "credHelpers": { registry.host(): "test" } });
    std::fs::write(machine.path("docker/config.json"), helpers.to_string())?;
    machine.check(&reference)?.said(3, &["cannot be started", "docker-credential-NAME"])?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([machine.path("bin")].into_iter().chain(std::env::split_paths(&path)))?;
    machine.environment.push(("PATH".to_owned(), path.into()));
    machine.loaded(&reference)?;
    std::fs::write(&answer, "echo 'credentials not found in native keychain'\nexit 1\n")?;
    machine.check(&reference)?.said(3, &["docker-credential-test has none for", &login])
}

#[test]
fn what_is_no_handler_is_neither_pushed_nor_run() -> Result<()> {
    let (registry, machine) = (Registry::start(&Options::default())?, Machine::new()?);
    std::fs::write(machine.path("text.wasm"), "text")?;
    let reference = registry.reference("none:1");
    machine.wasmill(&["push", "text.wasm", &reference])?.said(3, &["text.wasm is no handler, and is not pushed"])?;
    machine.wasmill(&["push", "absent.wasm", &reference])?.said(2, &["cannot read handler absent.wasm"])?;
    machine.check(&reference)?.said(3, &["has no none:1", "hint: is the name right"])?;

    let layer = registry.upload("image", b"not a tar")?;
    let config = registry.upload("image", b"{}")?;
    let image = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 9 }],
    });
    registry.put_manifest("image", "1", &image)?;
    let said = ["it is no handler", "application/vnd.oci.image.layer.v1.tar", "hint: `wasmill push FILE.wasm`"];
    machine.check(&registry.reference("image:1"))?.said(3, &said)?;
    machine.wasmill(&["pull", &registry.reference("image:1")])?.said(1, &said)?;

    // A component by its layer that is none by its bytes: it may be looked at, and is not run.
    let mut posing = image.clone();
    posing["layers"][0]["mediaType"] = "application/wasm".into();
    registry.put_manifest("image", "2", &posing)?;
    machine.wasmill(&["pull", &registry.reference("image:2")])?.said(0, &["accepted  no: "])?;
    machine.check(&registry.reference("image:2"))?.said(3, &[])?;

    // A size beyond what a plugin may have is refused before anything of it is fetched.
    posing["layers"][0]["size"] = (1_u64 << 40).into();
    registry.put_manifest("image", "3", &posing)?;
    machine.check(&registry.reference("image:3"))?.said(3, &["the handler has 1.0 TiB", "hint: limits.component"])
}

#[test]
fn other_machines_are_spoken_to_over_tls_alone_and_their_certificate_counts() -> Result<()> {
    // Loopback to the kernel, and not one of the names that are spoken to without TLS.
    let host = Some("127.0.0.2".to_owned());
    let plain = Registry::start(&Options { host: host.clone(), ..Options::default() })?;
    let mut machine = Machine::new()?;
    let push = |machine: &Machine, registry: &Registry| {
        machine.wasmill(&["push", &guest("upper")?, &registry.reference("tls:1")])
    };
    push(&machine, &plain)?.said(1, &["does not answer", "hint: it does not speak TLS"])?;
    ensure!(!plain.said().contains("/v2/tls/"), "it was spoken to without TLS: {}", plain.said());

    let (certificate, key) = (machine.path("certificate.pem"), machine.path("key.pem"));
    let [certificate_pem, key_pem] = certificate_for("127.0.0.2")?;
    std::fs::write(&certificate, certificate_pem)?;
    std::fs::write(&key, key_pem)?;
    let registry = Registry::start(&Options { host, tls: Some((certificate.clone(), key)), ..Options::default() })?;
    push(&machine, &registry)?.said(1, &["does not answer", "certificate"])?;
    machine.environment.push(("SSL_CERT_FILE".to_owned(), certificate));
    push(&machine, &registry)?.said(0, &["pushed"])?;
    machine.loaded(&registry.reference("tls:1")).map(drop)
}

/// A certificate that signs itself, and its key, in PEM.
fn certificate_for(address: &str) -> Result<[Vec<u8>; 2]> {
    use openssl::asn1::Asn1Time;
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    let key = openssl::pkey::PKey::from_rsa(openssl::rsa::Rsa::generate(2048)?)?;
    let mut name = openssl::x509::X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "a registry of the tests")?;
    let name = name.build();
    let mut builder = openssl::x509::X509::builder()?;
    builder.set_version(2)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(1)?.as_ref())?;
    builder.append_extension(BasicConstraints::new().ca().build()?)?;
    let names = SubjectAlternativeName::new().ip(address).build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.sign(&key, openssl::hash::MessageDigest::sha256())?;
    Ok([builder.build().to_pem()?, key.private_key_to_pem_pkcs8()?])
}

#[test]
fn a_pipeline_runs_from_a_registry_and_starts_again_without_it() -> Result<()> {
    let (registry, machine) = (Registry::start(&Options::default())?, Machine::new()?);
    let shared = shared()?;
    let case = Case::new(&shared.eye, "registry", 1)?;
    let reference = registry.reference("team/case:1");
    let pushed = machine.push("upper", &reference)?;
    let mut options = case.options(&shared.broker.bootstrap(), "upper", "")?;
    options.pipelines = options.pipelines.replace(&guest("upper")?, &reference);
    for (name, value) in machine.variables() {
        options = options.env(&name, &value.display().to_string());
    }
    let outputs = |count: usize| -> Result<Vec<String>> {
        Ok(shared.eye.read_count(&case.output, count, SOON)?.iter().map(Message::text).collect())
    };
    let mut mill = Mill::start(&options)?;
    shared.eye.produce(&case.input, &[Message::new("k", "one")])?;
    assert_eq!(outputs(1)?, ["ONE"]);
    ensure!(mill.log().contains(text(&pushed["digest"])?), "which artifact it runs: {}", mill.log());
    ensure!(mill.stop()?.success());

    registry.stop();
    let mut mill = Mill::start(&options)?;
    mill.wait_log("from the cache, as it was last seen", SOON)?;
    shared.eye.produce(&case.input, &[Message::new("k", "two")])?;
    assert_eq!(outputs(2)?, ["ONE", "TWO"]);
    ensure!(mill.stop()?.success());

    registry.start_again()?;
    machine.push("echo", &reference)?;
    let mut mill = Mill::start(&options)?;
    shared.eye.produce(&case.input, &[Message::new("k", "three")])?;
    assert_eq!(outputs(3)?, ["ONE", "TWO", "three"]);
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn dev_and_test_take_a_handler_from_a_registry_and_build_nothing() -> Result<()> {
    let (registry, machine) = (Registry::start(&Options::default())?, Machine::new()?);
    let reference = registry.reference("dev:1");
    machine.push("upper", &reference)?;
    let config = format!(
        "[kafka]\nbootstrap = \"localhost:1\"\n[pipelines.p]\ntopics = [\"t\"]\ngroup = \"g\"\nhandler = {reference:?}\n\
         output.topic = \"out\"\non_exhausted = \"stop\"\ndev = {{ sample = \"s.jsonl\", build = [\"no-such-program\"] }}\n"
    );
    std::fs::write(machine.path("wasmill.toml"), config)?;
    std::fs::write(machine.path("s.jsonl"), "{\"value\": \"hello\"}\n")?;
    std::fs::create_dir(machine.path("cases"))?;
    let case =
        "[[case]]\nname = \"upper\"\n[[case.message]]\nvalue = \"hello\"\nexpect.output = [{ value = \"HELLO\" }]\n";
    std::fs::write(machine.path("cases/a.toml"), case)?;
    machine.wasmill(&["dev", "--once", "."])?.said(0, &["is used as it is: nothing is built", "HELLO"])?;
    machine.wasmill(&["test", "."])?.said(0, &[])?;
    registry.stop();
    machine.wasmill(&["test", "."])?.said(0, &["warning: ", "from the cache, as it was last seen"])
}

#[test]
fn a_running_pipeline_takes_over_what_a_registry_has_now_and_never_what_it_had() -> Result<()> {
    let (registry, machine) = (Registry::start(&Options::default())?, Machine::new()?);
    let shared = shared()?;
    let case = Case::new(&shared.eye, "registry-swap", 1)?;
    let reference = registry.reference("swap:1");
    let old = machine.push("upper", &reference)?;
    let mut options = case.options(&shared.broker.bootstrap(), "upper", "")?;
    options.pipelines = options.pipelines.replace(&guest("upper")?, text(&old["pinned"])?);
    for (name, value) in machine.variables() {
        options = options.env(&name, &value.display().to_string());
    }
    let mut mill = Mill::start(&options)?;
    let config = mill.folder().join("wasmill.toml").display().to_string();
    let swap = || machine.wasmill(&["swap", &case.name, &reference, "--json", "--config", &config]);
    machine.loaded(&reference)?;
    registry.stop();
    swap()?.said(1, &["does not answer"])?;
    registry.start_again()?;
    let new = machine.push("echo", &reference)?;
    let done = swap()?;
    done.said(0, &[])?;
    assert_eq!(done.json()?["to"]["digest"], new["sha256"], "{}", done.out);
    let status = mill.status()?;
    let drift = status.to_string();
    ensure!(drift.contains("a restart runs") && drift.contains(text(&old["pinned"])?), "{drift}");
    ensure!(mill.stop()?.success());
    Ok(())
}
