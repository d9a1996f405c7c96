//! Which ConfigMaps and Secrets a pod refers to: by volumes, environment and pull secrets. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::declared;
use crate::containers::env;

/// Names in the pod's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
}

impl References {
    /// All that the pod refers to, whether it exists or not.
    pub fn of(pod: &Pod) -> Self {
        let mut made = Self::default();
        let Some(spec) = &pod.spec else { return made };
        made.secrets.extend(spec.image_pull_secrets.iter().flatten().map(|r| r.name.clone()));
        for declared in declared::all(spec) {
            let (config_maps, secrets) = env::references(&declared.container);
            made.config_maps.extend(config_maps);
            made.secrets.extend(secrets);
        }
        spec.volumes.iter().flatten().for_each(|volume| made.add_volume(volume));
        made.config_maps.remove("");
        made.secrets.remove("");
        made
    }

    fn add_volume(&mut self, volume: &Volume) {
        self.config_maps.extend(volume.config_map.iter().map(|s| s.name.clone()));
        self.secrets.extend(volume.secret.iter().filter_map(|s| s.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            self.config_maps.extend(source.config_map.iter().map(|s| s.name.clone()));
            self.secrets.extend(source.secret.iter().map(|s| s.name.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes_environment_and_pull_secrets_count() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [{"name": "a", "configMap": {"name": "cm-a"}}, {"name": "b", "secret": {"secretName": "s-b"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "cm-c"}}, {"secret": {"name": "s-c"}}]}}, {"name": "d", "emptyDir": {}}],
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "cm-i"}}]}],
            "containers": [{"name": "m", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s-m", "key": "k"}}}]}],
            "ephemeralContainers": [{"name": "e", "envFrom": [{"secretRef": {"name": "s-e"}}]}]}}))
        .unwrap();
        let made = References::of(&pod);
        assert_eq!(made.config_maps.iter().collect::<Vec<_>>(), ["cm-a", "cm-c", "cm-i"]);
        assert_eq!(made.secrets.iter().collect::<Vec<_>>(), ["pull", "s-b", "s-c", "s-e", "s-m"]);
        assert_eq!(References::of(&Pod::default()), References::default());
    }
}
