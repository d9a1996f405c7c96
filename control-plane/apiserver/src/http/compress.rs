//! Large answers are sent compressed to clients that can read it (`Accept-Encoding: gzip`), as Kubernetes does: lists of thousands of objects shrink to
//! a tenth. Streams are not, since each event must leave at once.

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use http::{HeaderMap, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use std::io::Write;

/// What is not larger is sent as it is, in bytes (kube-apiserver's threshold).
const THRESHOLD: u64 = 128 << 10;

/// Whether the client reads gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let refuses = |weight: &str| matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
    (headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','))).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        matches!(name.trim(), "gzip" | "*") && !refuses(weight)
    })
}

/// Compresses an answer whose body is at hand and large; others are left alone. An answer that cannot be compressed stays as it is.
pub async fn compressed(response: Response<Body>) -> Response<Body> {
    let is_large = response.body().size_hint().exact().is_some_and(|size| size > THRESHOLD);
    if !is_large || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The body is in memory already, so that reading it neither waits nor fails.
    let plain = body.collect().await.map(|read| read.to_bytes()).unwrap_or_default();
    let source = plain.clone();
    let packed = tokio::task::spawn_blocking(move || pack(&source)).await;
    let Ok(Ok(packed)) = packed else { return Response::from_parts(parts, Body::from(plain)) };
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, Body::from(packed))
}

fn pack(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn accepts(value: &'static str) -> bool {
        accepts_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
    }

    #[test]
    fn only_who_asks_gets_gzip() {
        assert!(accepts("gzip") && accepts("deflate, gzip;q=0.5") && accepts("*"));
        assert!(!accepts("gzip;q=0") && !accepts("identity") && !accepts_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn large_answers_shrink_and_come_back_whole() {
        let text = "all the same ".repeat(20_000);
        let small = compressed(Response::new(Body::from("small"))).await;
        assert!(!small.headers().contains_key(CONTENT_ENCODING));
        let large = compressed(Response::new(Body::from(text.clone()))).await;
        assert_eq!(large.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(large.headers()[VARY], "Accept-Encoding");
        let packed = large.into_body().collect().await.expect("read").to_bytes();
        assert!(packed.len() < text.len() / 10);
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).expect("unpacks");
        assert_eq!(unpacked, text);
    }

    #[tokio::test]
    async fn streams_are_left_alone() {
        let events = futures::stream::iter([Ok::<_, std::convert::Infallible>(vec![b'x'; 1 << 20])]);
        let stream = compressed(Response::new(Body::from_stream(events))).await;
        assert!(!stream.headers().contains_key(CONTENT_ENCODING));
    }
}
