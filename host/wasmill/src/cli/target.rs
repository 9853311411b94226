//! The process that a command is about: its admin port, and the calls to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Body;
use ureq::http::Response;

use crate::admin;
use crate::api::error::Refusal;
use crate::config_file::{file, unreadable};
use crate::failure::Failure;

/// How long the admin port may take; a resume waits for the lane.
pub const ANSWER: Duration = Duration::from_secs(40);
/// How long a call may take that compiles handlers, tries them, or waits for pipelines to drain.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Which process is meant.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// The configuration the process runs with: tells the admin port and the token
    #[arg(long, default_value = "wasmill.toml")]
    config: PathBuf,
    /// The admin port, if it is not the configuration's, as in `127.0.0.1:9464`
    #[arg(long)]
    address: Option<String>,
}

impl Target {
    /// Base address, and the token or why there is none.
    fn find(&self) -> Result<(String, Result<String, Failure>), Failure> {
        let admin = wasmill_config::load_admin(&file(&self.config)).map_err(unreadable);
        if let Some(address) = &self.address {
            let token = admin.and_then(|(admin, state)| token(admin.as_ref(), &state));
            return Ok((format!("http://{address}"), token));
        }
        let (admin, state) = admin?;
        let Some(settings) = &admin else {
            let hint = format!(
                "{} has no [admin], so the process has no admin port; hint: add `[admin]` with `listen = \"127.0.0.1:9464\"`",
                self.config.display()
            );
            return Err(Failure::usage(anyhow::anyhow!(hint)));
        };
        Ok((format!("http://{}", settings.listen), token(Some(settings), &state)))
    }

    fn agent() -> ureq::Agent {
        ureq::Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false).build().into()
    }

    /// Looks at what needs the token, since it shows what messages said.
    pub fn get_private<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let (base, token) = self.find()?;
        let request = Self::agent().get(format!("{base}{path}")).header("Authorization", format!("Bearer {}", token?));
        read(request.call().map_err(|error| unreachable(&base, &error))?)
    }

    /// Looks.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let (base, _) = self.find()?;
        let answer = Self::agent().get(format!("{base}{path}")).call().map_err(|error| unreachable(&base, &error))?;
        read(answer)
    }

    /// Asks for a change.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        asked: &impl Serialize,
        patience: Duration,
    ) -> Result<T, Failure> {
        let body = serde_json::to_value(asked).context("the request as JSON")?.to_string();
        self.send(path, &[], patience, "application/json", body.as_bytes())
    }

    /// Sends a body of any kind; the query's values are what people typed.
    pub fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        patience: Duration,
        kind: &str,
        body: &[u8],
    ) -> Result<T, Failure> {
        let (base, token) = self.find()?;
        let request = Self::agent()
            .post(format!("{base}{path}"))
            .query_pairs(query.iter().copied())
            .header("Authorization", format!("Bearer {}", token?))
            .header("Content-Type", kind)
            // What is refused by its size is answered before it is sent; without this the answer would be lost behind a
            // broken pipe.
            .header("Expect", "100-continue")
            .config()
            .timeout_global(Some(patience))
            .build();
        read(request.send(body).map_err(|error| unreachable(&base, &error))?)
    }
}

/// The answer, or why the call was refused.
fn read<T: DeserializeOwned>(mut answer: Response<Body>) -> Result<T, Failure> {
    let succeeded = answer.status().is_success();
    let sent: Value = answer.body_mut().read_json().context("the admin port answered something else than JSON")?;
    understood(succeeded, sent)
}

fn understood<T: DeserializeOwned>(succeeded: bool, sent: Value) -> Result<T, Failure> {
    if succeeded {
        let hint = "is the process of another version than this command?";
        return T::deserialize(sent).map_err(|error| {
            anyhow::anyhow!("the answer of the admin port is not understood: {error}; hint: {hint}").into()
        });
    }
    let error = serde_json::from_value::<Refusal>(sent).map(|refusal| refusal.error);
    Err(anyhow::anyhow!("{}", error.as_deref().unwrap_or("the call was refused")).into())
}

/// The token that the process reads, too.
fn token(settings: Option<&wasmill_config::Admin>, state: &Path) -> Result<String, Failure> {
    let path = admin::token_path(settings, state);
    let text = wasmill_config::file::read_text(&path, admin::TOKEN_BYTES).with_context(|| {
        let hint =
            "`wasmill run` makes it when it opens the admin port; name the process's configuration with --config";
        format!("cannot read the admin token {}; hint: {hint}", path.display())
    })?;
    Ok(text.trim().to_owned())
}

fn unreachable(base: &str, error: &ureq::Error) -> Failure {
    anyhow::anyhow!("nothing answers at {base}: {error}; hint: is `wasmill run` running with this configuration?")
        .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::operate::Paused;

    #[test]
    fn an_answer_is_read_and_a_refusal_is_told_in_its_own_words() {
        let of = |succeeded, sent| understood::<Paused>(succeeded, sent).map_err(|failure| failure.to_string());
        assert_eq!(of(true, json!({ "paused": ["in/0"] })), Ok(Paused { paused: vec!["in/0".to_owned()] }));
        assert_eq!(of(false, json!({ "error": "no", "gate": "size", "reason": "r" })), Err("no".to_owned()));
        assert_eq!(of(false, json!({ "gate": "size" })), Err("the call was refused".to_owned()));
        let error = of(true, json!({ "resumed": [] })).expect_err("another answer");
        assert!(error.contains("missing field `paused`; hint: "), "{error}");
    }
}
