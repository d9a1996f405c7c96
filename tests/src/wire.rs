//! Wires that carry frames as a real one does. A veth pair passes on packets whose checksums nobody has computed, and packets that are
//! several in one: what it is told to offload never happens. XDP programs are made for frames that are whole.

use crate::cluster::{Cluster, run};
use crate::eventually;
use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, socket};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

/// From now on what comes in at the nodes' devices has complete checksums and is cut into packets.
///
/// Said to the bridge's ends of the nodes' wires, by `ETHTOOL_MSG_FEATURES_SET` (Documentation/networking/ethtool-netlink.rst), as
/// `ethtool -K DEVICE tx off` does.
pub fn make_real(cluster: &Cluster) -> Result<()> {
    complete(cluster, ports(cluster)?)
}

/// The same of one node's wire.
pub fn make_real_of(cluster: &Cluster, node: &str) -> Result<()> {
    complete(cluster, vec![node.replace("node", "port")])
}

/// [`make_real`] for nodes whose devices run XDP programs in their driver: veth's takes what the program sends back only where the other
/// end runs one, too. The node's own does nothing there, since it is on no device that its agent knows.
pub fn make_real_for_drivers(cluster: &Cluster) -> Result<()> {
    make_real(cluster)?;
    for port in ports(cluster)? {
        let node = port.replace("port", "node");
        let program = eventually("the node's device to have its program", || {
            let shown = cluster.inside(&node, &["ip", "-d", "link", "show", "eth0"])?;
            let mut words = shown.split_whitespace().skip_while(|word| *word != "prog/xdp");
            Ok(words.nth(2).with_context(|| format!("no program: {shown}"))?.to_owned())
        })?;
        let attach = ["netns", "exec", &server(cluster), "bpftool", "net", "attach", "xdpdrv", "id", &program, "dev", &port];
        run(Command::new("ip").args(attach))?;
    }
    // Until they have looked again, agents leave frames to the stack.
    eventually("the nodes' agents to have seen that the other ends take frames", || {
        let nodes = cluster.kubectl().json(&["get", "nodes"])?;
        let conditions = nodes["items"].as_array().into_iter().flatten().flat_map(|node| node["status"]["conditions"].as_array());
        let degraded: Vec<_> = conditions
            .flatten()
            .filter(|condition| condition["type"] == "NetworkDevicesDegraded" && condition["status"] == "True")
            .map(|condition| condition["message"].to_string())
            .collect();
        ensure!(degraded.is_empty(), "{degraded:?}");
        Ok(())
    })
}

/// Has checksums computed before frames come to these ends of wires at the bridge.
fn complete(cluster: &Cluster, ports: Vec<String>) -> Result<()> {
    let path = format!("/run/netns/{}", server(cluster));
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    // A thread of its own, which ends in that namespace.
    let thread = std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the server's network namespace")?;
        let ethtool = Ethtool::open()?;
        ports.iter().try_for_each(|port| ethtool.set(port, &[("tx-checksum-ip-generic", false)]))
    });
    thread.join().ok().context("the thread panicked")?
}

/// The name of the namespace with the bridge.
fn server(cluster: &Cluster) -> String {
    format!("orknet-{}-server", cluster.name())
}

/// The bridge's ends of the nodes' wires.
fn ports(cluster: &Cluster) -> Result<Vec<String>> {
    let links = cluster.inside("server", &["ip", "-o", "link", "show", "master", "bridge0"])?;
    let names = links.lines().filter_map(|line| line.split([' ', '@', ':']).find(|word| word.starts_with("port")));
    let ports: Vec<String> = names.map(str::to_owned).collect();
    ensure!(!ports.is_empty(), "no node has a wire: {links}");
    Ok(ports)
}

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID` and `CTRL_ATTR_FAMILY_NAME` (linux/genetlink.h).
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NLM_F_REQUEST | NLM_F_ACK`, `NLMSG_ERROR`, `NLA_F_NESTED` (linux/netlink.h).
const REQUEST: u16 = 5;
const ERROR: u16 = 2;
const NESTED: u16 = 1 << 15;
/// Bytes before the attributes: the headers of netlink and of generic netlink.
const HEADERS: usize = 20;
/// `ETHTOOL_MSG_FEATURES_SET`, and attributes (linux/ethtool_netlink.h).
const FEATURES_SET: u8 = 12;
const HEADER: u16 = 1;
const DEVICE_NAME: u16 = 2;
const FLAGS: u16 = 3;
const WANTED: u16 = 3;
const BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;
/// `ETHTOOL_FLAG_OMIT_REPLY`.
const NO_REPLY: u32 = 2;

/// The kernel's settings of devices, in the network namespace of the thread that opened it.
struct Ethtool {
    socket: OwnedFd,
    family: u16,
}

impl Ethtool {
    fn open() -> Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkGeneric)?;
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).context("cannot speak to the kernel")?;
        let mut ethtool = Self { socket, family: 0 };
        let answer = ethtool.ask(CONTROL, GET_FAMILY, &attribute(FAMILY_NAME, b"ethtool\0")).context("the kernel has no ethtool")?;
        ethtool.family = family_id(&answer).context("the kernel does not say where ethtool is")?;
        Ok(ethtool)
    }

    /// Turns features of a device on and off, by the names that `ethtool -k` shows.
    fn set(&self, device: &str, features: &[(&str, bool)]) -> Result<()> {
        let name = |kind, name: &str| attribute(kind, format!("{name}\0").as_bytes());
        let bit = |(feature, is_on): &(&str, bool)| {
            let value = if *is_on { attribute(BIT_VALUE, &[]) } else { Vec::new() };
            attribute(BIT | NESTED, &[name(BIT_NAME, feature), value].concat())
        };
        let bits: Vec<u8> = features.iter().flat_map(bit).collect();
        let header = [name(DEVICE_NAME, device), attribute(FLAGS, &NO_REPLY.to_ne_bytes())].concat();
        let wanted = attribute(WANTED | NESTED, &attribute(BITS | NESTED, &bits));
        let message = [attribute(HEADER | NESTED, &header), wanted].concat();
        self.ask(self.family, FEATURES_SET, &message).with_context(|| format!("cannot set {features:?} of {device}")).map(drop)
    }

    /// Sends a request, and reads what comes until it is acknowledged: the last message before that, empty if there is none.
    fn ask(&self, family: u16, command: u8, attributes: &[u8]) -> Result<Vec<u8>> {
        let length = u32::try_from(HEADERS + attributes.len())?;
        let head = [&length.to_ne_bytes()[..], &family.to_ne_bytes(), &REQUEST.to_ne_bytes(), &[0; 8], &[command, 1, 0, 0]].concat();
        send(self.socket.as_raw_fd(), &[&head, attributes].concat(), MsgFlags::empty())?;
        let mut answer = Vec::new();
        loop {
            let mut buffer = vec![0; 1 << 16];
            let count = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..count];
            while let Some((message, next)) = split(rest, 4) {
                if word(message, 4) == Some(ERROR) {
                    let code = message.get(16..20).map_or(-1, |bytes| i32::from_ne_bytes(bytes.try_into().unwrap_or_default()));
                    match code {
                        0 => return Ok(answer),
                        code => bail!("{}", std::io::Error::from_raw_os_error(-code)),
                    }
                }
                answer = message.to_vec();
                rest = next;
            }
        }
    }
}

/// An attribute with its header, padded to words.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The number of a family in the kernel's answer about it.
fn family_id(message: &[u8]) -> Option<u16> {
    let mut rest = message.get(HEADERS..)?;
    while let Some((attribute, next)) = split(rest, 2) {
        if word(attribute, 2) == Some(FAMILY_ID) {
            return word(attribute, 4);
        }
        rest = next;
    }
    None
}

/// The first of several records, each of which begins with its length in so many bytes, and the others.
fn split(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let length = match width {
        2 => usize::from(word(bytes, 0)?),
        _ => u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize,
    };
    let next = length.next_multiple_of(4).min(bytes.len());
    (length >= width).then_some(())?;
    Some((bytes.get(..length)?, &bytes[next..]))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
