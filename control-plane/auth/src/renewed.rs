//! Certificates that never end while they are used: whoever shakes hands gets one that was issued lately. There is no task and no timer: the one
//! that is due is issued when it is asked for, so that a host that slept has a fresh one at once.

use crate::pki::{KeyAndCertificate, Pki, PkiError, certified};
use parking_lot::Mutex;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What the certificate says.
enum Subject {
    Serving { name: String, dns: Vec<String>, ips: Vec<IpAddr> },
    Client { user: String, group: Option<String> },
}

/// A key and a certificate of this process's own authority, both made anew when two thirds of the certificate's life are over.
pub struct Renewed {
    pki: Arc<Pki>,
    subject: Subject,
    life: Duration,
    current: Mutex<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    issued: SystemTime,
    due: SystemTime,
}

impl Renewed {
    /// Of a server with these DNS names and addresses; each certificate is good for `life`.
    pub fn serving(pki: Arc<Pki>, name: &str, dns: Vec<String>, ips: Vec<IpAddr>, life: Duration) -> Result<Self, PkiError> {
        Self::new(pki, Subject::Serving { name: name.to_owned(), dns, ips }, life)
    }

    /// Of a client.
    pub fn client(pki: Arc<Pki>, user: &str, group: Option<&str>, life: Duration) -> Result<Self, PkiError> {
        Self::new(pki, Subject::Client { user: user.to_owned(), group: group.map(str::to_owned) }, life)
    }

    fn new(pki: Arc<Pki>, subject: Subject, life: Duration) -> Result<Self, PkiError> {
        let first = issue(&pki, &subject, life)?;
        Ok(Self { pki, subject, life, current: Mutex::new(first) })
    }

    /// The certificate to show now, with its key.
    pub fn current(&self) -> Arc<CertifiedKey> {
        let now = self.pki.now();
        let mut current = self.current.lock();
        // A clock that was put back may be before the certificate's beginning.
        if now >= current.due || now < current.issued {
            match issue(&self.pki, &self.subject, self.life) {
                Ok(fresh) => {
                    tracing::info!(subject = %self.subject, "a certificate was renewed");
                    *current = fresh;
                }
                Err(error) => {
                    tracing::error!(subject = %self.subject, %error, "a certificate could not be renewed");
                    (current.issued, current.due) = (now, now + RETRY);
                }
            }
        }
        current.key.clone()
    }
}

fn issue(pki: &Pki, subject: &Subject, life: Duration) -> Result<Current, PkiError> {
    let issued = pki.now();
    let pair: KeyAndCertificate = match subject {
        Subject::Serving { name, dns, ips } => pki.issue_serving(name, dns, ips, life)?,
        Subject::Client { user, group } => pki.issue_client(user, group.as_deref(), life)?,
    };
    Ok(Current { key: Arc::new(certified(&pair)?), issued, due: issued + life * 2 / 3 })
}

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Renewed {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving { name, .. } => write!(f, "server {name}"),
            Self::Client { user, .. } => write!(f, "client {user}"),
        }
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewed({})", self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::UNIX_EPOCH;
    use x509_parser::prelude::{FromDer, X509Certificate};

    const HOUR: u64 = 3600;

    /// An authority whose clock shows the number.
    fn authority(directory: &std::path::Path, start: u64) -> (Arc<Pki>, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(start));
        let shown = time.clone();
        let clock = Arc::new(move || UNIX_EPOCH + Duration::from_secs(shown.load(Ordering::Relaxed)));
        (Arc::new(Pki::open_or_create(directory).unwrap().with_clock(clock)), time)
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn validity(key: &CertifiedKey) -> (i64, i64) {
        let (_, certificate) = X509Certificate::from_der(&key.cert[0]).unwrap();
        (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp())
    }

    #[test]
    fn a_certificate_is_issued_anew_well_before_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let start = now();
        let (pki, time) = authority(directory.path(), start);
        let renewed = Renewed::client(pki, "u", None, Duration::from_secs(3 * HOUR)).unwrap();
        let first = renewed.current();
        assert_eq!(validity(&first), ((start - 300) as i64, (start + 3 * HOUR) as i64));
        time.store(start + 2 * HOUR - 1, Ordering::Relaxed);
        assert!(Arc::ptr_eq(&first, &renewed.current()), "it is kept as long as it is not due");
        time.store(start + 2 * HOUR, Ordering::Relaxed);
        let second = renewed.current();
        assert_eq!(validity(&second).1, (start + 5 * HOUR) as i64);
        assert_ne!(first.cert, second.cert);
        assert!(Arc::ptr_eq(&second, &renewed.current()));
        // A host that slept for long, and a clock that was put back.
        time.store(start + 100 * HOUR, Ordering::Relaxed);
        assert_eq!(validity(&renewed.current()).1, (start + 103 * HOUR) as i64);
        time.store(start, Ordering::Relaxed);
        assert_eq!(validity(&renewed.current()).0, (start - 300) as i64);
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let directory = tempfile::tempdir().unwrap();
        let (pki, _) = authority(directory.path(), now());
        let end = pki.not_after.unix_timestamp();
        let renewed = Renewed::serving(pki, "s", vec!["a".into()], Vec::new(), 20 * crate::pki::YEAR).unwrap();
        assert_eq!(validity(&renewed.current()).1, end);
    }
}
