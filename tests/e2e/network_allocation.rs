//! Are cluster addresses and node ports handed out once?

use anyhow::{Context, Result, ensure};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use std::collections::BTreeSet;

tests![
    e2e_cluster_addresses_are_handed_out_once,
    e2e_node_ports_are_handed_out_once,
    e2e_released_addresses_and_ports_can_be_asked_for_again,
    e2e_a_further_range_gives_addresses,
];

/// Parallel creations of Services of a type: no request may fail.
fn create_in_parallel(kubectl: &Kubectl, kind: &str, count: usize) -> Result<()> {
    let children: Vec<_> = (0..count)
        .map(|number| kubectl.start(&["create", "service", kind, &format!("{kind}-{number}"), "--tcp=80"]))
        .collect::<Result<_>>()?;
    for child in children {
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        ensure!(output.status.success(), "a creation failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// A field of the specs of all Services of the namespace.
fn fields(kubectl: &Kubectl, path: &str) -> Result<Vec<String>> {
    let template = format!("jsonpath={{range .items[*]}}{path}{{\"\\n\"}}{{end}}");
    Ok(kubectl.run(&["get", "services", "-o", &template])?.lines().map(str::to_owned).collect())
}

fn service(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}], {spec}}}\n")
}

fn node_port(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: NodePort, ports: [{{port: 80, nodePort: {port}}}]}}\n"
    )
}

fn e2e_cluster_addresses_are_handed_out_once(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    create_in_parallel(kubectl, "clusterip", 20)?;
    let addresses = fields(kubectl, "{.spec.clusterIP}")?;
    let distinct: BTreeSet<&String> = addresses.iter().collect();
    ensure!(addresses.len() == 20 && distinct.len() == 20, "{addresses:?}");
    ensure!(addresses.iter().all(|address| address.starts_with("10.96.")), "{addresses:?}");

    let taken = addresses.first().context("there is no address")?;
    let said = kubectl.fails(&["create", "-f", "-"], Some(&service("second", &format!("clusterIP: {taken}"))))?;
    ensure!(said.contains("spec.clusterIPs") && said.contains("provided IP is already allocated"), "{said}");
    let said = kubectl.fails(&["create", "-f", "-"], Some(&service("outside", "clusterIP: 192.0.2.1")))?;
    ensure!(said.contains("spec.clusterIPs") && said.contains("does not match the current range"), "{said}");
    let said = kubectl.fails(&["create", "-f", "-"], Some(&service("nonsense", "clusterIP: 10.96.0.300")))?;
    ensure!(said.contains("spec.clusterIPs"), "{said}");
    // A Service keeps its address.
    let patch = r#"{"spec": {"clusterIP": "10.96.200.200", "clusterIPs": ["10.96.200.200"]}}"#;
    let said = kubectl.fails(&["patch", "service", "clusterip-0", "-p", patch], None)?;
    ensure!(said.contains("spec.clusterIPs[0]") && said.contains("may not change once set"), "{said}");
    Ok(())
}

fn e2e_node_ports_are_handed_out_once(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    create_in_parallel(kubectl, "nodeport", 20)?;
    let ports = fields(kubectl, "{.spec.ports[0].nodePort}")?;
    let numbers: BTreeSet<u16> = ports.iter().map(|port| port.parse()).collect::<Result<_, _>>()?;
    ensure!(ports.len() == 20 && numbers.len() == 20, "{ports:?}");
    ensure!(numbers.iter().all(|port| (30000..=32767).contains(port)), "{ports:?}");

    let taken = *numbers.first().context("there is no port")?;
    let said = kubectl.fails(&["create", "-f", "-"], Some(&node_port("second", taken)))?;
    ensure!(said.contains("spec.ports[0].nodePort") && said.contains("provided port is already allocated"), "{said}");
    let said = kubectl.fails(&["create", "-f", "-"], Some(&node_port("outside", 1234)))?;
    ensure!(said.contains("spec.ports[0].nodePort") && said.contains("not in the valid range"), "{said}");
    Ok(())
}

fn e2e_released_addresses_and_ports_can_be_asked_for_again(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "service", "nodeport", "first", "--tcp=80"])?;
    let spec = kubectl.json(&["get", "service", "first"])?["spec"].clone();
    let address = spec["clusterIP"].as_str().context("no address")?.to_owned();
    let port = spec["ports"][0]["nodePort"].as_u64().context("no port")? as u16;
    kubectl.run(&["delete", "service", "first"])?;
    // Kubernetes repairs its books in the background, so a moment may pass.
    eventually("the address and the port to be free", || {
        kubectl.run_with(&["create", "-f", "-"], &service("again", &format!("clusterIP: {address}")))
    })?;
    eventually("the port to be free", || kubectl.run_with(&["create", "-f", "-"], &node_port("port-again", port)))?;
    // The type changes: the port goes and comes.
    kubectl.run(&["patch", "service", "port-again", "-p", r#"{"spec": {"type": "ClusterIP"}}"#])?;
    let ports = kubectl.json(&["get", "service", "port-again"])?["spec"]["ports"].clone();
    ensure!(ports[0].get("nodePort").is_none(), "{ports}");
    eventually("the port to be free", || kubectl.run_with(&["create", "-f", "-"], &node_port("port-third", port))).map(drop)
}

fn e2e_a_further_range_gives_addresses(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let name = format!("{}-more", kubectl.namespace());
    kubectl.apply(&format!(
        "{{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {{name: {name}}}, spec: {{cidrs: [10.197.0.0/24]}}}}"
    ))?;
    kubectl.run(&["wait", "servicecidr", &name, "--for=condition=Ready", "--timeout=60s"])?;
    let rows = kubectl.run(&["get", "servicecidrs"])?;
    ensure!(rows.lines().next().is_some_and(|head| head.split_whitespace().eq(["NAME", "CIDRS", "AGE"])), "{rows}");
    ensure!(rows.lines().any(|row| row.starts_with(&name) && row.contains("10.197.0.0/24")), "{rows}");
    ensure!(rows.lines().any(|row| row.starts_with("kubernetes ") && row.contains("10.96.0.0/16")), "{rows}");
    eventually("the range to be used", || kubectl.run_with(&["create", "-f", "-"], &service("further", "clusterIP: 10.197.0.7")))?;
    let rows = kubectl.run(&["get", "ip", "10.197.0.7"])?;
    let parent = format!("services/{}/further", kubectl.namespace());
    ensure!(rows.contains("PARENTREF") && rows.contains(&parent), "{rows}");
    // It is held while the Service has its address.
    kubectl.run(&["delete", "servicecidr", &name, "--wait=false"])?;
    kubectl.run(&["wait", "servicecidr", &name, "--for=condition=Ready=False", "--timeout=60s"])?;
    let said = kubectl.fails(&["create", "-f", "-"], Some(&service("late", "clusterIP: 10.197.0.8")))?;
    ensure!(said.contains("does not match the current range"), "{said}");
    kubectl.run(&["delete", "service", "further"])?;
    kubectl.run(&["wait", "servicecidr", &name, "--for=delete", "--timeout=60s"])?;
    let said = kubectl.fails(&["get", "ip", "10.197.0.7"], None)?;
    ensure!(said.contains("NotFound"), "{said}");
    Ok(())
}
