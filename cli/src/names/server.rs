//! Questions to the API server, with an end: what a person waits for.

use super::kubeconfig;
use crate::cluster::layout::Cluster;
use crate::commands::daemon;
use anyhow::{Context, Result, bail};
use kube::api::{Api, ListParams, ObjectList};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is asked.
pub struct Server {
    runtime: Runtime,
    /// Or why there is none.
    client: Result<Client, String>,
    patience: Duration,
    /// It has let a question go without an answer, and is asked no more.
    is_silent: Cell<bool>,
}

impl Server {
    /// Of the kubeconfig that is meant (see [`kubeconfig::read`]). What keeps it from being used, each question answers.
    pub fn open(kubeconfig: Option<PathBuf>, cluster: Option<&Cluster>) -> Result<Self> {
        let runtime = daemon::runtime()?;
        let client = kubeconfig::read(kubeconfig, cluster).and_then(|read| runtime.block_on(daemon::client_with(read, "orknet")));
        let client = client.map_err(|error| format!("{error:#}"));
        Ok(Self { runtime, client, patience: PATIENCE, is_silent: Cell::new(false) })
    }

    /// Asks, and waits for the answer. Blocking.
    pub fn ask<T>(&self, what: impl AsyncFnOnce(Client) -> kube::Result<T>) -> Result<T> {
        let client = self.client.clone().map_err(anyhow::Error::msg)?;
        let answer = match self.is_silent.get() {
            true => None,
            false => self.runtime.block_on(async { tokio::time::timeout(self.patience, what(client)).await }).ok(),
        };
        self.is_silent.set(answer.is_none());
        match answer {
            None => bail!("the API server does not answer"),
            Some(Err(kube::Error::Api(status))) => Err(anyhow::Error::msg(status.message.clone())),
            Some(answer) => answer.context("the API server cannot be asked"),
        }
    }

    /// All objects of a kind.
    pub fn all<K>(&self) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        self.list(&K::plural(&()), Api::all)
    }

    /// All objects that `api` lists, which are called `kind`; none where the server does not know them.
    pub fn list<K: Clone + Debug + DeserializeOwned>(&self, kind: &str, api: impl FnOnce(Client) -> Api<K>) -> Result<Vec<K>> {
        let listed = self.ask(async |client| match api(client).list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            list => list.map(Some),
        });
        let list: Option<ObjectList<K>> = listed.with_context(|| format!("cannot list {kind}"))?;
        Ok(list.map(|list| list.items).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn server(patience: Duration) -> Server {
        let runtime = daemon::runtime().unwrap();
        // Nothing is sent: the questions of these tests don't use it.
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = runtime.block_on(async { Client::try_from(config) }).map_err(|error| error.to_string());
        Server { runtime, client, patience, is_silent: Cell::new(false) }
    }

    #[test]
    fn one_that_has_not_answered_is_asked_no_more() {
        let server = server(Duration::from_millis(1));
        let asked = Cell::new(0);
        for _ in 0..3 {
            let answer: Result<()> = server.ask(async |_| {
                asked.set(asked.get() + 1);
                std::future::pending().await
            });
            assert_eq!(answer.unwrap_err().to_string(), "the API server does not answer");
        }
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn one_that_refuses_is_asked_again_and_says_why() {
        let server = server(PATIENCE);
        let refusal = || kube::Error::Api(Box::new(kube::core::Status::failure("pods is forbidden", "Forbidden").with_code(403)));
        let refused: Result<()> = server.ask(async |_| Err(refusal()));
        assert_eq!(refused.unwrap_err().to_string(), "pods is forbidden");
        assert_eq!(server.ask(async |_| Ok(7)).unwrap(), 7);
    }

    #[test]
    fn what_keeps_it_from_being_asked_is_the_answer() {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::open(Some(directory.path().join("none")), None).unwrap();
        let error = format!("{:#}", server.all::<Pod>().unwrap_err());
        assert!(error.starts_with("cannot list pods: ") && error.contains("none cannot be used"), "{error}");
    }
}
