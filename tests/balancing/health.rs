//! Do nodes tell balancers whether they have backends?

use crate::expected::{FAR, NEAR};
use crate::scene::{self, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{Client, at};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};
use serde_json::Value;

tests![e2e_the_port_for_health_tells_which_nodes_have_backends];

fn e2e_the_port_for_health_tells_which_nodes_have_backends(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let service = scene::service(kubectl, "checked", "type: LoadBalancer, externalTrafficPolicy: Local")?;
    let port = service["spec"]["healthCheckNodePort"].as_u64().and_then(|port| u16::try_from(port).ok()).context("no port for health")?;
    let client = Client::outside(&outside);
    let tells = |node: &str, code: &str, endpoints: u64| {
        eventually(&format!("{node} to answer {code}"), || {
            for address in node_addresses(node)? {
                let answer = client.run(&["nettool", "get", &at(&address.to_string(), port), "/"])?;
                let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
                ensure!(head.split(' ').nth(1) == Some(code), "{address} answered {head}");
                let body: Value = serde_json::from_str(body.trim()).with_context(|| format!("{address} answered {body}"))?;
                ensure!(body["localEndpoints"] == endpoints && body["service"]["name"] == "checked", "{address} answered {body}");
                ensure!(body["service"]["namespace"] == kubectl.namespace(), "{address} answered {body}");
            }
            Ok(())
        })
    };
    tells(NEAR, "200", 1)?;
    tells(FAR, "503", 0)?;
    kubectl.run(&["label", "pod", "near", "app-"])?;
    tells(NEAR, "503", 0)?;
    kubectl.run(&["label", "pod", "near", "app=all"])?;
    tells(NEAR, "200", 1)?;
    // With the policy goes the port.
    kubectl.run(&["patch", "service", "checked", "--type=merge", "-p", r#"{"spec": {"externalTrafficPolicy": "Cluster"}}"#])?;
    eventually("nobody to listen for checks", || {
        let said = client.run(&["nettool", "get", &at(&node_addresses(NEAR)?[0].to_string(), port), "/"]);
        ensure!(said.is_err_and(|error| format!("{error:#}").contains("refused")), "somebody does");
        Ok(())
    })
}
