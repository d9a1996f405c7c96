//! Connections and flows of datagrams that are held open to a server from both nodes, in both families, while policies change.

use crate::scene::addresses;
use anyhow::{Result, ensure};
use orknet_tests::talk::{self, at};
use orknet_tests::{Kubectl, Stream};

pub struct Held<'a> {
    server: &'a str,
    connections: Vec<Stream>,
    datagrams: Vec<Stream>,
}

impl<'a> Held<'a> {
    /// From each of these pods to each address of the server.
    pub fn open(kubectl: &Kubectl, clients: &[&str], server: &'a str) -> Result<Self> {
        let (mut connections, mut datagrams) = (Vec::new(), Vec::new());
        for address in addresses(kubectl, server)? {
            for client in clients {
                connections.push(Stream::pod(kubectl, client, "hold-tcp", &at(&address, talk::PORT))?);
                datagrams.push(Stream::pod(kubectl, client, "ask-connected-socket", &at(&address, talk::PORT))?);
            }
        }
        Ok(Self { server, connections, datagrams })
    }

    /// All of them are answered, whatever was before.
    pub fn flow(&self) -> Result<()> {
        self.connections.iter().try_for_each(|stream| stream.hear(20).map(drop))?;
        self.datagrams.iter().try_for_each(|stream| stream.until(self.server))
    }

    /// All of them go on, and never missed an answer since they were last listened to.
    pub fn go_on(&self) -> Result<()> {
        self.connections.iter().chain(&self.datagrams).try_for_each(|stream| stream.flows(20))
    }

    /// The connections do so, and no datagram is answered any more.
    pub fn only_connections_go_on(&self) -> Result<()> {
        self.datagrams_stop()?;
        self.connections.iter().try_for_each(|stream| stream.flows(20))?;
        self.datagrams_stay_silent()
    }

    fn datagrams_stop(&self) -> Result<()> {
        self.datagrams.iter().try_for_each(|stream| stream.until("error TimedOut"))
    }

    /// Three of each go without an answer, for half a second each.
    fn datagrams_stay_silent(&self) -> Result<()> {
        for stream in &self.datagrams {
            let said = stream.hear(3)?;
            ensure!(said.iter().all(|line| line == "error TimedOut"), "{}: {said:?}", stream.name());
        }
        Ok(())
    }

    /// None of them is answered any more.
    pub fn stop(&self) -> Result<()> {
        self.datagrams_stop()?;
        // What was on its way to who prints it comes out; then nothing more does, while datagrams go without an answer.
        self.connections.iter().try_for_each(|stream| stream.hear(0).map(drop))?;
        self.datagrams_stay_silent()?;
        for stream in &self.connections {
            let said = stream.hear(0)?;
            ensure!(said.is_empty(), "{} went on for {} answers", stream.name(), said.len());
        }
        Ok(())
    }
}
