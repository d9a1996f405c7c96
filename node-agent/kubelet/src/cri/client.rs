//! The connection to containerd: a lazy gRPC channel over a unix socket that reconnects by itself.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::error::Error;

/// Longest time for calls that should answer at once.
const QUICK: Duration = Duration::from_secs(30);
/// Listings and command output can be larger than the library's default limit.
const MAX_MESSAGE: usize = 32 << 20;

/// A client of containerd's runtime and image services. Cheap to clone; every call may run concurrently with others.
/// Dropping a call's future cancels the call in containerd.
#[derive(Clone, Debug)]
pub struct Cri {
    pub(super) runtime: RuntimeServiceClient<Channel>,
    pub(super) images: ImageServiceClient<Channel>,
}

impl Cri {
    /// A client for the socket at `path`. Connects at the first call, and again after the connection was lost.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the endpoint cannot be formed.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let endpoint = Endpoint::try_from("http://containerd").map_err(|e| Error::Invalid(format!("containerd endpoint: {e}")))?;
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        }));
        Ok(Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
        })
    }
}

/// A request that containerd must answer quickly.
pub(super) fn quick<T>(message: T) -> tonic::Request<T> {
    within(message, QUICK)
}

/// A request with a time limit, known to containerd.
pub(super) fn within<T>(message: T, limit: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limit);
    request
}
