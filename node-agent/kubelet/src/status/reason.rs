//! Reasons that users see in container states, named as Kubernetes names them.

use k8s_openapi::api::core::v1::Container;

/// Why a container waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// CamelCase, as in `ImagePullBackOff`.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Waiting {
    /// A reason with a message.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }

    /// What a failed pull becomes while the next try is not due.
    pub fn after_failed_pull(&self, container: &Container) -> Option<Self> {
        let image = container.image.as_deref().unwrap_or_default();
        (self.reason == ERR_IMAGE_PULL).then(|| Self::pull_held(image, &self.message))
    }

    /// The next try to pull an image is not due; the last one failed for this `cause`.
    pub fn pull_held(image: &str, cause: &str) -> Self {
        Self::new(IMAGE_PULL_BACK_OFF, format!("{}: {ERR_IMAGE_PULL}: {cause}", back_off_pulling(image)))
    }
}

/// The text of the event about it; why the pull failed has an event of its own.
pub fn back_off_pulling(image: &str) -> String {
    format!("Back-off pulling image \"{image}\"")
}

/// A pull failed just now.
pub const ERR_IMAGE_PULL: &str = "ErrImagePull";
/// A pull failed before; the next try is due later.
pub const IMAGE_PULL_BACK_OFF: &str = "ImagePullBackOff";
/// The policy is Never and the image is not on the node.
pub const ERR_IMAGE_NEVER_PULL: &str = "ErrImageNeverPull";
/// The image's name cannot be read.
pub const INVALID_IMAGE_NAME: &str = "InvalidImageName";
/// The runtime could not be asked about the image.
pub const IMAGE_INSPECT_ERROR: &str = "ImageInspectError";
/// A referenced object, key or user makes the configuration impossible.
pub const CREATE_CONTAINER_CONFIG_ERROR: &str = "CreateContainerConfigError";
/// The runtime refused to create the container.
pub const CREATE_CONTAINER_ERROR: &str = "CreateContainerError";
/// The runtime could not start the container.
pub const RUN_CONTAINER_ERROR: &str = "RunContainerError";
/// The postStart hook failed.
pub const POST_START_HOOK_ERROR: &str = "PostStartHookError";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_pull_is_held_with_its_cause() {
        let container = Container { image: Some("a/b:1".into()), ..Container::default() };
        let held = Waiting::new(ERR_IMAGE_PULL, "rpc error: code = NotFound desc = no").after_failed_pull(&container).unwrap();
        assert_eq!(held.reason, "ImagePullBackOff");
        assert_eq!(held.message, "Back-off pulling image \"a/b:1\": ErrImagePull: rpc error: code = NotFound desc = no");
        assert_eq!(held.after_failed_pull(&container), None);
    }
}
