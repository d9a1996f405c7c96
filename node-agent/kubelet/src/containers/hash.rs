//! The digest that tells whether a running container still is what its pod declares. Only the image of a container may change in place, so
//! only name and image count. The function is fixed: values live in containerd across kubelet versions.

use k8s_openapi::api::core::v1::Container;

/// FNV-1a (64 bits) of the fields, in hexadecimal.
pub fn hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    let bytes = container.name.bytes().chain([0]).chain(image.bytes());
    let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_and_image_count_and_the_value_is_stable() {
        let container = Container { name: "a".into(), image: Some("busybox:1".into()), ..Container::default() };
        let same = Container { working_dir: Some("/".into()), ..container.clone() };
        let other = Container { image: Some("busybox:2".into()), ..container.clone() };
        assert_eq!(hash(&container), hash(&same));
        assert_ne!(hash(&container), hash(&other));
        assert_eq!(hash(&Container::default()), "af63bd4c8601b7df");
    }
}
