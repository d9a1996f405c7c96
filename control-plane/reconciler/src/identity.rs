//! One way to the server, several identities: what a client asks for, as somebody else of the same process.

use http::Request;
use kube::Client;
use kube::client::Body;
use orknet_auth::Identity;

/// A client whose requests go the way of `client`'s (through its gate, where it has one) as those of `who`. The server believes it of a client in its own
/// process; over a socket the requests are those of whoever `client`'s credentials are of. Must be called inside a tokio runtime.
pub fn acting_as(client: &Client, who: Identity) -> Client {
    let (inner, namespace) = (client.clone(), client.default_namespace().to_owned());
    let named = tower::service_fn(move |mut request: Request<Body>| {
        request.extensions_mut().insert(who.clone());
        let inner = inner.clone();
        async move { inner.send(request).await }
    });
    Client::new(named, namespace)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use http::Response;
    use k8s_openapi::api::core::v1::Node;
    use kube::Api;
    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn the_identity_reaches_the_end_of_the_way() {
        let seen = Arc::<Mutex<Vec<Option<String>>>>::default();
        let server = seen.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            server.lock().push(request.extensions().get::<Identity>().map(|who| who.username.clone()));
            async { Ok::<_, Infallible>(Response::new(Body::from(br#"{"metadata":{"name":"n"}}"#.to_vec()))) }
        });
        let shared = Client::new(service, "default");
        let own = acting_as(&shared, Identity::service_account("kube-system", "node-controller"));
        Api::<Node>::all(shared).get("n").await.unwrap();
        Api::<Node>::all(own).get("n").await.unwrap();
        assert_eq!(*seen.lock(), [None, Some("system:serviceaccount:kube-system:node-controller".to_owned())]);
    }
}
