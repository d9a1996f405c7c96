//! What is scaled: any kind, also one of a CustomResourceDefinition, through its subresource `scale`.

use http::Request;
use kube::Client;
use serde_json::Value;

use super::plan::Scale;
use super::source::{get, told};

/// A kind as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    group: String,
    version: String,
    plural: String,
}

/// A `scale` as it was read: written back, it is refused if the object has changed.
pub(super) struct Current {
    pub scale: Scale,
    object: Value,
    path: String,
}

impl Target {
    /// The kind in this version, or in whichever its group is served.
    ///
    /// # Errors
    /// There is no such kind, in the words of kubectl.
    pub async fn find(client: &Client, api_version: &str, kind: &str) -> Result<Self, String> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if let Some(found) = Self::of_version(client, group, version, kind).await? {
            return Ok(found);
        }
        let groups = if group.is_empty() { Value::Null } else { get(client, &format!("/apis/{group}")).await.unwrap_or_default() };
        for other in groups["versions"].as_array().into_iter().flatten().filter_map(|other| other["version"].as_str()) {
            if other != version
                && let Some(found) = Self::of_version(client, group, other, kind).await?
            {
                return Ok(found);
            }
        }
        Err(format!("no matches for kind {kind:?} in group {group:?}"))
    }

    async fn of_version(client: &Client, group: &str, version: &str, kind: &str) -> Result<Option<Self>, String> {
        let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let request = Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
        let list: Value = match client.request(request).await {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(told(&error)),
        };
        let mut resources = list["resources"].as_array().into_iter().flatten();
        let found = resources.find(|one| one["kind"] == kind && one["name"].as_str().is_some_and(|name| !name.contains('/')));
        let plural = found.and_then(|found| found["name"].as_str());
        Ok(plural.map(|plural| Self { group: group.to_owned(), version: version.to_owned(), plural: plural.to_owned() }))
    }

    /// `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Reads the scale.
    pub async fn scale(&self, client: &Client, namespace: &str, name: &str) -> Result<Current, String> {
        let root = if self.group.is_empty() { format!("/api/{}", self.version) } else { format!("/apis/{}/{}", self.group, self.version) };
        let path = format!("{root}/namespaces/{namespace}/{}/{name}/scale", self.plural);
        let object = get(client, &path).await?;
        let number =
            |at: &str| object.pointer(at).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok()).unwrap_or_default();
        let selector = object.pointer("/status/selector").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Current { scale: Scale { spec: number("/spec/replicas"), status: number("/status/replicas"), selector }, object, path })
    }
}

impl Current {
    /// Writes another number.
    pub async fn write(mut self, client: &Client, replicas: i32) -> Result<(), String> {
        self.object["spec"]["replicas"] = replicas.into();
        let request = Request::put(&self.path).header("content-type", "application/json");
        let request = request.body(self.object.to_string().into_bytes()).map_err(|error| error.to_string())?;
        client.request::<Value>(request).await.map(drop).map_err(|error| told(&error))
    }
}
