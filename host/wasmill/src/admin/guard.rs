//! Who may change something, or see what messages said. A web page can make a browser talk to a loopback port, so such a call
//! needs the token, a Host that names this machine, and no Origin.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use subtle::ConstantTimeEq as _;
use wasmill_config as config;

use super::request::refuse;
use super::state::State;

/// Bytes that a token's file may have.
pub const TOKEN_BYTES: u64 = 64 << 10;

/// Where the token is: as configured, else in the folder of what the process keeps.
pub fn token_path(admin: Option<&config::Admin>, state: &Path) -> PathBuf {
    let configured = admin.and_then(|admin| admin.token_file.clone());
    configured.unwrap_or_else(|| state.join("admin-token"))
}

/// The token in `path`; a new one, readable by its owner only, if there is no such file. Where it cannot be kept nobody
/// knows it, and the process goes on: it may be meant to be looked at and never changed.
pub fn load_token(path: &Path) -> anyhow::Result<String> {
    match config::file::read_text(path, TOKEN_BYTES) {
        Ok(token) => {
            let mode = fs::metadata(path)?.permissions().mode();
            // A secret that is mounted has the mode 0440 and a group of its own.
            anyhow::ensure!(
                mode & 0o027 == 0,
                "token file {} can be read by everybody or written by its group; hint: chmod 600 {}",
                path.display(),
                path.display()
            );
            let token = token.trim().to_owned();
            anyhow::ensure!(token.len() >= 16, "token file {} holds fewer than 16 characters", path.display());
            Ok(token)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
            if let Err(error) = keep_token(path, &token) {
                tracing::warn!(
                    path = %path.display(), error = format!("{error:#}"),
                    "the admin token cannot be kept, so calls that change something are refused; hint: set \
                     admin.token_file to a file that is there, or state to a folder that can be written"
                );
            }
            Ok(token)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the admin token from {}", path.display())),
    }
}

fn keep_token(path: &Path, token: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(writeln!(file, "{token}")?)
}

/// Whether the Host names this machine. DNS rebinding makes a foreign name resolve to loopback.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(name, "localhost" | "127.0.0.1" | "::1")
}

/// Lets through who may change something. Before anything of the body is read: whoever may not is not even listened to.
pub async fn guard(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    match may_change(request.headers(), &state.token, state.allow_remote) {
        Ok(()) => next.run(request).await,
        Err((status, text)) => refuse(status, text).into_response(),
    }
}

/// Whether a call may change something; else what to answer.
fn may_change(headers: &HeaderMap, token: &str, allow_remote: bool) -> Result<(), (StatusCode, &'static str)> {
    if headers.contains_key(header::ORIGIN) {
        return Err((StatusCode::FORBIDDEN, "calls from web pages are refused"));
    }
    if !allow_remote && !names_this_machine(headers) {
        return Err((StatusCode::FORBIDDEN, "the Host header must name this machine"));
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        // Its time does not tell how much was right.
        Some(given) if bool::from(given.as_bytes().ct_eq(token.as_bytes())) => Ok(()),
        Some(_) => Err((StatusCode::UNAUTHORIZED, "the token is another one")),
        None => Err((StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer ...")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header value"))).collect()
    }

    #[test]
    fn a_change_needs_the_token_a_loopback_host_and_no_origin() {
        let good = [(header::HOST, "127.0.0.1:9464"), (header::AUTHORIZATION, "Bearer secret")];
        assert!(may_change(&headers(&good), "secret", false).is_ok());
        assert!(may_change(&headers(&good), "other", false).is_err());
        assert!(may_change(&headers(&good[..1]), "secret", false).is_err());
        let page = [good.to_vec(), vec![(header::ORIGIN, "http://localhost")]].concat();
        assert!(may_change(&headers(&page), "secret", false).is_err());
        let rebound = [(header::HOST, "evil.example"), good[1].clone()];
        assert!(may_change(&headers(&rebound), "secret", false).is_err());
        assert!(may_change(&headers(&rebound), "secret", true).is_ok());
        assert!(may_change(&headers(&[(header::HOST, "[::1]:9464"), good[1].clone()]), "secret", false).is_ok());
    }

    #[test]
    fn a_token_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/token");
        let first = load_token(&path).expect("a new token");
        assert_eq!(load_token(&path).expect("the same token"), first);
        for (mode, fine) in [(0o644, false), (0o660, false), (0o440, true), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
            assert_eq!(load_token(&path).is_ok(), fine, "{mode:o}");
        }
        // Nothing can be made there.
        assert!(load_token(Path::new("/proc/nowhere/token")).is_ok());
    }
}
