//! Who this node is towards the API server and its callers: a client certificate in a kubeconfig file and a serving certificate, both asked for by
//! CertificateSigningRequests and renewed well before they end. Whoever shares the kubeconfig (the node's agent) follows the file ([`follow`]).
//!
//! [`when`] decides, [`ask`] asks, [`renew`] goes on doing so; [`kubeconfig`] and [`files`] keep what came.

pub mod ask;
pub mod certificate;
pub mod files;
pub mod follow;
pub mod kubeconfig;
pub mod renew;
pub mod when;

use std::path::{Path, PathBuf};

use http::HeaderValue;
use kube::Client;

use crate::error::Error;
use ask::{CLIENT_SIGNER, Wish};
use certificate::{Certificate, Names};
use kubeconfig::Document;
use when::{Step, Validity};

/// Where a node's credentials are and whose they are.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The store of the client certificate, and what clients follow.
    pub kubeconfig: PathBuf,
    /// With what identity to ask for the first certificate, and again when the one that there is has ended.
    pub bootstrap: Option<PathBuf>,
    /// Directory for keys that wait for their certificates, and for the serving certificate.
    pub pki_dir: PathBuf,
    /// Name of the node.
    pub node: String,
    /// How this program calls itself.
    pub user_agent: HeaderValue,
}

/// What a kubeconfig says of its client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A certificate of this node, with its key.
    Own(Validity),
    /// Credentials of another sort, or another's: they are used as they are and never replaced.
    Foreign,
}

impl Credentials {
    /// Makes sure that there is a kubeconfig to begin with: one that is there and has not ended, or one that is asked for with the bootstrap
    /// credentials. Without those nothing is done. Tries until it succeeds; drop the future to give up.
    ///
    /// # Errors
    /// The bootstrap file cannot be used, or a directory cannot be made: trying again would not help.
    pub async fn join(&self) -> Result<(), Error> {
        let Some(bootstrap) = &self.bootstrap else { return Ok(()) };
        if self.is_usable() {
            return Ok(());
        }
        Document::read(bootstrap)?;
        follow::open(bootstrap, &self.user_agent).await?;
        files::directory(&self.pki_dir)?;
        if let Some(directory) = self.kubeconfig.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            files::directory(directory)?;
        }
        let mut failures = 0;
        while let Err(error) = self.ask_by(bootstrap).await {
            failures += 1;
            let pause = when::retry(failures, rand::random_range(0.0..1.0));
            tracing::warn!(%error, ?pause, node = self.node, "the node cannot join yet");
            tokio::time::sleep(pause).await;
        }
        tracing::info!(node = self.node, kubeconfig = %self.kubeconfig.display(), "the node has credentials of its own");
        Ok(())
    }

    /// Whether there is a kubeconfig that can be begun with.
    fn is_usable(&self) -> bool {
        match self.held() {
            Ok((_, Held::Foreign)) => true,
            Ok((_, Held::Own(validity))) => when::step(validity, 0.0, renew::now()) != Step::Over,
            Err(error) => {
                if self.kubeconfig.exists() {
                    tracing::warn!(%error, "the kubeconfig cannot be used; another is asked for");
                }
                false
            }
        }
    }

    /// The kubeconfig as it is, and what its certificate is.
    fn held(&self) -> Result<(Document, Held), Error> {
        let document = Document::read(&self.kubeconfig)?;
        let held = held(&document, &self.node);
        Ok((document, held))
    }

    /// Asks for a client certificate with the bootstrap credentials as they are now: somebody may have put a new token in the place of one that has expired.
    async fn ask_by(&self, bootstrap: &Path) -> Result<(), Error> {
        let (document, client) = (Document::read(bootstrap)?, follow::open(bootstrap, &self.user_agent).await?);
        self.ask_client(&client, &document).await
    }

    /// Asks for a client certificate with `client`'s identity, and writes the kubeconfig: `document` with it.
    async fn ask_client(&self, client: &Client, document: &Document) -> Result<(), Error> {
        let pending = self.pki_dir.join("kubelet-client.key.pending");
        let wish = Wish { signer: CLIENT_SIGNER, node: &self.node, names: &Names::default() };
        let issued = ask::certificate(client, wish, &pending).await?;
        let text = document.with_certificate(&certificate::user(&self.node), &issued.certificate_pem, &issued.key_pem);
        files::write(&self.kubeconfig, &text)?;
        ask::done(&pending)
    }
}

/// What the certificate of a kubeconfig is to this node.
pub fn held(document: &Document, node: &str) -> Held {
    let (Some(pem), Some(key)) = (document.certificate_pem(), document.key_pem()) else { return Held::Foreign };
    match Certificate::parse(&pem) {
        Ok(found) if found.common_name == certificate::user(node) && found.is_of(&key) => Held::Own(found.validity),
        _ => Held::Foreign,
    }
}

/// Writes the authority's certificate of a kubeconfig into a file of its own, for the server of a node that has no other.
///
/// # Errors
/// The kubeconfig cannot be read or names no authority, or the file cannot be written.
pub fn extract_authority(kubeconfig: &Path, file: &Path) -> Result<(), Error> {
    let pem = Document::read(kubeconfig)?.authority_pem();
    let pem = pem.ok_or_else(|| Error::Invalid(format!("{} names no certificate authority", kubeconfig.display())))?;
    if let Some(directory) = file.parent() {
        files::directory(directory)?;
    }
    files::write(file, &pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn only_a_certificate_of_this_node_with_its_key_is_its_own() {
        let empty =
            "clusters: [{name: c, cluster: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: []\ncurrent-context: c\n";
        let empty = Document::parse(empty).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "system:node:n");
        let pem = params.self_signed(&key).unwrap().pem();
        let other = KeyPair::generate().unwrap().serialize_pem();
        let with = |certificate: &str, key: &str| Document::parse(&empty.with_certificate("u", certificate, key)).unwrap();
        let own = with(&pem, &key.serialize_pem());
        assert!(matches!(held(&own, "n"), Held::Own(_)));
        assert_eq!(held(&own, "m"), Held::Foreign, "another node's");
        assert_eq!(held(&with(&pem, &other), "n"), Held::Foreign, "another key");
        assert_eq!(held(&with("x", &other), "n"), Held::Foreign);
        assert_eq!(held(&empty, "n"), Held::Foreign);
    }
}
