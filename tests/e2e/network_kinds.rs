//! Every form of Service: families, ports, headless, without selector.

use anyhow::{Context, Result, ensure};
use orknet_tests::talk::{self, Client, How, at};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use std::collections::BTreeSet;

tests![
    e2e_services_have_the_families_that_were_asked_for,
    e2e_services_may_have_many_ports_and_name_their_targets,
    e2e_headless_services_list_their_endpoints,
    e2e_services_without_selector_use_what_they_are_given,
];

fn only(pod: &str) -> BTreeSet<String> {
    BTreeSet::from([pod.to_owned()])
}

fn families(addresses: &[String]) -> Vec<&'static str> {
    addresses.iter().map(|address| if address.contains(':') { "IPv6" } else { "IPv4" }).collect()
}

fn e2e_services_have_the_families_that_were_asked_for(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "one", "")?;
    let client = Client::start(kubectl, "client")?;
    talk::wait_ready(kubectl, "one")?;
    let cases: [(&str, &str, &[&str], &str); 7] = [
        ("default", "", &["IPv4"], "SingleStack"),
        ("single4", "ipFamilyPolicy: SingleStack, ipFamilies: [IPv4]", &["IPv4"], "SingleStack"),
        ("single6", "ipFamilies: [IPv6]", &["IPv6"], "SingleStack"),
        ("prefer", "ipFamilyPolicy: PreferDualStack", &["IPv4", "IPv6"], "PreferDualStack"),
        ("prefer6", "ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6]", &["IPv6", "IPv4"], "PreferDualStack"),
        ("require", "ipFamilyPolicy: RequireDualStack", &["IPv4", "IPv6"], "RequireDualStack"),
        ("require6", "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]", &["IPv6", "IPv4"], "RequireDualStack"),
    ];
    for (name, more, expected, policy) in cases {
        let first = talk::serve(kubectl, name, "one", more)?;
        let service = kubectl.json(&["get", "service", name])?;
        let addresses: Vec<String> = serde_json::from_value(service["spec"]["clusterIPs"].clone())?;
        let declared: Vec<String> = serde_json::from_value(service["spec"]["ipFamilies"].clone())?;
        ensure!(addresses.first() == Some(&first), "{name}: clusterIP {first} is not the first of {addresses:?}");
        ensure!(families(&addresses) == expected && declared == expected, "{name}: {addresses:?}, {declared:?}");
        ensure!(service["spec"]["ipFamilyPolicy"] == policy, "{name}: {}", service["spec"]["ipFamilyPolicy"]);
        for address in &addresses {
            for how in [How::Tcp, How::Udp, How::UdpConnected] {
                eventually(&format!("{name} at {address} over {how:?}"), || client.ask(how, &at(address, 80), 2)?.are_from(&only("one")))?;
            }
        }
        let slices = kubectl.json(&["get", "endpointslices", "-l", &format!("kubernetes.io/service-name={name}")])?;
        let kinds: BTreeSet<&str> =
            slices["items"].as_array().into_iter().flatten().filter_map(|slice| slice["addressType"].as_str()).collect();
        ensure!(kinds == expected.iter().copied().collect(), "{name}: slices of {kinds:?}");
    }
    // From one family to two and back.
    kubectl.run(&["patch", "service", "default", "-p", r#"{"spec": {"ipFamilyPolicy": "RequireDualStack"}}"#])?;
    let both: Vec<String> = serde_json::from_value(kubectl.json(&["get", "service", "default"])?["spec"]["clusterIPs"].clone())?;
    ensure!(families(&both) == ["IPv4", "IPv6"], "{both:?}");
    eventually("the second family", || client.ask(How::Tcp, &at(&both[1], 80), 2)?.are_from(&only("one")))
}

fn e2e_services_may_have_many_ports_and_name_their_targets(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    // Two pods that give the same name to different ports, beside a port of their own name each.
    for (pod, echo, extra) in [("old", 7001, 9001), ("new", 7002, 9001)] {
        kubectl.apply(&format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {pod}, labels: {{app: ports}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: server
    image: {image}
    command: [sh, -c, "nettool serve [::]:{extra} & exec nettool serve [::]:{echo}"]
    ports: [{{name: echo, containerPort: {echo}}}, {{name: echo-udp, protocol: UDP, containerPort: {echo}}}, {{name: extra, containerPort: {extra}}}]
    readinessProbe: {{tcpSocket: {{port: {echo}}}, periodSeconds: 1}}
"#,
            image = talk::TOOLS
        ))?;
    }
    kubectl.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: ports}
spec:
  selector: {app: ports}
  ports:
  - {name: first, port: 80, targetPort: echo}
  - {name: second, port: 81, targetPort: extra}
  - {name: datagrams, port: 80, protocol: UDP, targetPort: echo-udp}
  - {name: direct, port: 9001}
  - {name: nobody, port: 82, targetPort: unknown}
"#,
    )?;
    let client = Client::start(kubectl, "client")?;
    ["old", "new"].iter().try_for_each(|pod| talk::wait_ready(kubectl, pod))?;
    let address = talk::cluster_address(kubectl, "ports")?;
    let both = BTreeSet::from(["old".to_owned(), "new".to_owned()]);
    for (how, port) in [(How::Tcp, 80), (How::Tcp, 81), (How::Udp, 80), (How::UdpConnected, 80), (How::Tcp, 9001)] {
        eventually(&format!("port {port} over {how:?}"), || client.ask(how, &at(&address, port), 40)?.are_from(&both))?;
    }
    for (how, port) in [(How::Tcp, 82), (How::Udp, 81), (How::Tcp, 83)] {
        client.is_refused(how, &at(&address, port), "ConnectionRefused")?;
    }
    kubectl.run(&[
        "patch",
        "service",
        "ports",
        "--type=json",
        "-p",
        r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 8000}]"#,
    ])?;
    eventually("the port to move", || {
        client.ask(How::Tcp, &at(&address, 8000), 40)?.are_from(&both)?;
        client.is_refused(How::Tcp, &at(&address, 80), "ConnectionRefused")
    })?;
    client.ask(How::Udp, &at(&address, 80), 40)?.are_from(&both)
}

fn e2e_headless_services_list_their_endpoints(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::deploy(kubectl, "peers", 2)?;
    talk::serve(kubectl, "peers", "peers", "clusterIP: None")?;
    let spec = kubectl.json(&["get", "service", "peers"])?["spec"].clone();
    ensure!(spec["clusterIP"] == "None" && spec["clusterIPs"] == serde_json::json!(["None"]), "{spec}");
    let list = kubectl.json(&["get", "pods", "-l", "app=peers"])?;
    let pods: BTreeSet<&str> = list["items"].as_array().into_iter().flatten().filter_map(|pod| pod["status"]["podIP"].as_str()).collect();
    eventually("the endpoints to be listed", || {
        let slices = kubectl.json(&["get", "endpointslices", "-l", "kubernetes.io/service-name=peers"])?;
        let of_v4 = slices["items"].as_array().into_iter().flatten().filter(|slice| slice["addressType"] == "IPv4");
        let listed: BTreeSet<&str> = of_v4
            .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
            .filter_map(|endpoint| endpoint["addresses"][0].as_str())
            .collect();
        ensure!(listed == pods, "{listed:?}, expected {pods:?}");
        let endpoints = kubectl.json(&["get", "endpoints", "peers"])?;
        let old: BTreeSet<&str> = endpoints["subsets"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|subset| subset["addresses"].as_array().into_iter().flatten())
            .filter_map(|address| address["ip"].as_str())
            .collect();
        ensure!(old == pods, "Endpoints: {old:?}, expected {pods:?}");
        Ok(())
    })
}

fn e2e_services_without_selector_use_what_they_are_given(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for pod in ["one", "two"] {
        talk::pod(kubectl, pod, "")?;
    }
    for service in ["by-slice", "by-endpoints"] {
        kubectl.apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {service}}}\nspec: {{ports: [{{name: tcp, port: 80, targetPort: {}}}]}}\n",
            talk::PORT
        ))?;
    }
    let client = Client::start(kubectl, "client")?;
    ["one", "two"].iter().try_for_each(|pod| talk::wait_ready(kubectl, pod))?;
    let pod_address = |pod: &str| kubectl.run(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]);
    let slice = |address: &str| -> Result<String> {
        kubectl.apply(&format!(
            r#"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: by-hand, labels: {{kubernetes.io/service-name: by-slice}}}}
addressType: IPv4
ports: [{{name: tcp, port: {port}, protocol: TCP}}]
endpoints: [{{addresses: ["{address}"]}}]
"#,
            port = talk::PORT
        ))
    };
    let endpoints = |address: &str| -> Result<String> {
        kubectl.apply(&format!(
            r#"
apiVersion: v1
kind: Endpoints
metadata: {{name: by-endpoints}}
subsets: [{{addresses: [{{ip: "{address}"}}], ports: [{{name: tcp, port: {port}}}]}}]
"#,
            port = talk::PORT
        ))
    };
    let by_slice = at(&talk::cluster_address(kubectl, "by-slice")?, 80);
    let by_endpoints = at(&talk::cluster_address(kubectl, "by-endpoints")?, 80);
    for address in [&by_slice, &by_endpoints] {
        eventually("the Service to be known", || client.is_refused(How::Tcp, address, "ConnectionRefused"))?;
    }
    for pod in ["one", "two"] {
        slice(&pod_address(pod)?)?;
        endpoints(&pod_address(pod)?)?;
        for address in [&by_slice, &by_endpoints] {
            eventually("the given endpoint to answer", || client.ask(How::Tcp, address, 3)?.are_from(&only(pod)))
                .context(address.clone())?;
        }
    }
    kubectl.run(&["delete", "endpointslice", "by-hand"])?;
    kubectl.run(&["delete", "endpoints", "by-endpoints"])?;
    for address in [&by_slice, &by_endpoints] {
        eventually("the Service to be empty again", || client.is_refused(How::Tcp, address, "ConnectionRefused"))
            .context(address.clone())?;
    }
    Ok(())
}
