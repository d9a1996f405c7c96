//! Does traffic to a Service reach its endpoints, and only those?

use anyhow::{Result, ensure};
use orknet_tests::{Cluster, Kubectl, eventually, tests};

tests![e2e_services_are_balanced_and_follow_their_pods];

const IMAGE: &str = "registry.orknet.local/busybox:1";

/// A Deployment of HTTP servers that answer with their pod's name, a Service in front, and a client pod.
pub fn web(kubectl: &Kubectl, name: &str, replicas: u32) -> Result<()> {
    kubectl.apply(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: {IMAGE}
        command: ["sh", "-c", "mkdir /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www"]
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
"#
    ))?;
    kubectl.run(&["rollout", "status", "deployment", name, "--timeout=90s"])?;
    Ok(())
}

fn e2e_services_are_balanced_and_follow_their_pods(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    web(kubectl, "web", 3)?;
    kubectl.run(&["run", "client", "--image", IMAGE, "--restart=Never", "--", "sleep", "3600"])?;
    kubectl.run(&["wait", "pod/client", "--for=condition=Ready", "--timeout=60s"])?;
    let address = kubectl.run(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"])?;
    let script = format!("for i in $(seq 60); do wget -qO- http://{address}/ || echo failed; done");
    let ask = || kubectl.run(&["exec", "client", "--", "sh", "-c", &script]);
    let answered = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let names = || -> Result<std::collections::BTreeSet<String>> {
        let text = kubectl.run(&["get", "pods", "-l", "app=web", "-o", "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}"])?;
        Ok(answered(&text))
    };
    ensure!(answered(&ask()?) == names()?, "every pod answers, and nothing fails");
    kubectl.run(&["scale", "deployment", "web", "--replicas=1"])?;
    eventually("the Service to follow the scaling down", 30, || {
        let (answers, names) = (answered(&ask()?), names()?);
        ensure!(names.len() == 1 && answers == names, "{answers:?} of {names:?}");
        Ok(())
    })
}
