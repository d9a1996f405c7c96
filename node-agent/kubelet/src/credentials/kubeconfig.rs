//! Kubeconfig files as the store of a node's client certificate: read with everything that they name embedded, and written with another certificate.

use std::fs;
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::error::Error;

/// A kubeconfig in which nothing is named by its path.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(Value);

/// Members of a cluster or user that name a file, and those that hold its content instead.
const CLUSTER_FILES: &[(&str, &str)] = &[("certificate-authority", "certificate-authority-data")];
const USER_FILES: &[(&str, &str)] = &[("client-certificate", "client-certificate-data"), ("client-key", "client-key-data")];

impl Document {
    /// Reads a file; paths in it are relative to where it is. Blocking.
    ///
    /// # Errors
    /// The file, or one that it names, cannot be read; or it is no kubeconfig with a current context.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
        let mut document = Self::parse(&text).map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        if let Some(cluster) = document.part_mut("clusters", "cluster") {
            embed(cluster, CLUSTER_FILES, directory)?;
        }
        if let Some(user) = document.part_mut("users", "user") {
            embed(user, USER_FILES, directory)?;
        }
        Ok(document)
    }

    /// Reads a text (YAML or JSON). The error says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document = Self(serde_yaml_ng::from_str::<Value>(text).map_err(|error| error.to_string())?);
        document.part("clusters", "cluster").ok_or("there is no cluster of a current context")?;
        Ok(document)
    }

    /// The client certificate of the current context, PEM.
    pub fn certificate_pem(&self) -> Option<String> {
        decoded(self.part("users", "user")?.get("client-certificate-data")?)
    }

    /// Its private key, PEM.
    pub fn key_pem(&self) -> Option<String> {
        decoded(self.part("users", "user")?.get("client-key-data")?)
    }

    /// The certificates by which the API server is known, PEM.
    pub fn authority_pem(&self) -> Option<String> {
        decoded(self.part("clusters", "cluster")?.get("certificate-authority-data")?)
    }

    /// The text of the same with another user in the current context, who has a client certificate and no other credentials.
    pub fn with_certificate(&self, user: &str, certificate_pem: &str, key_pem: &str) -> String {
        let mut document = self.0.clone();
        let before = self.current("user").unwrap_or_default();
        let entry = json!({"name": user, "user": {
            "client-certificate-data": STANDARD.encode(certificate_pem), "client-key-data": STANDARD.encode(key_pem)}});
        let mut users = document["users"].as_array().cloned().unwrap_or_default();
        users.retain(|other| other["name"] != before && other["name"] != user);
        users.insert(0, entry);
        document["users"] = users.into();
        let current = document["current-context"].clone();
        for context in document["contexts"].as_array_mut().into_iter().flatten().filter(|context| context["name"] == current) {
            context["context"]["user"] = user.into();
        }
        // Cannot fail: what was read as JSON has string keys only.
        serde_yaml_ng::to_string(&document).unwrap_or_default()
    }

    /// What the current context says of its cluster or user.
    fn current(&self, what: &str) -> Option<&str> {
        let name = self.0.get("current-context")?.as_str()?;
        let contexts = self.0.get("contexts")?.as_array()?;
        contexts.iter().find(|context| context["name"] == name)?.get("context")?.get(what)?.as_str()
    }

    fn part(&self, list: &str, member: &str) -> Option<&Value> {
        let name = self.current(member)?;
        self.0.get(list)?.as_array()?.iter().find(|entry| entry["name"] == name)?.get(member)
    }

    fn part_mut(&mut self, list: &str, member: &str) -> Option<&mut Value> {
        let name = self.current(member)?.to_owned();
        self.0.get_mut(list)?.as_array_mut()?.iter_mut().find(|entry| entry["name"] == name.as_str())?.get_mut(member)
    }
}

/// Puts the contents of files in the place of their paths. What is embedded already wins, as with client-go.
fn embed(part: &mut Value, files: &[(&str, &str)], directory: &Path) -> Result<(), Error> {
    let Some(part) = part.as_object_mut() else { return Ok(()) };
    for (named, embedded) in files {
        let Some(path) = part.remove(*named).and_then(|path| path.as_str().map(|path| directory.join(path))) else { continue };
        let is_there = part.get(*embedded).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if !is_there {
            let content = fs::read(&path).map_err(Error::file("read", &path))?;
            part.insert((*embedded).to_owned(), STANDARD.encode(content).into());
        }
    }
    Ok(())
}

fn decoded(data: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(data.as_str()?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: &str = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://s', certificate-authority: ca.crt}}]\n\
        contexts: [{name: x, context: {cluster: c, user: joiner, namespace: n}}]\ncurrent-context: x\n\
        users: [{name: joiner, user: {token: abcdef.0123456789abcdef}}, {name: other, user: {}}]\n";

    #[test]
    fn a_certificate_takes_the_place_of_a_token_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bootstrap");
        fs::write(&path, BOOTSTRAP).unwrap();
        assert!(Document::read(&path).unwrap_err().to_string().contains("ca.crt"), "a file that it names is missing");
        fs::write(directory.path().join("ca.crt"), "CA").unwrap();
        let document = Document::read(&path).unwrap();
        assert_eq!(document.authority_pem().as_deref(), Some("CA"));
        assert_eq!((document.certificate_pem(), document.key_pem()), (None, None));
        let text = document.with_certificate("system:node:n", "CERT", "KEY");
        assert!(!text.contains("abcdef") && !text.contains("ca.crt"), "{text}");
        let joined = Document::parse(&text).unwrap();
        assert_eq!((joined.certificate_pem().as_deref(), joined.key_pem().as_deref()), (Some("CERT"), Some("KEY")));
        assert_eq!(joined.0["contexts"][0]["context"], json!({"cluster": "c", "user": "system:node:n", "namespace": "n"}));
        assert_eq!(joined.0["clusters"][0]["cluster"], json!({"server": "https://s", "certificate-authority-data": STANDARD.encode("CA")}));
        assert_eq!(joined.0["users"].as_array().unwrap().len(), 2);
        // And once more by the next certificate.
        let renewed = Document::parse(&joined.with_certificate("system:node:n", "CERT2", "KEY2")).unwrap();
        assert_eq!(renewed.certificate_pem().as_deref(), Some("CERT2"));
        assert_eq!(renewed.0["users"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_has_no_current_cluster_is_refused() {
        for text in ["", "7", "clusters: []", "current-context: x", "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n"] {
            assert!(Document::parse(text).is_err(), "{text}");
        }
    }
}
