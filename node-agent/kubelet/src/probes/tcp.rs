//! TCP probes: a connection that is accepted is success. Also finds the number of a named port.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::tracker::Outcome;

/// Connects.
pub(super) async fn ask(action: &TCPSocketAction, container: &Container, address: Option<IpAddr>, limit: Duration) -> Outcome {
    let target = match port(&action.port, container).and_then(|port| target(action.host.as_deref(), address, port)) {
        Ok(target) => target,
        Err(cause) => return Outcome::Unknown(cause),
    };
    match tokio::time::timeout(limit, TcpStream::connect(target)).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(error)) => Outcome::Failure(format!("dial tcp {target}: connect: {}", cause(&error))),
        Err(_) => Outcome::Failure(format!("dial tcp {target}: i/o timeout")),
    }
}

/// Where to connect: a declared host that is an address, or the pod.
pub fn target(host: Option<&str>, address: Option<IpAddr>, port: u16) -> Result<SocketAddr, String> {
    let ip = match host.filter(|h| !h.is_empty()) {
        // Names are not resolved: probes must not depend on a name server.
        Some("localhost") => IpAddr::from([127, 0, 0, 1]),
        Some(host) => host.trim_matches(['[', ']']).parse().map_err(|_| format!("the probe's host {host} is not an address"))?,
        None => address.ok_or("the pod has no address yet")?,
    };
    Ok(SocketAddr::new(ip, port))
}

/// A port by number, or by the name of one of the container's ports.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port);
            named.or_else(|| name.parse().ok())
        }
    };
    number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| format!("invalid port: {port:?}"))
}

/// The error in the words people know.
pub fn cause(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_number_and_by_name() {
        let container: Container = serde_json::from_str(r#"{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}"#).unwrap();
        for (asked, want) in [
            (IntOrString::Int(80), Some(80)),
            (IntOrString::String("web".into()), Some(8080)),
            (IntOrString::String("81".into()), Some(81)),
            (IntOrString::String("none".into()), None),
            (IntOrString::Int(0), None),
            (IntOrString::Int(70_000), None),
        ] {
            assert_eq!(port(&asked, &container).ok(), want, "{asked:?}");
        }
    }

    #[test]
    fn a_declared_host_wins_over_the_pods_address() {
        let pod = Some("10.0.0.1".parse().unwrap());
        assert_eq!(target(None, pod, 1).unwrap(), "10.0.0.1:1".parse().unwrap());
        assert_eq!(target(Some("127.0.0.1"), pod, 1).unwrap(), "127.0.0.1:1".parse().unwrap());
        assert!(target(Some("name.example"), pod, 1).is_err());
        assert!(target(None, None, 1).is_err());
    }
}
