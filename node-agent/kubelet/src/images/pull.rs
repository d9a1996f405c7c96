//! Brings a container's image to the node, by its pull policy, with back-off after failures.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;

use super::{credentials, name};
use crate::api::Cluster;
use crate::cri::Cri;
use crate::cri::proto::{Image, PodSandboxConfig};
use crate::pods::PodKey;
use crate::pods::backoff::Backoff;
use crate::status::reason::{self, Waiting};

/// An image that is on the node.
#[derive(Clone, Debug)]
pub struct Ensured {
    /// The reference for creating containers.
    pub reference: String,
    /// What containerd says about it.
    pub image: Image,
    /// It was pulled just now.
    pub pulled: bool,
}

/// Says what happens to an image, as events.
pub type Tell<'a> = &'a (dyn Fn(bool, &'static str, String) + Send + Sync);

/// Pulls images for one pod and remembers failures.
#[derive(Debug, Default)]
pub struct Puller {
    backoff: Backoff,
    failed: std::collections::BTreeMap<String, (Timestamp, String)>,
}

impl Puller {
    /// Makes sure that the container's image is on the node. Takes as long as a pull takes; dropping the future gives the pull up.
    ///
    /// # Errors
    /// Why the container waits, with the time of the next try when it is known.
    pub async fn ensure(
        &mut self,
        cri: &Cri,
        cluster: &dyn Cluster,
        pod: &Pod,
        container: &Container,
        sandbox: &PodSandboxConfig,
        tell: Tell<'_>,
    ) -> Result<Ensured, (Waiting, Option<Timestamp>)> {
        let asked = container.image.as_deref().unwrap_or_default();
        let Some(reference) = name::normalize(asked) else {
            let message =
                format!("Failed to apply default image tag \"{asked}\": couldn't parse image name \"{asked}\": invalid reference format");
            tell(true, "InspectFailed", message.clone());
            return Err((Waiting::new(reason::INVALID_IMAGE_NAME, message), None));
        };
        let present = cri.image(&reference).await.map_err(|error| {
            let message = format!("Failed to inspect image \"{asked}\": {}", error.as_rpc());
            tell(true, "InspectFailed", message.clone());
            (Waiting::new(reason::IMAGE_INSPECT_ERROR, message), None)
        })?;
        let policy =
            container.image_pull_policy.as_deref().unwrap_or(if reference.ends_with(":latest") { "Always" } else { "IfNotPresent" });
        match (policy, present) {
            ("Never" | "IfNotPresent", Some(image)) => {
                tell(false, "Pulled", format!("Container image \"{asked}\" already present on machine"));
                Ok(Ensured { reference: image.id.clone(), image, pulled: false })
            }
            ("Never", None) => {
                let message = format!("Container image \"{asked}\" is not present with pull policy of Never");
                tell(true, "ErrImageNeverPull", message.clone());
                Err((Waiting::new(reason::ERR_IMAGE_NEVER_PULL, message), None))
            }
            _ => self.pull(cri, cluster, pod, asked, &reference, sandbox, tell).await,
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn pull(
        &mut self,
        cri: &Cri,
        cluster: &dyn Cluster,
        pod: &Pod,
        asked: &str,
        reference: &str,
        sandbox: &PodSandboxConfig,
        tell: Tell<'_>,
    ) -> Result<Ensured, (Waiting, Option<Timestamp>)> {
        if let Some((at, error)) = self.failed.get(reference)
            && let Some((due, _)) = self.backoff.held(reference, *at, Timestamp::now())
        {
            tell(false, "BackOff", reason::back_off_pulling(asked));
            return Err((Waiting::pull_held(asked, error), Some(due)));
        }
        tell(false, "Pulling", format!("Pulling image \"{asked}\""));
        let begun = Instant::now();
        let secrets = pull_secrets(cluster, pod).await;
        let auth = credentials::find(secrets.iter().map(AsRef::as_ref), &name::repository(reference));
        let pulled = match cri.pull_image(reference, auth, sandbox.clone()).await {
            Ok(pulled) => cri.image(&pulled).await.map(|image| (pulled, image)),
            Err(error) => Err(error),
        };
        match pulled {
            Ok((pulled, Some(image))) => {
                tell(false, "Pulled", pulled_text(asked, begun.elapsed(), image.size));
                self.failed.remove(reference);
                self.backoff.forget(reference);
                Ok(Ensured { reference: pulled, image, pulled: true })
            }
            other => {
                let cause = match other {
                    Err(error) => error.as_rpc(),
                    Ok(_) => "the image was gone after its pull".to_owned(),
                };
                let now = Timestamp::now();
                self.backoff.advance(reference, now, now);
                self.failed.insert(reference.to_owned(), (now, cause.clone()));
                tell(true, "Failed", format!("Failed to pull image \"{asked}\": {cause}"));
                let due = self.backoff.held(reference, now, now).map(|(due, _)| due);
                Err((Waiting::new(reason::ERR_IMAGE_PULL, cause), due))
            }
        }
    }
}

/// Pulls do not queue: the time with waiting is the time of the pull.
fn pulled_text(asked: &str, took: Duration, size: u64) -> String {
    let took = shown(took);
    format!("Successfully pulled image \"{asked}\" in {took} ({took} including waiting). Image size: {size} bytes.")
}

/// A duration of whole milliseconds as Go writes it: `12ms`, `1.5s`, `1m0.25s`, `1h0m3s`.
fn shown(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if (1..1000).contains(&milliseconds) {
        return format!("{milliseconds}ms");
    }
    let (minutes, left) = (milliseconds / 60_000, milliseconds % 60_000);
    let fraction = format!(".{:03}", left % 1000);
    let seconds = format!("{}{}s", left / 1000, fraction.trim_end_matches('0').trim_end_matches('.'));
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// The pod's pull secrets that exist; the pull tells when one was needed.
async fn pull_secrets(cluster: &dyn Cluster, pod: &Pod) -> Vec<Arc<Secret>> {
    let key = PodKey::of(pod);
    let mut found = Vec::new();
    for reference in pod.spec.iter().flat_map(|s| s.image_pull_secrets.iter().flatten()) {
        match cluster.secret(&key.namespace, &reference.name).await {
            Ok(secret) => found.extend(secret),
            Err(error) => tracing::debug!(pod = %key, %error, "pull secret not read"),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [(0, "0s"), (7, "7ms"), (1000, "1s"), (1234, "1.234s"), (10_050, "10.05s"), (60_250, "1m0.25s"), (3_603_000, "1h0m3s")];
        for (milliseconds, want) in cases {
            assert_eq!(shown(Duration::from_millis(milliseconds)), want);
        }
    }

    #[test]
    fn a_pull_tells_time_and_size() {
        let want = "Successfully pulled image \"a:1\" in 1.5s (1.5s including waiting). Image size: 9 bytes.";
        assert_eq!(pulled_text("a:1", Duration::from_micros(1_500_700), 9), want);
    }
}
