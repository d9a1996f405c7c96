//! One request passed on to a backend and its answer back: headers of one connection stay with it, links and redirections of pages lead through the proxy,
//! and everything else is as the two ends say.

use super::headers;
use super::html;
use super::links::View;
use crate::error::ApiError;
use crate::http::listener::Peer;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::read::{DeflateDecoder, GzDecoder};
use flate2::write::{DeflateEncoder, GzEncoder};
use futures::StreamExt;
use futures::stream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A backend may think for as long as it likes; a client that goes away ends the wait.
const UNTIL_ANSWER: Duration = Duration::from_secs(24 * 3600);
/// Pages that are larger keep their links.
const LARGEST_PAGE: usize = 8 << 20;
/// Also when they are compressed.
const LARGEST_UNPACKED: u64 = 32 << 20;

/// Mark of an answer that is not the server's own: of any length, and nobody else looks into it.
#[derive(Clone, Copy, Debug)]
pub struct Foreign;

/// What the client's request was, as far as its answer depends on it.
pub struct Asked {
    pub method: Method,
    pub upgrade: bool,
    /// The host in the request, as the client knows the server.
    pub host: String,
}

/// Makes a client's request one to a backend: the same, at another path.
pub fn outgoing(request: &mut Request<Body>, path_and_query: &str) -> Result<Asked, ApiError> {
    let peer = request.extensions().get::<Arc<Peer>>().and_then(|peer| peer.address);
    let uri = path_and_query.parse().map_err(|error| ApiError::bad_request(format!("the path cannot be asked for: {error}")))?;
    let old = std::mem::replace(request.uri_mut(), uri);
    // HTTP/2 has the host in its URI.
    if let (None, Some(authority)) = (request.headers().get(HOST), old.authority()) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|error| ApiError::bad_request(error.to_string()))?;
        request.headers_mut().insert(HOST, host);
    }
    *request.version_mut() = Version::HTTP_11;
    let upgrade = headers::is_upgrade(request.headers());
    headers::outgoing(request.headers_mut(), peer);
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Asked { method: request.method().clone(), upgrade, host })
}

/// Tells a backend at which path the client sees it.
pub fn tell_path(headers: &mut HeaderMap, prefix: &str, path: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("{prefix}{path}")) {
        headers.insert(HeaderName::from_static("x-forwarded-uri"), value);
    }
}

/// Sends a request over a connection; what comes back is not changed yet ([`answered`]).
pub async fn send(connection: Box<dyn super::wire::Connection>, mut request: Request<Body>) -> Result<Response<Body>, orknet_relay::Error> {
    let client = hyper::upgrade::on(&mut request);
    request.extensions_mut().clear();
    Ok(orknet_relay::exchange(UNTIL_ANSWER, connection, client, request).await?.map(Body::new))
}

/// A backend's answer as the client gets it. `view`: how links are to be seen; `None` leaves them as they are.
pub async fn answered(asked: &Asked, mut response: Response<Body>, view: Option<View<'_>>) -> Result<Response<Body>, ApiError> {
    response.extensions_mut().insert(Foreign);
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    if asked.upgrade && !status.is_client_error() && !status.is_server_error() {
        return Err(ApiError::internal(format!("invalid upgrade response: status code {}", status.as_u16())));
    }
    headers::of_message(response.headers_mut());
    let Some(view) = view.filter(|_| !asked.upgrade) else { return Ok(response.map(unsized_body)) };
    let text = |headers: &HeaderMap, name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let location = text(response.headers(), LOCATION);
    if !location.is_empty() {
        if let Some(Ok(location)) = view.rewritten(&location).map(|location| HeaderValue::from_str(&location)) {
            response.headers_mut().insert(LOCATION, location);
        }
        return Ok(response.map(unsized_body));
    }
    let is_page = text(response.headers(), CONTENT_TYPE).split(';').next().is_some_and(|media| media.trim() == "text/html");
    let Some(coding) = Coding::of(&text(response.headers(), CONTENT_ENCODING)).filter(|_| is_page && asked.method != Method::HEAD) else {
        return Ok(response.map(unsized_body));
    };
    let (mut head, body) = response.into_parts();
    let body = match collected(body).await {
        Ok(page) => {
            let page = coding.changed(&page, |page| rewritten(page, &view)).map(Bytes::from).unwrap_or(page);
            head.headers.insert(CONTENT_LENGTH, page.len().into());
            Body::from(page)
        }
        Err(body) => body,
    };
    Ok(Response::from_parts(head, unsized_body(body)))
}

/// A page's bytes with its links changed. What is no UTF-8 is taken byte by byte: links and tags are ASCII in every encoding that pages have.
fn rewritten(page: &[u8], view: &View<'_>) -> Vec<u8> {
    match std::str::from_utf8(page) {
        Ok(page) => html::rewritten(page, view).into_bytes(),
        Err(_) => {
            let page: String = page.iter().map(|byte| char::from(*byte)).collect();
            html::rewritten(&page, view).chars().map(|sign| u8::try_from(sign).unwrap_or(b'?')).collect()
        }
    }
}

/// The whole body, or, where it is larger than pages are, one that is the same.
async fn collected(mut body: Body) -> Result<Bytes, Body> {
    let mut read = BytesMut::new();
    loop {
        match body.frame().await {
            None => return Ok(read.freeze()),
            Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Some(Err(error)) => {
                let read = [Ok(read.freeze()), Err(error)];
                return Err(Body::from_stream(stream::iter(read)));
            }
        }
        if read.len() > LARGEST_PAGE {
            let before = stream::once(std::future::ready(Ok(read.freeze())));
            return Err(Body::from_stream(before.chain(body.into_data_stream())));
        }
    }
}

/// How a page is compressed.
#[derive(Clone, Copy)]
enum Coding {
    Plain,
    Gzip,
    Deflate,
}

impl Coding {
    fn of(header: &str) -> Option<Self> {
        match header {
            "" => Some(Self::Plain),
            "gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// What is inside, changed, in the same coding; `None` where it cannot be read.
    fn changed(self, packed: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Plain => Some(change(packed)),
            Self::Gzip => {
                let mut out = GzEncoder::new(Vec::new(), Compression::fast());
                out.write_all(&change(&unpacked(GzDecoder::new(packed))?)).ok()?;
                out.finish().ok()
            }
            Self::Deflate => {
                let mut out = DeflateEncoder::new(Vec::new(), Compression::fast());
                out.write_all(&change(&unpacked(DeflateDecoder::new(packed))?)).ok()?;
                out.finish().ok()
            }
        }
    }
}

fn unpacked(decoder: impl Read) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    decoder.take(LARGEST_UNPACKED + 1).read_to_end(&mut out).ok()?;
    (out.len() as u64 <= LARGEST_UNPACKED).then_some(out)
}

/// The same body, of which nobody knows that it might be short.
fn unsized_body(body: Body) -> Body {
    Body::new(Unsized(body))
}

struct Unsized(Body);

impl http_body::Body for Unsized {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View<'static> = View { prefix: "/p", backend: "b:80", asked: "a" };

    async fn seen(asked: (Method, bool), response: http::response::Builder, body: impl Into<Body>) -> Result<Response<Body>, ApiError> {
        let asked = Asked { method: asked.0, upgrade: asked.1, host: "a".to_owned() };
        answered(&asked, response.body(body.into()).expect("an answer"), Some(VIEW)).await
    }

    async fn bytes(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.expect("a body").to_bytes()
    }

    #[tokio::test]
    async fn links_of_pages_are_changed_however_they_are_packed() {
        let page = b"<a href=\"/x\">\xe9</a>";
        let new = &b"<a href=\"/p/x\">\xe9</a>"[..];
        for coding in [Coding::Plain, Coding::Gzip, Coding::Deflate] {
            let name = ["", "gzip", "deflate"][coding as usize];
            let packed = match coding {
                Coding::Plain => page.to_vec(),
                Coding::Gzip => {
                    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
                    out.write_all(page).expect("packs");
                    out.finish().expect("packs")
                }
                Coding::Deflate => {
                    let mut out = DeflateEncoder::new(Vec::new(), Compression::fast());
                    out.write_all(page).expect("packs");
                    out.finish().expect("packs")
                }
            };
            let mut head = Response::builder().header("content-type", "text/html; charset=x").header("content-length", packed.len());
            if !name.is_empty() {
                head = head.header("content-encoding", name);
            }
            let response = seen((Method::GET, false), head, packed).await.expect("passes");
            let length = response.headers()[CONTENT_LENGTH].to_str().expect("text").parse::<usize>().expect("a number");
            let body = bytes(response).await;
            assert_eq!(body.len(), length);
            assert_eq!(coding.changed(&body, <[u8]>::to_vec).map(|_| ()), Some(()));
            let inside = match coding {
                Coding::Plain => body.to_vec(),
                Coding::Gzip => unpacked(GzDecoder::new(&body[..])).expect("reads"),
                Coding::Deflate => unpacked(DeflateDecoder::new(&body[..])).expect("reads"),
            };
            assert_eq!(inside, new, "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_no_page_passes_as_it_is() {
        let text = "<a href=\"/x\">";
        let plain = Response::builder().header("content-type", "text/plain");
        assert_eq!(bytes(seen((Method::GET, false), plain, text).await.expect("passes")).await, text);
        let packed = Response::builder().header("content-type", "text/html").header("content-encoding", "br");
        assert_eq!(bytes(seen((Method::GET, false), packed, text).await.expect("passes")).await, text);
        let broken = Response::builder().header("content-type", "text/html").header("content-encoding", "gzip");
        assert_eq!(bytes(seen((Method::GET, false), broken, text).await.expect("passes")).await, text);
        let large = vec![b'<'; LARGEST_PAGE + 5];
        let page = Response::builder().header("content-type", "text/html");
        assert_eq!(bytes(seen((Method::GET, false), page, large.clone()).await.expect("passes")).await, large);
    }

    #[tokio::test]
    async fn redirections_lead_through_the_proxy_and_connections_keep_their_headers() {
        let moved =
            Response::builder().status(302).header("location", "http://b:80/x?y").header("connection", "close, x-a").header("x-a", "1");
        let response = seen((Method::GET, false), moved, "").await.expect("passes");
        assert_eq!(response.headers()["location"], "/p/x?y");
        assert!(!response.headers().contains_key("connection") && !response.headers().contains_key("x-a"));
    }

    #[tokio::test]
    async fn an_upgrade_that_is_none_is_no_answer() {
        let error = seen((Method::GET, true), Response::builder(), "hello").await.expect_err("no upgrade");
        assert_eq!(error.code(), 500);
        let refused = seen((Method::GET, true), Response::builder().status(403), "no").await.expect("passes");
        assert_eq!(refused.status(), 403);
        let upgraded = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "x");
        assert_eq!(seen((Method::GET, true), upgraded, "").await.expect("passes").headers()["upgrade"], "x");
    }
}
