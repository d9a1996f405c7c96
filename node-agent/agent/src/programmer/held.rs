//! Pods that are to be attached before it is known which policies hold for them: they wait, a pod that has started cannot be called back.

use super::known::Unseen;
use super::{Programmer, Reply, Waiting, answer, refusal};
use crate::attachments::owner;
use crate::progress::Kind;
use orknet_cni::protocol::{self, AttachmentName, PodName, Reason};
use orknet_compiler::Owner;
use std::time::{Duration, Instant};

/// How long a pod's object is waited for, and the cluster's policies. Less than the plugin waits for its answer; what is refused is tried again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pod that waits.
struct Held {
    record: protocol::Attachment,
    reply: Reply,
    until: Instant,
}

/// Those that wait.
#[derive(Default)]
pub(super) struct HeldPods(Vec<Held>);

impl HeldPods {
    /// When the first of them has waited long enough.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.iter().map(|held| held.until).min()
    }

    /// Those of that name wait no longer.
    fn drop_pod(&mut self, name: &AttachmentName) {
        let gone = self.0.extract_if(.., |held| held.record.attachment == *name);
        gone.for_each(|held| answer(held.reply, Err(refusal(Reason::NotFound, "the pod was detached meanwhile"))));
    }
}

/// What a pod's attachment waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    /// Not all of the cluster has been seen since the agent started.
    Cluster,
    /// The watch of a kind fails.
    Sight(Kind),
    Pod,
    Namespace,
}

impl Programmer {
    /// Attaches a pod, or has it wait.
    pub(super) fn attach_once_known(&mut self, record: protocol::Attachment, reply: Reply, waiting: &mut Waiting) {
        self.held.drop_pod(&record.attachment);
        match self.owner_of(&record) {
            Ok(owner) => self.attach(&record, owner, reply, waiting),
            Err(_) => self.held.0.push(Held { record, reply, until: Instant::now() + PATIENCE }),
        }
    }

    /// A pod that waits is to be forgotten.
    pub(super) fn drop_held(&mut self, name: &AttachmentName) {
        self.held.drop_pod(name);
    }

    /// Attaches those who need wait no longer; refuses those who have waited for too long.
    pub(super) fn settle_held(&mut self, now: Instant, waiting: &mut Waiting) {
        for held in std::mem::take(&mut self.held.0) {
            match self.owner_of(&held.record) {
                Ok(owner) => self.attach(&held.record, owner, held.reply, waiting),
                Err(_) if now < held.until => self.held.0.push(held),
                Err(lacks) => answer(held.reply, Err(refusal(Reason::NotReady, lacks.words(&held.record.pod, &self.unseen)))),
            }
        }
    }

    /// Whose policies hold for a pod: `None` for what is none of the API's, or where no policies count.
    fn owner_of(&self, record: &protocol::Attachment) -> Result<Option<Owner>, Lacks> {
        let Some(mut owner) = owner(&record.pod).filter(|_| self.has_policies) else { return Ok(None) };
        // Services, too: before, nothing but what is there already is planned.
        if !self.is_synced() {
            return Err(Lacks::Cluster);
        }
        // What was seen until a watch failed may not be all by now: a policy that somebody made before the pod.
        if let Some(kind) = self.behind.iter().find(|kind| kind.is_vital()) {
            return Err(Lacks::Sight(*kind));
        }
        let seen = self.state.pod_uid(&owner.pod).ok_or(Lacks::Pod)?;
        if record.pod.uid.is_empty() {
            // A runtime that does not say so means the one that there is.
            owner.uid = seen;
        }
        if owner.uid != seen {
            // Another one of its name, most likely the last one: its labels mean nothing.
            return Err(Lacks::Pod);
        }
        // A new one may come by its watch a moment later than the pod by the pods'.
        if self.state.knows_namespace(&owner.pod.namespace) { Ok(Some(owner)) } else { Err(Lacks::Namespace) }
    }
}

impl Lacks {
    fn words(self, pod: &PodName, unseen: &Unseen) -> String {
        let PodName { namespace, name, uid } = pod;
        match self {
            Self::Cluster => unseen.words(),
            Self::Sight(kind) => {
                let kind = kind.name();
                format!(
                    "the agent has not yet seen all changes of kind {kind}, which it cannot watch, and so does not know the policies of {namespace}/{name}"
                )
            }
            Self::Namespace => {
                format!("the agent has not yet seen the namespace {namespace} in the API, and so does not know the policies of {name}")
            }
            Self::Pod => {
                format!("the agent has not yet seen the pod {namespace}/{name} (uid {uid}) in the API, and so does not know its policies")
            }
        }
    }
}
