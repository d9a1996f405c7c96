//! Does `kubectl port-forward` carry connections to pods, one after the other and at once?

use anyhow::{Context, Result, ensure};
use orknet_tests::pods::{self, shell};
use orknet_tests::{Cluster, Kubectl, Lines, talk, tests};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

tests![
    e2e_port_forward_reaches_pods_deployments_and_services,
    e2e_port_forward_carries_many_connections,
    e2e_port_forward_works_in_every_protocol_of_kubectl,
    e2e_the_api_leads_to_pods_services_and_nodes,
    e2e_port_forward_to_a_closed_port_fails_only_that_connection,
];

/// A running `kubectl port-forward`; ended when dropped.
struct Forward {
    child: Child,
    output: Lines,
    /// Local addresses, by remote port.
    addresses: Vec<(u16, SocketAddr)>,
}

impl Forward {
    /// Forwards a free local port to each of the remote ones.
    fn start(kubectl: &Kubectl, target: &str, ports: &[u16]) -> Result<Self> {
        Self::start_with(kubectl, target, ports, "true", "-v=0")
    }

    /// With a verbosity: what kubectl says must be less than its pipe holds.
    fn start_with(kubectl: &Kubectl, target: &str, ports: &[u16], websockets: &str, verbosity: &str) -> Result<Self> {
        let wanted: Vec<String> = ports.iter().map(|port| format!(":{port}")).collect();
        let mut arguments = vec!["port-forward", verbosity, target, "--address", "127.0.0.1"];
        arguments.extend(wanted.iter().map(String::as_str));
        let mut command = kubectl.command(&arguments);
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let output = Lines::of(child.stdout.take().context("kubectl has no output")?);
        let mut forward = Self { child, output, addresses: Vec::new() };
        while forward.addresses.len() < ports.len() {
            let Some(line) = forward.output.next()? else {
                anyhow::bail!("port-forward to {target}: {:?}", forward.errors()?.rest()?);
            };
            // Forwarding from 127.0.0.1:40001 -> 8080
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["Forwarding", "from", local, "->", remote] = words.as_slice() else { continue };
            forward.addresses.push((remote.parse()?, local.parse()?));
        }
        Ok(forward)
    }

    fn errors(&mut self) -> Result<Lines> {
        Ok(Lines::of(self.child.stderr.take().context("kubectl has no errors")?))
    }

    fn address(&self, remote: u16) -> Result<SocketAddr> {
        self.addresses
            .iter()
            .find(|(port, _)| *port == remote)
            .map(|(_, address)| *address)
            .with_context(|| format!("{remote} is not forwarded"))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a [`talk`] server through a connection of its own: its name.
fn ask(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(b"who\n")?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    answer.split_whitespace().next().map(str::to_owned).context("there is no answer")
}

fn e2e_port_forward_reaches_pods_deployments_and_services(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::deploy(kubectl, "web", 2)?;
    talk::serve(kubectl, "web", "web", "")?;
    let servers = talk::live_pods(kubectl, "web")?;
    for pod in &servers {
        let forward = Forward::start(kubectl, &format!("pod/{pod}"), &[talk::PORT])?;
        ensure!(ask(forward.address(talk::PORT)?)? == *pod);
    }
    let forward = Forward::start(kubectl, "deployment/web", &[talk::PORT])?;
    ensure!(servers.contains(&ask(forward.address(talk::PORT)?)?));
    // The Service's port is translated to the pod's.
    let forward = Forward::start(kubectl, "service/web", &[80])?;
    ensure!(servers.contains(&ask(forward.address(talk::PORT)?)?));
    // Several ports at once.
    let two = "httpd -p 8081 -h /one; exec httpd -f -p 8082 -h /two";
    let script = format!("mkdir /one /two; echo one > /one/index.html; echo two > /two/index.html; {two}");
    let listens = json!({"readinessProbe": {"tcpSocket": {"port": 8082}, "periodSeconds": 1}});
    pods::start(kubectl, "two", json!({"containers": [pods::with(shell("main", &script), listens)]}))?;
    let forward = Forward::start(kubectl, "pod/two", &[8081, 8082])?;
    for (port, text) in [(8081, "one"), (8082, "two")] {
        ensure!(http(forward.address(port)?)?.ends_with(&format!("{text}\n")), "{port}");
    }
    Ok(())
}

/// Through `kubectl get --raw`, `kubectl proxy` and `kubectl cluster-info`: the way of dashboards and of those who look at one pod's metrics.
fn e2e_the_api_leads_to_pods_services_and_nodes(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let script = "mkdir /www; echo '<a href=\"/x\">page</a>' > /www/index.html; exec httpd -f -p 8080 -h /www";
    let listens = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    let container = pods::with(shell("main", script), json!({"ports": [{"containerPort": 8080}], "readinessProbe": listens}));
    pods::start(kubectl, "web", json!({"containers": [container]}))?;
    kubectl.run(&["label", "pod", "web", "app=web"])?;
    kubectl.run(&["expose", "pod", "web", "--port=80", "--target-port=8080", "--labels=kubernetes.io/cluster-service=true"])?;
    kubectl.run(&[
        "wait",
        "endpointslice",
        "-l",
        "kubernetes.io/service-name=web",
        "--for=jsonpath={.endpoints[0].conditions.ready}=true",
    ])?;
    let namespace = format!("/api/v1/namespaces/{}", kubectl.namespace());
    for place in ["pods/web", "pods/http:web:8080", "services/web", "services/web:80"] {
        let path = format!("{namespace}/{place}/proxy/");
        let page = kubectl.run(&["get", "--raw", &path])?;
        ensure!(page.trim() == format!("<a href=\"{path}x\">page</a>"), "{path}: {page}");
    }
    let why = kubectl.fails(&["get", "--raw", &format!("{namespace}/pods/web:8081/proxy/")], None)?;
    ensure!(why.contains("ServiceUnavailable") && why.contains("error trying to reach service: dial tcp"), "{why}");
    let node = kubectl.run(&["get", "pod", "web", "-o", "jsonpath={.spec.nodeName}"])?;
    ensure!(kubectl.run(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/healthz")])? == "ok");
    let summary = kubectl.run(&["get", "--raw", &format!("/api/v1/nodes/{node}:10250/proxy/stats/summary")])?;
    ensure!(summary.contains("\"web\""), "{summary}");
    // Services that say that they are of the cluster are shown as places in it.
    let info = kubectl.run(&["cluster-info", "--namespace", kubectl.namespace()])?;
    ensure!(info.contains("control plane") && info.contains(&format!("{namespace}/services/web/proxy")), "{info}");
    let mut proxy = kubectl.start(&["proxy", "--port=0"])?;
    let line = Lines::of(proxy.stdout.take().context("no output")?).next()?.context("the proxy said nothing")?;
    let page = line.trim().strip_prefix("Starting to serve on ").context("no address").and_then(|address| {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(format!("GET {namespace}/services/web/proxy/ HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes())?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    });
    proxy.kill()?;
    proxy.wait()?;
    ensure!(page?.contains("proxy/x\">page</a>"));
    Ok(())
}

fn http(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn e2e_port_forward_carries_many_connections(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "server", "")?;
    talk::wait_ready(kubectl, "server")?;
    let forward = Forward::start(kubectl, "pod/server", &[talk::PORT])?;
    let address = forward.address(talk::PORT)?;
    for n in 0..100 {
        ensure!(ask(address).with_context(|| format!("connection {n}"))? == "server");
    }
    let all: Vec<_> = (0..20).map(|_| std::thread::spawn(move || ask(address))).collect();
    for one in all {
        ensure!(one.join().map_err(|_| anyhow::anyhow!("a client panicked"))?? == "server");
    }
    // Megabytes through one connection: every line is answered.
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    for _ in 0..500 {
        stream.write_all(b"again\n")?;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        ensure!(line.starts_with("server "), "{line:?}");
    }
    Ok(())
}

fn e2e_port_forward_works_in_every_protocol_of_kubectl(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "server", "")?;
    talk::wait_ready(kubectl, "server")?;
    for (websockets, verb) in [("true", "GET"), ("false", "POST")] {
        let mut forward = Forward::start_with(kubectl, "pod/server", &[talk::PORT], websockets, "-v=7")?;
        for _ in 0..3 {
            ensure!(ask(forward.address(talk::PORT)?)? == "server");
        }
        forward.child.kill()?;
        let mut said = String::new();
        forward.child.stderr.take().context("kubectl has no errors")?.read_to_string(&mut said)?;
        ensure!(!said.contains("fallback") && orknet_tests::kubectl::asked(&said, verb, "/portforward"), "{said}");
    }
    Ok(())
}

fn e2e_port_forward_to_a_closed_port_fails_only_that_connection(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "server", "")?;
    talk::wait_ready(kubectl, "server")?;
    let mut forward = Forward::start(kubectl, "pod/server", &[talk::PORT, 9])?;
    let mut nothing = Vec::new();
    let mut stream = TcpStream::connect(forward.address(9)?)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let _ = stream.read_to_end(&mut nothing);
    ensure!(nothing.is_empty(), "nobody listens there");
    let errors = forward.errors()?;
    while !errors.next()?.context("kubectl says nothing of the failure")?.contains("an error occurred forwarding") {}
    let missing = kubectl.fails(&["port-forward", "pod/nobody", ":80"], None)?;
    ensure!(missing.contains("pods \"nobody\" not found"), "{missing}");
    Ok(())
}
