//! What does a process in a container find around it: variables, arguments, names, files, neighbours?

use anyhow::{Result, ensure};
use orknet_tests::pods::{self, BUSYBOX, has, shell, value, with};
use orknet_tests::{Cluster, Kubectl, talk, tests};
use serde_json::json;

tests![
    e2e_variables_come_from_everywhere,
    e2e_commands_and_arguments_replace_those_of_the_image_and_expand,
    e2e_service_variables_are_those_of_the_namespace,
    e2e_names_and_resolver_are_the_pods_own,
    e2e_containers_of_a_pod_share_their_network_and_processes_when_asked,
    e2e_a_service_account_token_opens_what_its_account_may,
];

fn e2e_variables_come_from_everywhere(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "settings", "--from-literal=COLOUR=red", "--from-literal=SIZE=big"])?;
    kubectl.run(&["create", "secret", "generic", "hidden", "--from-literal=PASSWORD=p w=1"])?;
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let resource = |name: &str, resource: &str, divisor: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}});
    let env = json!([
        {"name": "PLAIN", "value": "a b"},
        {"name": "COMBINED", "value": "$(PLAIN)/$(ALL_COLOUR)/$$(PLAIN)/$(NOBODY)"},
        {"name": "SIZE", "value": "small"},
        {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "COLOUR"}}},
        {"name": "TWO", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "PASSWORD"}}},
        {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "none", "optional": true}}},
        field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("UID_OF_POD", "metadata.uid"),
        field("LABEL", "metadata.labels['app']"), field("NODE", "spec.nodeName"), field("ACCOUNT", "spec.serviceAccountName"),
        field("POD_IP", "status.podIP"), field("POD_IPS", "status.podIPs"), field("HOST_IP", "status.hostIP"),
        resource("CPU", "limits.cpu", "1m"), resource("MEMORY", "limits.memory", "1Mi"), resource("ASKED", "requests.cpu", "1m"),
    ]);
    let container = with(
        shell("main", "env"),
        json!({
            "env": env,
            "envFrom": [{"prefix": "ALL_", "configMapRef": {"name": "settings"}}, {"configMapRef": {"name": "settings"}},
                        {"secretRef": {"name": "hidden"}}, {"secretRef": {"name": "nobody", "optional": true}}],
            "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m"}},
        }),
    );
    let output = pods::run(kubectl, "env", json!({"containers": [container]}))?;
    let pod = kubectl.json(&["get", "pod", "env"])?;
    let of = |pointer: &str| pod.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    has(
        &output,
        &[
            ("PLAIN", "a b"),
            ("COMBINED", "a b/red/$(PLAIN)/$(NOBODY)"),
            ("SIZE", "small"),
            ("COLOUR", "red"),
            ("ALL_SIZE", "big"),
            ("PASSWORD", "p w=1"),
            ("ONE", "red"),
            ("TWO", "p w=1"),
            ("NAME", "env"),
            ("NAMESPACE", kubectl.namespace()),
            ("UID_OF_POD", &of("/metadata/uid")),
            ("LABEL", "env"),
            ("NODE", &of("/spec/nodeName")),
            ("ACCOUNT", "default"),
            ("POD_IP", &of("/status/podIP")),
            ("HOST_IP", &of("/status/hostIP")),
            ("CPU", "250"),
            ("MEMORY", "64"),
            ("ASKED", "100"),
            ("HOSTNAME", "env"),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ],
    )?;
    ensure!(value(&output, "POD_IPS")?.split(',').count() == pod["status"]["podIPs"].as_array().map_or(0, Vec::len), "{output}");
    ensure!(value(&output, "ABSENT").is_err(), "{output}");
    Ok(())
}

fn e2e_commands_and_arguments_replace_those_of_the_image_and_expand(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec =
        |more| json!({"containers": [with(json!({"name": "main", "image": BUSYBOX, "env": [{"name": "WHO", "value": "you"}]}), more)]});
    let both = json!({"command": ["echo", "hello $(WHO)"], "args": ["$(WHO)", "$$(WHO)", "$(NONE)", "two words"]});
    ensure!(pods::run(kubectl, "both", spec(both))? == "hello you you $(WHO) $(NONE) two words\n");
    let place = json!({"command": ["pwd"], "workingDir": "/made/here"});
    ensure!(pods::run(kubectl, "place", spec(place))? == "/made/here\n");
    Ok(())
}

fn e2e_service_variables_are_those_of_the_namespace(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "service", "clusterip", "my-db", "--tcp=5432:5432"])?;
    let address = talk::cluster_address(kubectl, "my-db")?;
    let output = pods::run(kubectl, "with-links", json!({"containers": [shell("main", "env")]}))?;
    let url = format!("tcp://{address}:5432");
    has(
        &output,
        &[
            ("MY_DB_SERVICE_HOST", &address),
            ("MY_DB_SERVICE_PORT", "5432"),
            ("MY_DB_PORT", &url),
            ("MY_DB_PORT_5432_TCP", &url),
            ("MY_DB_PORT_5432_TCP_PROTO", "tcp"),
            ("MY_DB_PORT_5432_TCP_PORT", "5432"),
            ("MY_DB_PORT_5432_TCP_ADDR", &address),
        ],
    )?;
    let output = pods::run(kubectl, "without", json!({"enableServiceLinks": false, "containers": [shell("main", "env")]}))?;
    ensure!(value(&output, "MY_DB_SERVICE_HOST").is_err(), "{output}");
    has(&output, &[("KUBERNETES_SERVICE_PORT", "443")])
}

fn e2e_names_and_resolver_are_the_pods_own(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let look = "echo host=$(hostname); cat /etc/hosts; echo ==; cat /etc/resolv.conf";
    let spec = json!({
        "hostname": "web-0", "subdomain": "group",
        "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["alias.one", "alias.two"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["192.0.2.53"], "searches": ["one.test", "two.test"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
        "containers": [shell("main", look)],
    });
    let output = pods::run(kubectl, "named", spec)?;
    let pod = kubectl.json(&["get", "pod", "named"])?;
    let address = pod["status"]["podIP"].as_str().unwrap_or_default();
    has(&output, &[("host", "web-0")])?;
    let (hosts, resolver) = output.split_once("==\n").unwrap_or_default();
    let own = format!("{address}\tweb-0.group.{}.svc.cluster.local\tweb-0", kubectl.namespace());
    for line in [own.as_str(), "127.0.0.1\tlocalhost", "192.0.2.9\talias.one\talias.two"] {
        ensure!(hosts.lines().any(|found| found == line), "{line:?} is not in\n{hosts}");
    }
    ensure!(resolver == "search one.test two.test\nnameserver 192.0.2.53\noptions ndots:2 edns0\n", "{resolver:?}");

    // Without a DNS server of the cluster's, the cluster's policy is the node's.
    let output = pods::run(kubectl, "default", json!({"containers": [shell("main", look)]}))?;
    has(&output, &[("host", "default")])?;
    let (_, resolver) = output.split_once("==\n").unwrap_or_default();
    let of_node = cluster.inside("node1", &["cat", "/etc/resolv.conf"])?;
    let servers = |text: &str| -> Vec<String> { text.lines().filter(|line| line.starts_with("nameserver")).map(str::to_owned).collect() };
    ensure!(servers(resolver) == servers(&of_node) && !resolver.contains("cluster.local"), "{resolver:?}, the node has {of_node:?}");

    // On the node's network the node's name is the host's name.
    let output = pods::run(kubectl, "of-node", json!({"hostNetwork": true, "containers": [shell("main", look)]}))?;
    let pod = kubectl.json(&["get", "pod", "of-node"])?;
    ensure!(pod["status"]["podIP"] == pod["status"]["hostIP"], "{}", pod["status"]);
    ensure!(!value(&output, "host")?.contains("of-node"), "{output}");
    Ok(())
}

fn e2e_containers_of_a_pod_share_their_network_and_processes_when_asked(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let server = shell("server", "mkdir /www && echo shared > /www/index.html && exec httpd -f -p 127.0.0.1:8080 -h /www");
    let client =
        shell("client", "until wget -qO- http://127.0.0.1:8080/; do sleep 0.1; done; ps -o args | grep -c [h]ttpd; exec sleep 3600");
    let spec = json!({"containers": [server, client]});
    for (name, share, wanted) in [("apart", false, "shared\n0\n"), ("together", true, "shared\n1\n")] {
        pods::start(kubectl, name, with(spec.clone(), json!({"shareProcessNamespace": share})))?;
        orknet_tests::eventually("the client's log", || {
            let said = kubectl.run(&["logs", name, "-c", "client"])?;
            ensure!(said == wanted, "{name}: {said:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn e2e_a_service_account_token_opens_what_its_account_may(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "serviceaccount", "reader"])?;
    kubectl.run(&["create", "role", "reader", "--verb=get,list", "--resource=configmaps"])?;
    let account = format!("--serviceaccount={}:reader", kubectl.namespace());
    kubectl.run(&["create", "rolebinding", "reader", "--role=reader", &account])?;
    kubectl.run(&["create", "configmap", "letter", "--from-literal=text=for readers"])?;
    let directory = "/var/run/secrets/kubernetes.io/serviceaccount";
    let script = format!("ls {directory}; echo namespace=$(cat {directory}/namespace); head -1 {directory}/ca.crt; cat {directory}/token");
    let output = pods::run(kubectl, "holder", json!({"serviceAccountName": "reader", "containers": [shell("main", &script)]}))?;
    ensure!(output.starts_with("ca.crt\nnamespace\ntoken\n") && output.contains("-----BEGIN CERTIFICATE-----"), "{output}");
    has(&output, &[("namespace", kubectl.namespace())])?;
    let token = output.lines().last().unwrap_or_default();
    let ask = |arguments: &[&str]| kubectl.output(&[&["--token", token], arguments].concat(), None);
    // The kubeconfig's own client certificate would win over a token.
    let server = kubectl.run(&["config", "view", "--raw", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"])?;
    let anonymous =
        |arguments: &[&str]| ask(&[&["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--server", &server], arguments].concat());
    let allowed = anonymous(&["get", "configmap", "letter", "-o", "jsonpath={.data.text}"])?;
    ensure!(allowed.code == 0 && allowed.stdout == "for readers", "{allowed:?}");
    let who = anonymous(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])?;
    ensure!(who.stdout == format!("system:serviceaccount:{}:reader", kubectl.namespace()), "{who:?}");
    for denied in [
        vec!["get", "secrets"],
        vec!["delete", "configmap", "letter"],
        vec!["get", "configmaps", "-n", "kube-system"],
        vec!["get", "nodes"],
    ] {
        let refused = anonymous(&denied)?;
        ensure!(refused.code == 1 && refused.stderr.contains("Forbidden"), "{denied:?}: {refused:?}");
    }
    // The token is bound to the pod: with the pod it goes.
    kubectl.run(&["delete", "pod", "holder"])?;
    orknet_tests::eventually("the token to be worth nothing", || {
        let refused = anonymous(&["get", "configmap", "letter"])?;
        ensure!(refused.code == 1 && refused.stderr.contains("Unauthorized"), "{refused:?}");
        Ok(())
    })?;
    // Nobody has to have one.
    let none =
        json!({"automountServiceAccountToken": false, "containers": [shell("main", &format!("test ! -e {directory} && echo none"))]});
    ensure!(pods::run(kubectl, "bare", none)? == "none\n");
    Ok(())
}
