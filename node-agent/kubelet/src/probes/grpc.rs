//! gRPC probes: the standard health service (grpc.health.v1). The two messages have one field each, written and read here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use k8s_openapi::api::core::v1::GRPCAction;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// Asks the health service.
///
/// # Errors
/// What to tell people.
pub(super) async fn ask(action: &GRPCAction, address: Option<IpAddr>, limit: Duration) -> Result<(), String> {
    let port = u16::try_from(action.port).map_err(|_| format!("invalid port: {}", action.port))?;
    let target = SocketAddr::new(address.ok_or("the pod has no address yet")?, port);
    match tokio::time::timeout(limit, check(target, action.service.clone().unwrap_or_default())).await {
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(status)) => Err(format!("service unhealthy (responded with \"{}\")", name(status))),
        Ok(Err(cause)) => Err(cause),
        Err(_) => Err(format!("timeout: health rpc to {target} did not complete within {}s", limit.as_secs())),
    }
}

async fn check(target: SocketAddr, service: String) -> Result<u64, String> {
    let endpoint = Endpoint::try_from(format!("http://{target}")).map_err(|e| e.to_string())?;
    let channel = endpoint.connect().await.map_err(|e| format!("failed to connect service \"{target}\": {e}"))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| format!("failed to connect service \"{target}\": {e}"))?;
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let answer = client.unary(tonic::Request::new(service), path, Health).await;
    answer.map(tonic::Response::into_inner).map_err(|status| format!("rpc error: code = {:?} desc = {}", status.code(), status.message()))
}

fn name(status: u64) -> &'static str {
    match status {
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

/// Writes a service's name, reads a serving status.
#[derive(Clone, Copy, Debug, Default)]
struct Health;

impl Codec for Health {
    type Encode = String;
    type Decode = u64;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Health {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, service: String, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        if !service.is_empty() {
            // Field 1, length-delimited.
            out.put_u8(1 << 3 | 2);
            let mut length = service.len();
            while length >= 0x80 {
                out.put_u8((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            out.put_u8(length as u8);
            out.put_slice(service.as_bytes());
        }
        Ok(())
    }
}

impl Decoder for Health {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        serving_status(input).ok_or_else(|| Status::internal("malformed health answer")).map(Some)
    }
}

/// Field 1 of the answer, 0 when it is absent. Other fields are skipped.
fn serving_status(input: &mut impl Buf) -> Option<u64> {
    let mut status = 0;
    while input.has_remaining() {
        let tag = varint(input)?;
        match tag & 7 {
            0 => {
                let value = varint(input)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => skip(input, 8)?,
            2 => {
                let length = usize::try_from(varint(input)?).ok()?;
                skip(input, length)?;
            }
            5 => skip(input, 4)?,
            _ => return None,
        }
    }
    Some(status)
}

fn skip(input: &mut impl Buf, count: usize) -> Option<()> {
    (input.remaining() >= count).then(|| input.advance(count))
}

fn varint(input: &mut impl Buf) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        if !input.has_remaining() {
            return None;
        }
        let byte = input.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_serving_status_is_read_and_other_fields_are_skipped() {
        for (bytes, want) in
            [(vec![], Some(0)), (vec![8, 1], Some(1)), (vec![0x12, 2, 9, 9, 8, 2], Some(2)), (vec![8], None), (vec![0x12, 9, 1], None)]
        {
            assert_eq!(serving_status(&mut bytes.as_slice()), want, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = serving_status(&mut bytes.as_slice());
        }
    }
}
