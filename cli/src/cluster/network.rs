//! The cluster's wires: a bridge in the server's namespace, a veth pair to each node, addresses of both families.

use super::layout::Place;
use super::namespaces::{in_netns, in_passing_netns, netns_path};
use anyhow::{Context, Result};
use futures::TryStreamExt;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

const BRIDGE: &str = "bridge0";
/// The device that every node has.
pub const NODE_DEVICE: &str = "eth0";
const PREFIX_V4: u8 = 16;
const PREFIX_V6: u8 = 64;

/// The bridge with the server's addresses. Does nothing where it is there. Blocking.
pub fn prepare_server(server: &Place) -> Result<()> {
    let addresses = server.addresses();
    in_place(server, async move |handle| {
        if index(&handle, BRIDGE).await?.is_none() {
            handle.link().add(LinkBridge::new(BRIDGE).forward_delay(0).build()).execute().await.context("cannot make the bridge")?;
        }
        configure(&handle, BRIDGE, &addresses).await?;
        up(&handle, "lo").await
    })
}

/// The node's device, wired to the bridge. Does nothing where it is there. Blocking.
pub fn prepare_node(server: &Place, node: &Place) -> Result<()> {
    let (port, target) = (node.bridge_port(), File::open(netns_path(&node.netns())).context("the node's namespace is not there")?);
    in_place(server, async move |handle| {
        if index(&handle, &port).await?.is_none() {
            let bridge = index(&handle, BRIDGE).await?.context("the bridge is not there")?;
            let peer = format!("{port}-peer");
            handle.link().add(LinkVeth::new(&port, &peer).build()).execute().await.with_context(|| format!("cannot make {port}"))?;
            let moved = LinkUnspec::new_with_name(&peer).setns_by_fd(target.as_raw_fd()).build();
            handle.link().set(moved).execute().await.with_context(|| format!("cannot move {peer}"))?;
            let attached = LinkUnspec::new_with_name(&port).controller(bridge).up().build();
            handle.link().set(attached).execute().await.with_context(|| format!("cannot attach {port} to the bridge"))?;
        }
        up(&handle, &port).await
    })?;
    let (peer, addresses) = (format!("{}-peer", node.bridge_port()), node.addresses());
    in_place(node, async move |handle| {
        if let Some(index) = index(&handle, &peer).await? {
            let renamed = LinkUnspec::new_with_index(index).name(NODE_DEVICE).build();
            handle.link().set(renamed).execute().await.with_context(|| format!("cannot rename {peer}"))?;
        }
        configure(&handle, NODE_DEVICE, &addresses).await?;
        up(&handle, "lo").await
    })
}

/// Makes one device of each kind that a cluster needs, in a network namespace that is gone afterwards; a line for each that the
/// kernel does not make. Blocking for moments.
pub fn try_devices(with_overlay: bool) -> Vec<String> {
    let line = |device: &str, option: &str, error: anyhow::Error| {
        format!("the kernel makes no {device} ({}); remedy: a kernel with {option}", error.root_cause())
    };
    let attempt = in_passing_netns(move || {
        netlink(async move |handle| {
            let bridge = handle.link().add(LinkBridge::new(BRIDGE).build()).execute().await;
            let veth = handle.link().add(LinkVeth::new("one", "other").build()).execute().await;
            let vxlan = if with_overlay { handle.link().add(external_vxlan()).execute().await } else { Ok(()) };
            let failed = [
                ("bridge", "CONFIG_BRIDGE", bridge.err()),
                ("veth pair", "CONFIG_VETH", veth.err()),
                ("VXLAN device", "CONFIG_VXLAN", vxlan.err()),
            ];
            Ok(failed.into_iter().filter_map(|(device, option, error)| Some(line(device, option, error?.into()))).collect())
        })
    });
    // Without network namespaces nothing was tried; the data plane's trial needs one too, and says so.
    attempt.unwrap_or_default()
}

/// Of the kind that the agents' overlay has.
fn external_vxlan() -> LinkMessage {
    LinkMessageBuilder::<LinkVxlan>::new("overlay").collect_metadata(true).port(8472).build()
}

async fn configure(handle: &Handle, name: &str, addresses: &[IpAddr]) -> Result<()> {
    let device = index(handle, name).await?.with_context(|| format!("there is no device {name}"))?;
    // Addresses are used at once: nobody else is on this wire.
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0").with_context(|| format!("cannot set up IPv6 on {name}"))?;
    up(handle, name).await?;
    for address in addresses {
        let prefix = if address.is_ipv4() { PREFIX_V4 } else { PREFIX_V6 };
        handle
            .address()
            .add(device, *address, prefix)
            .replace()
            .execute()
            .await
            .with_context(|| format!("cannot give {name} {address}"))?;
    }
    Ok(())
}

async fn up(handle: &Handle, name: &str) -> Result<()> {
    handle.link().set(LinkUnspec::new_with_name(name).up().build()).execute().await.with_context(|| format!("cannot bring {name} up"))
}

async fn index(handle: &Handle, name: &str) -> Result<Option<u32>> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc_enodev() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look for {name}")),
    }
}

fn libc_enodev() -> i32 {
    nix::errno::Errno::ENODEV as i32
}

/// Runs netlink requests inside a place's network namespace.
fn in_place(place: &Place, action: impl AsyncFnOnce(Handle) -> Result<()> + Send + 'static) -> Result<()> {
    in_netns(&place.netns(), move || netlink(action))
}

/// Runs netlink requests in the network namespace of the calling thread.
fn netlink<T>(action: impl AsyncFnOnce(Handle) -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let (connection, handle, _) = rtnetlink::new_connection().context("cannot speak netlink")?;
        let task = tokio::spawn(connection);
        let result = action(handle).await;
        task.abort();
        result
    })
}
