//! The kubeconfig that is meant: one that is named, the local cluster's, or what `kubectl` would take.

use crate::cluster::layout::Cluster;
use anyhow::{Context, Result, bail};
use kube::config::Kubeconfig;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Reads it: the file that is named, the cluster's, those of `KUBECONFIG`, or `~/.kube/config`.
///
/// # Errors
/// When there is none, or one that cannot be read.
pub fn read(named: Option<PathBuf>, cluster: Option<&Cluster>) -> Result<Kubeconfig> {
    if let Some(path) = named.or_else(|| cluster.map(Cluster::kubeconfig_path)) {
        return file(&path);
    }
    of_environment(std::env::var_os("KUBECONFIG").as_deref(), std::env::var_os("HOME").as_deref())
}

/// What `kubectl` takes: the files of `KUBECONFIG` that exist, of which the first wins who says something; without that variable, or with an
/// empty one, `~/.kube/config` (ClientConfigLoadingRules of client-go).
fn of_environment(list: Option<&OsStr>, home: Option<&OsStr>) -> Result<Kubeconfig> {
    let named: Vec<PathBuf> =
        list.map(|list| std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()).unwrap_or_default();
    if named.is_empty() {
        let path = home.map(|home| Path::new(home).join(".kube/config")).filter(|path| path.exists());
        return file(&path.context("there is no kubeconfig; remedy: --kubeconfig FILE")?);
    }
    let there: Vec<_> = named.iter().filter(|path| path.exists()).collect();
    if there.is_empty() {
        bail!("of what KUBECONFIG names, nothing is there; remedy: --kubeconfig FILE");
    }
    let merged = |before: Kubeconfig, path: &PathBuf| before.merge(file(path)?).with_context(|| format!("with {}", path.display()));
    there.into_iter().try_fold(Kubeconfig::default(), merged)
}

/// One file. Paths within it are relative to where it is.
pub fn file(path: &Path) -> Result<Kubeconfig> {
    Kubeconfig::read_from(path).with_context(|| format!("{} cannot be used", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(name: &str) -> String {
        format!(
            "clusters: [{{name: {name}, cluster: {{server: \"https://{name}\", certificate-authority: ca.crt}}}}]\n\
             contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\ncurrent-context: {name}\n"
        )
    }

    #[test]
    fn the_files_of_the_variable_are_merged_and_those_that_are_missing_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["missing", "a", "b"].map(|name| directory.path().join(name));
        std::fs::write(&paths[1], kubeconfig("a")).unwrap();
        std::fs::write(&paths[2], kubeconfig("b")).unwrap();
        let list = std::env::join_paths(&paths).unwrap();
        let merged = of_environment(Some(&list), None).unwrap();
        assert_eq!(merged.current_context.as_deref(), Some("a"), "the first wins");
        let clusters: Vec<_> = merged.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        assert_eq!(clusters, ["a", "b"]);
        let authority = merged.clusters[1].cluster.as_ref().unwrap().certificate_authority.as_ref().unwrap();
        assert_eq!(Path::new(authority), directory.path().join("ca.crt"), "relative to the file");
        let error = of_environment(Some(paths[0].as_os_str()), None).unwrap_err().to_string();
        assert!(error.contains("KUBECONFIG"), "{error}");
    }

    #[test]
    fn an_empty_variable_is_none() {
        let home = tempfile::tempdir().unwrap();
        let read = |list: Option<&str>| of_environment(list.map(OsStr::new), Some(home.path().as_os_str()));
        assert!(read(Some("")).unwrap_err().to_string().contains("there is no kubeconfig"));
        std::fs::create_dir(home.path().join(".kube")).unwrap();
        std::fs::write(home.path().join(".kube/config"), kubeconfig("home")).unwrap();
        for list in [None, Some(""), Some(":")] {
            assert_eq!(read(list).unwrap().current_context.as_deref(), Some("home"), "{list:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("broken");
        std::fs::write(&path, "clusters: 7\n").unwrap();
        let error = format!("{:#}", file(&path).unwrap_err());
        assert!(error.contains("broken"), "{error}");
    }
}
