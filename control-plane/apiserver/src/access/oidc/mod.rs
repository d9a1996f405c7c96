//! OpenID Connect: tokens of issuers that the server is told of (`AuthenticationConfiguration`). What a file says ([`config`]), whether it makes sense
//! ([`validate`]) and what a token says of its holder ([`claims`]) is pure; [`keys`] talks to issuers.

mod claims;
mod config;
mod keys;
mod validate;
#[cfg(test)]
mod validate_tests;

use crate::cache::Caches;
use crate::in_place::in_place;
use claims::Mapper;
use config::{Anonymous, AuthenticationConfiguration, Issuer};
use keys::Keys;
use orknet_auth::Identity;
use orknet_auth::jws::{SignatureError, Unverified};
use orknet_auth::tokens::API_AUDIENCE;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);
const NO_KEYS: &str = "oidc: authenticator not initialized";

/// See the module.
pub struct Oidc {
    file: Option<File>,
    caches: Arc<Caches>,
    shutdown: CancellationToken,
    believed: RwLock<Arc<Believed>>,
}

/// The configuration's file, as it was at the start.
struct File {
    path: PathBuf,
    text: String,
}

/// Whom the server believes.
#[derive(Default)]
struct Believed {
    issuers: Vec<Trusted>,
    anonymous: Option<Anonymous>,
}

struct Trusted {
    issuer: Issuer,
    mapper: Mapper,
    keys: Arc<Keys>,
}

impl Oidc {
    /// Reads the configuration, if there is one, and begins to fetch keys. Blocking; within a runtime. The error says what is wrong with the file.
    pub fn open(path: Option<&Path>, caches: Arc<Caches>, shutdown: CancellationToken) -> Result<Self, String> {
        let mut this = Self { file: None, caches, shutdown, believed: RwLock::default() };
        if let Some(path) = path {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
            this.believe(&text)?;
            this.file = Some(File { path: path.to_owned(), text });
        }
        Ok(this)
    }

    /// Whose token this is; `None`: of no issuer that is known, or not to be believed, which is logged.
    pub async fn holder(&self, token: &str) -> Option<Identity> {
        let believed = self.believed.read().clone();
        if believed.issuers.is_empty() {
            return None;
        }
        let token = Unverified::parse(token)?;
        let issuer = claims::issuer(token.claims());
        let trusted = believed.issuers.iter().find(|trusted| trusted.issuer.url == issuer)?;
        match trusted.identity(&token).await {
            Ok(identity) => Some(identity),
            Err(why) => {
                tracing::info!(issuer, why, "a token is refused");
                None
            }
        }
    }

    /// Whether who shows nothing may ask for a path; `None`: the configuration leaves it to the server's setting.
    pub fn anonymous(&self, path: &str) -> Option<bool> {
        self.believed.read().anonymous.as_ref().map(|anonymous| anonymous.allows(path))
    }

    /// Follows the file until the server ends. What cannot be used is told of, and what was believed before stays so.
    pub async fn keep(&self) {
        let Some(File { path, text }) = &self.file else { return };
        let mut seen = text.clone();
        while self.shutdown.run_until_cancelled(sleep(LOOK)).await.is_some() {
            let text = match tokio::fs::read_to_string(path).await {
                Ok(text) => text,
                Err(error) => {
                    tracing::warn!(?path, %error, "the authentication configuration cannot be read; the one before holds");
                    continue;
                }
            };
            if text == seen {
                continue;
            }
            match in_place(|| self.believe(&text)) {
                Ok(()) => tracing::info!(?path, "the authentication configuration has changed"),
                Err(why) => tracing::error!(?path, why, "the authentication configuration cannot be used; the one before holds"),
            }
            seen = text;
        }
    }

    /// Believes those whom a configuration names from now on. Keys of issuers that were believed before stay known.
    fn believe(&self, text: &str) -> Result<(), String> {
        let checked = validate::check(AuthenticationConfiguration::parse(text)?, API_AUDIENCE)?;
        let before = self.believed.read().clone();
        let issuers = checked.issuers.into_iter().map(|(issuer, mapper)| {
            let known = before.issuers.iter().find(|trusted| trusted.keys.are_of(&issuer)).map(|trusted| trusted.keys.clone());
            let keys = known.unwrap_or_else(|| Arc::new(Keys::fetch(&issuer, self.caches.clone(), &self.shutdown)));
            Trusted { issuer, mapper, keys }
        });
        let believed = Believed { issuers: issuers.collect(), anonymous: checked.anonymous };
        *self.believed.write() = Arc::new(believed);
        Ok(())
    }
}

impl Trusted {
    /// Whose token this is. What can be told without its issuer is looked at first.
    async fn identity(&self, token: &Unverified<'_>) -> Result<Identity, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        claims::check_registered(token.claims(), &self.issuer, now)?;
        let keys = match self.keys.known() {
            Some(keys) => keys,
            None => self.keys.renewed().await.ok_or(NO_KEYS)?,
        };
        let mut verified = token.verify(&keys);
        if verified == Err(SignatureError::Key) {
            verified = token.verify(&*self.keys.renewed().await.ok_or(NO_KEYS)?);
        }
        verified.map_err(|why| format!("oidc: verify token: {why}"))?;
        in_place(|| self.mapper.identity(token.claims()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kinds;

    #[test]
    fn a_faulty_configuration_changes_nothing() {
        let caches = Arc::new(Caches::new(&Kinds::new(&[]), Arc::default()));
        let oidc = Oidc::open(None, caches, CancellationToken::new()).expect("no file");
        let file = |more: &str| format!("apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n{more}\n");
        oidc.believe(&file("anonymous: {enabled: true, conditions: [{path: /livez}]}")).expect("is right");
        let told = || (oidc.anonymous("/livez"), oidc.anonymous("/api"));
        assert_eq!(told(), (Some(true), Some(false)));
        for faulty in ["anonymous: {enabled: false, conditions: [{path: /api}]}", "jwt: [{issuer: {}, claimMappings: {}}]", "no: thing"] {
            assert!(oidc.believe(&file(faulty)).is_err(), "{faulty}");
            assert_eq!(told(), (Some(true), Some(false)), "{faulty}");
        }
        oidc.believe(&file("jwt: []")).expect("is right");
        assert_eq!(told(), (None, None));
    }
}
