//! The two tasks that keep a node's certificates good while it runs. They end only when they are dropped; what fails is tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::Client;

use super::ask::{self, Issued, SERVING_SIGNER, Wish};
use super::certificate::{self, Certificate, Names};
use super::when::{self, Step, Validity};
use super::{Credentials, Held, files};
use crate::error::Error;
use crate::server::tls::Serving;

/// The longest wait without a look at clock and file: a host that slept wakes up to it soon, and a file that somebody else has replaced is seen.
const LOOK: Duration = Duration::from_secs(60);

/// Unix seconds.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn share() -> f64 {
    rand::random_range(0.0..1.0)
}

/// The moment at which each certificate is due: drawn once for each.
#[derive(Default)]
struct Moment(Option<(Validity, f64)>);

impl Moment {
    fn step(&mut self, validity: Validity) -> Step {
        let share = match self.0 {
            Some((known, share)) if known == validity => share,
            _ => share(),
        };
        self.0 = Some((validity, share));
        when::step(validity, share, now())
    }
}

/// Renews the client certificate in the kubeconfig for as long as it runs. `client` follows that file.
pub async fn keep_client(credentials: Credentials, client: Client) {
    let (mut moment, mut failures, mut told) = (Moment::default(), 0, false);
    loop {
        let pause = match client_step(&credentials, &client, &mut moment).await {
            Ok(Some(pause)) => {
                failures = 0;
                pause.min(LOOK)
            }
            Ok(None) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!("the credentials are not a certificate of this node: they are not renewed");
                }
                LOOK
            }
            Err(error) => {
                failures += 1;
                let pause = when::retry(failures, share());
                tracing::warn!(%error, ?pause, "the client certificate cannot be renewed yet");
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// One look: how long the next may wait; `None` where there is nothing to renew. Renews what is due.
async fn client_step(credentials: &Credentials, client: &Client, moment: &mut Moment) -> Result<Option<Duration>, Error> {
    let (document, held) = credentials.held()?;
    let Held::Own(validity) = held else { return Ok(None) };
    match moment.step(validity) {
        Step::Wait(pause) => return Ok(Some(pause)),
        Step::Renew => {
            files::directory(&credentials.pki_dir)?;
            credentials.ask_client(client, &document).await?;
        }
        // The server does not know it any more; only another identity can ask.
        Step::Over => {
            let Some(bootstrap) = &credentials.bootstrap else {
                return Err(Error::Invalid("the client certificate has ended, and there are no bootstrap credentials".to_owned()));
            };
            files::directory(&credentials.pki_dir)?;
            credentials.ask_by(bootstrap).await?;
        }
    }
    tracing::info!(node = credentials.node, "the client certificate was renewed");
    // Not at once: one that is due from its beginning (its authority ends) is not asked for in a hurry.
    Ok(Some(LOOK))
}

/// What the serving certificate is to be, and where it is kept.
#[derive(Clone, Debug)]
pub struct ServingFile {
    pub node: String,
    pub names: Names,
    /// Key and certificates in one file, so that one rename replaces both.
    pub file: PathBuf,
    /// The key while its certificate is asked for.
    pub pending: PathBuf,
    /// Who signs: of another authority, the certificate is worth nothing to the API server. PEM.
    pub authority_pem: String,
}

impl ServingFile {
    /// The certificate in the file, if there is one that is of the authority, for these names, and not over.
    pub fn read(&self) -> Option<(Issued, Validity)> {
        let text = files::read(&self.file).unwrap_or_else(|error| {
            tracing::warn!(%error, "the serving certificate cannot be read; another is asked for");
            None
        })?;
        let issued = split(&text)?;
        let found = Certificate::parse(&issued.certificate_pem).ok()?;
        let is_good = found.is_of(&issued.key_pem)
            && found.names == self.names
            && certificate::is_signed_by(&issued.certificate_pem, &self.authority_pem)
            && when::step(found.validity, 0.0, now()) != Step::Over;
        is_good.then_some((issued, found.validity))
    }

    fn write(&self, issued: &Issued) -> Result<(), Error> {
        files::write(&self.file, &format!("{}{}", issued.key_pem, issued.certificate_pem))
    }
}

/// The parts of a file with a key and then certificates.
fn split(text: &str) -> Option<Issued> {
    let at = text.find("-----BEGIN CERTIFICATE-----")?;
    let (key, certificates) = text.split_at(at);
    Some(Issued { key_pem: key.to_owned(), certificate_pem: certificates.to_owned() })
}

/// Keeps the server's certificate good for as long as it runs: shows what is in the file, and asks for another when there is none or when it is due.
pub async fn keep_serving(wanted: ServingFile, client: Client, serving: Arc<Serving>) {
    let (mut moment, mut failures) = (Moment::default(), 0);
    loop {
        let pause = match serving_step(&wanted, &client, &serving, &mut moment).await {
            Ok(pause) => {
                failures = 0;
                pause.min(LOOK)
            }
            Err(error) => {
                failures += 1;
                let pause = when::retry(failures, share());
                tracing::warn!(%error, ?pause, "the serving certificate cannot be renewed yet");
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn serving_step(wanted: &ServingFile, client: &Client, serving: &Serving, moment: &mut Moment) -> Result<Duration, Error> {
    let held = match wanted.read() {
        Some((issued, validity)) => {
            serving.show(&issued.certificate_pem, &issued.key_pem)?;
            Some(validity)
        }
        // What was given at the start, while it is good.
        None => serving.given().filter(|given| given.names == wanted.names).map(|given| given.validity),
    };
    if let Some(Step::Wait(pause)) = held.map(|validity| moment.step(validity)) {
        return Ok(pause);
    }
    if let Some(directory) = wanted.file.parent() {
        files::directory(directory)?;
    }
    let wish = Wish { signer: SERVING_SIGNER, node: &wanted.node, names: &wanted.names };
    let issued = ask::certificate(client, wish, &wanted.pending).await?;
    wanted.write(&issued)?;
    ask::done(&wanted.pending)?;
    if wanted.read().is_none() {
        return Err(Error::Invalid("the serving certificate that was issued is not what was asked for".to_owned()));
    }
    serving.show(&issued.certificate_pem, &issued.key_pem)?;
    tracing::info!(node = wanted.node, "the serving certificate was renewed");
    Ok(LOOK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};

    #[test]
    fn each_certificate_has_one_moment() {
        let mut moment = Moment::default();
        let validity = Validity { not_before: now(), not_after: now() + 1_000_000 };
        let Step::Wait(first) = moment.step(validity) else { panic!("it is new") };
        for _ in 0..20 {
            let Step::Wait(again) = moment.step(validity) else { panic!("it is new") };
            // The clock may go on between.
            assert!(first.abs_diff(again) < Duration::from_secs(60), "{first:?} {again:?}");
        }
    }

    #[test]
    fn a_serving_certificate_is_used_only_if_it_is_what_is_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let authority = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let pem = params.self_signed(&key).unwrap().pem();
            (pem, Issuer::new(params, key))
        };
        let ((pem, issuer), (other_pem, _)) = (authority("a"), authority("b"));
        let names = Names { dns: ["n".to_owned()].into(), ips: ["192.0.2.1".parse().unwrap()].into() };
        let wanted = ServingFile {
            node: "n".into(),
            names: names.clone(),
            file: directory.path().join("current.pem"),
            pending: directory.path().join("pending"),
            authority_pem: pem,
        };
        assert!(wanted.read().is_none());
        let key_pem = certificate::generate().unwrap();
        let request = certificate::request(&key_pem, "n", &names).unwrap();
        let sign = |end: (i32, u8, u8)| {
            let mut request = CertificateSigningRequestParams::from_pem(&request).unwrap();
            request.params.not_after = rcgen::date_time_ymd(end.0, end.1, end.2);
            request.signed_by(&issuer).unwrap().pem()
        };
        wanted.write(&Issued { key_pem: key_pem.clone(), certificate_pem: sign((2100, 1, 1)) }).unwrap();
        assert!(wanted.read().is_some_and(|(issued, _)| issued.key_pem == key_pem));
        let elsewhere = ServingFile { authority_pem: other_pem, ..wanted.clone() };
        assert!(elsewhere.read().is_none(), "of another authority");
        let moved = ServingFile { names: Names { ips: ["192.0.2.2".parse().unwrap()].into(), ..names }, ..wanted.clone() };
        assert!(moved.read().is_none(), "of another address");
        wanted.write(&Issued { key_pem: certificate::generate().unwrap(), certificate_pem: sign((2100, 1, 1)) }).unwrap();
        assert!(wanted.read().is_none(), "of another key");
        wanted.write(&Issued { key_pem, certificate_pem: sign((2020, 1, 1)) }).unwrap();
        assert!(wanted.read().is_none(), "it has ended");
        std::fs::write(&wanted.file, "x").unwrap();
        assert!(wanted.read().is_none());
    }
}
