//! What the fuzz of packets sends back: the answer to what a packet became is the answer to what it was, and errors about the one are errors
//! about the other.

use crate::bench::{A_MACS, B_MACS, DEVICE_A, DEVICE_B, FAMILIES, NODE_MAC, ip};
use crate::frames::{IP, Packet, crc32c, error, internet_sum, set_v4_checksum, unsound};
use crate::fuzz::Fuzz;
use orknet_abi::protocol::{ICMP, ICMP6, SCTP, TCP, UDP};
use orknet_dataplane::{Hook, Ran, Verdict};
use rand::Rng as _;
use std::net::IpAddr;

/// What went there and back.
pub const WITH_PORTS: &str = "there and back";
pub const ASSOCIATION: &str = "an association's, there and back";
pub const PING: &str = "a ping, there and back";
pub const PORTLESS: &str = "without ports, there and back";
pub const FIRST: &str = "a first fragment, there and back";
pub const LATER: &str = "a later fragment, there and back";
pub const ABOUT_IT: &str = "an error about what it became";
pub const ITSELF_ERROR: &str = "an error, and what it is about";

/// Which of these are a small part of all packets.
pub const RARE: [&str; 7] = [ASSOCIATION, PING, PORTLESS, FIRST, LATER, ABOUT_IT, ITSELF_ERROR];

/// Where somebody sends a frame into the node: the program, its device, and which MAC address the frame is for.
struct Entrance {
    hook: Hook,
    device: u32,
    mac: [u8; 6],
}

impl Fuzz {
    /// The answer to a translated packet, as its receiver would send it, arrives as the answer to the packet that was sent; so does what a
    /// router says about it.
    pub fn go_back(&mut self, sent: &[u8], ran: &Ran) {
        let (Some(before), Some(after)) = (Packet::read(sent), Packet::read(&ran.frame)) else { return };
        if (before.source, before.destination) == (after.source, after.destination) {
            return;
        }
        // Nobody else answers what is sent to pod A.
        if self.hook == Hook::ToPod && FAMILIES.iter().all(|family| before.destination != ip(family.pod_a)) {
            return;
        }
        // Answers of other nodes go another way then, and what tells its Service is not what the client sent.
        let is_here = FAMILIES.iter().any(|family| [family.pod_a, family.pod_b].map(ip).contains(&after.destination));
        if self.is_direct && !(is_here && is_plain(&before)) {
            return;
        }
        if is_error(&before) {
            return self.follow_quoted(sent, [&before, &after], ran);
        }
        let Some(what) = self.what(&before, &after) else { return };
        let entrance = self.entrance(&after.destination, sent, &ran.frame);
        let mut answer = mirror(&ran.frame, &after);
        answer[..6].copy_from_slice(&entrance.mac);
        let mut back = self.run_at(entrance.hook, entrance.device, &answer);
        if entrance.hook == Hook::FromWire && back.verdict == Verdict::Next {
            // What looks as if nobody had summed it up, and fragments after the first, are the stack's.
            back = self.run_at(Hook::FromNetwork, entrance.device, &answer);
        }
        let context =
            || format!("{:?}\n in {sent:02x?}\nout {:02x?}\nanswer {answer:02x?}\nback {:02x?}", self.hook, ran.frame, back.frame);
        assert!(matches!(back.verdict, Verdict::Redirect | Verdict::Next), "{:?} {}", entrance.hook, context());
        assert_eq!(unsound(&answer).is_none(), unsound(&back.frame).is_none(), "{}", context());
        let again = Packet::read(&back.frame).unwrap();
        assert_eq!(comparable(&mirror(&back.frame, &again), &again), comparable(sent, &before), "{}", context());
        self.note(what);
        // Of less an error would not tell whose it is.
        if !before.is_fragment && is_plain(&before) && before.payload.len() >= 8 && self.random.random_ratio(1, 4) {
            self.complain(sent, [&before, &after], ran);
        }
    }

    /// What goes back, if its answer can be known.
    fn what(&mut self, before: &Packet, after: &Packet) -> Option<&'static str> {
        let ends = [after.source, after.destination];
        if before.is_later {
            // Its first fragment went just before.
            let first = self.first.take()?;
            assert_eq!(first, ends, "all fragments go the same way");
            return Some(LATER);
        }
        let what = match before.protocol {
            TCP | UDP => WITH_PORTS,
            SCTP => ASSOCIATION,
            ICMP | ICMP6 if is_ping(before) => PING,
            ICMP | ICMP6 | 0 | 43 | 44 | 59 | 60 => return None,
            _ => PORTLESS,
        };
        // On the wire the others are left to the stack.
        if before.is_fragment && self.is_meant && self.hook != Hook::FromWire {
            self.first = Some(ends);
        }
        Some(if before.is_fragment { FIRST } else { what })
    }

    /// Where the host at an address, to which a frame went, sends something into the node.
    fn entrance(&self, address: &IpAddr, sent: &[u8], went: &[u8]) -> Entrance {
        let (eth0, went_to) = (self.bench.eth0, &went[..6]);
        // A program names a pod: a frame for which it names nobody may have any MAC address.
        let is_named = went_to != &sent[..6];
        if is_named && went_to == B_MACS[0] {
            Entrance { hook: Hook::FromPod, device: DEVICE_B, mac: B_MACS[1] }
        } else if is_named && went_to == A_MACS[0] || self.hook == Hook::ToPod {
            // Pod A is behind the loopback device.
            Entrance { hook: Hook::FromPod, device: DEVICE_A, mac: [0; 6] }
        } else if FAMILIES.iter().any(|family| ip(family.node) == *address) {
            let hook = if self.hook == Hook::FromNode { Hook::FromNode } else { Hook::ToNetwork };
            Entrance { hook, device: eth0, mac: went_to.try_into().unwrap() }
        } else {
            let hook = if self.hook == Hook::FromWire { Hook::FromWire } else { Hook::FromNetwork };
            Entrance { hook, device: eth0, mac: NODE_MAC }
        }
    }

    /// An error about what the packet became, from its receiver or from a router on the way: its sender learns of the packet that it sent.
    fn complain(&mut self, sent: &[u8], [before, after]: [&Packet; 2], ran: &Ran) {
        let mut entrance = self.entrance(&after.destination, sent, &ran.frame);
        if entrance.hook == Hook::FromWire {
            // They are left to the program behind.
            entrance.hook = Hook::FromNetwork;
        }
        let family = FAMILIES[usize::from(after.source.is_ipv6())];
        let is_routers = entrance.hook == Hook::FromNetwork && self.random.random();
        let from = if is_routers { ip(family.router) } else { after.destination };
        let kind = if from.is_ipv4() { self.pick(&[[3, 1], [3, 4], [11, 0]]) } else { self.pick(&[[1, 0], [2, 0], [3, 0]]) };
        let about = &ran.frame[IP..after.offset + after.payload.len()];
        let mut told = error(from, after.source, kind, 1400, about).bytes();
        told[..6].copy_from_slice(&entrance.mac);
        let back = self.run_at(entrance.hook, entrance.device, &told);
        let context = || format!("{:?}\n in {sent:02x?}\nout {:02x?}\ntold {told:02x?}\nback {:02x?}", self.hook, ran.frame, back.frame);
        assert!(matches!(back.verdict, Verdict::Redirect | Verdict::Next), "{:?} {}", entrance.hook, context());
        assert_eq!(unsound(&back.frame), None, "{}", context());
        let learned = Packet::read(&back.frame).unwrap();
        assert_eq!(learned.payload[..2], kind, "{}", context());
        let seen_from = if from == after.destination { before.destination } else { from };
        assert_eq!((learned.source, learned.destination), (seen_from, before.source), "{}", context());
        assert_quoted(learned.quoted(), &sent[IP..before.offset + before.payload.len()], &context());
        self.note(ABOUT_IT);
    }

    /// A translated error: what it is about, sent by its sender, becomes what it was about.
    fn follow_quoted(&mut self, sent: &[u8], [before, after]: [&Packet; 2], ran: &Ran) {
        let (Some(was), Some(is)) = (Packet::read_ip(before.quoted()), Packet::read_ip(after.quoted())) else { return };
        let family = FAMILIES[usize::from(is.source.is_ipv6())];
        assert_eq!(after.destination, is.source, "it goes to the sender of what it is about: {sent:02x?}");
        let mut entrance = self.entrance(&after.destination, sent, &ran.frame);
        if entrance.hook == Hook::FromWire || entrance.hook == Hook::ToNetwork && is.destination == ip(family.pod_a) {
            return;
        }
        if entrance.hook == Hook::FromNode {
            entrance.mac = [0; 6];
        }
        let asked = [&entrance.mac[..], &ran.frame[6..14], after.quoted()].concat();
        let forth = self.run_at(entrance.hook, entrance.device, &asked);
        let context =
            || format!("{:?}\n in {sent:02x?}\nout {:02x?}\nasked {asked:02x?}\nforth {:02x?}", self.hook, ran.frame, forth.frame);
        assert!(matches!(forth.verdict, Verdict::Redirect | Verdict::Next), "{:?} {}", entrance.hook, context());
        let again = Packet::read(&forth.frame).unwrap();
        let about = &before.quoted()[..was.offset - IP + was.payload.len()];
        assert_quoted(&forth.frame[IP..again.offset + again.payload.len()], about, &context());
        self.note(ITSELF_ERROR);
    }
}

/// Whether nothing stands between the IP header and the protocol's.
fn is_plain(packet: &Packet) -> bool {
    packet.offset == IP + if packet.source.is_ipv4() { 20 } else { 40 }
}

fn is_error(packet: &Packet) -> bool {
    match packet.protocol {
        ICMP => packet.source.is_ipv4() && !packet.is_fragment && matches!(packet.payload[0], 3 | 11 | 12),
        ICMP6 => packet.source.is_ipv6() && !packet.is_fragment && matches!(packet.payload[0], 1..=4),
        _ => false,
    }
}

/// Whether this is an echo request, which alone is answered.
fn is_ping(packet: &Packet) -> bool {
    match packet.protocol {
        ICMP => packet.source.is_ipv4() && packet.payload[0] == 8,
        ICMP6 => packet.source.is_ipv6() && packet.payload[0] == 128,
        _ => false,
    }
}

/// The packet with both ends changing places, an echo request as its answer and the reverse, and hops for a way of its own.
fn mirror(frame: &[u8], packet: &Packet) -> Vec<u8> {
    let mut mirrored = frame.to_vec();
    let (at, length, hop_limit) = if packet.source.is_ipv4() { (IP + 12, 4, IP + 8) } else { (IP + 8, 16, IP + 7) };
    mirrored[at..at + length].copy_from_slice(&frame[at + length..at + 2 * length]);
    mirrored[at + length..at + 2 * length].copy_from_slice(&frame[at..at + length]);
    mirrored[hop_limit] = 64;
    if packet.source.is_ipv4() {
        set_v4_checksum(&mut mirrored);
    }
    if packet.is_later {
        return mirrored;
    }
    let header = packet.offset;
    match packet.protocol {
        // No checksum but SCTP's sees that two words change places.
        TCP | UDP | SCTP => {
            mirrored[header..header + 2].copy_from_slice(&frame[header + 2..header + 4]);
            mirrored[header + 2..header + 4].copy_from_slice(&frame[header..header + 2]);
        }
        ICMP | ICMP6 => turn(&mut mirrored[header..]),
        _ => {}
    }
    if packet.protocol == SCTP && !packet.is_fragment {
        let whole = header..header + packet.payload.len();
        mirrored[header + 8..header + 12].fill(0);
        let checksum = crc32c(&mirrored[whole]).to_le_bytes();
        mirrored[header + 8..header + 12].copy_from_slice(&checksum);
    }
    mirrored
}

/// Makes an ICMP echo request its answer and the reverse; the checksum stays as right as it is.
fn turn(message: &mut [u8]) {
    let (was, is) = match message[0] {
        8 => (8, 0),
        0 => (0, 8),
        128 => (128, 129),
        129 => (129, 128),
        _ => return,
    };
    message[0] = is;
    let checksum = !internet_sum(&[&[!message[2], !message[3]], &[!was, 0xff], &[is, 0]]);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}

/// Where the checksum of the protocol is, and how long.
fn checksum(protocol: u8) -> (usize, usize) {
    match protocol {
        TCP => (16, 2),
        ICMP | ICMP6 => (2, 2),
        SCTP => (8, 4),
        // UDP's, and those of DCCP and UDP-Lite.
        _ => (6, 2),
    }
}

/// What must be the same after there and back: all but MAC addresses, hops, and which of its two zeros a checksum is.
fn comparable(frame: &[u8], packet: &Packet) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[..12].fill(0);
    frame[if packet.source.is_ipv4() { IP + 8 } else { IP + 7 }] = 0;
    if packet.source.is_ipv4() {
        frame[IP + 10..IP + 12].fill(0);
    }
    let (at, length) = checksum(packet.protocol);
    let at = packet.offset + at;
    // UDP's two zeros are not the same.
    if matches!(packet.protocol, TCP | ICMP | ICMP6 | 33 | 136) && !packet.is_later && frame.get(at..at + length) == Some(&[0xff, 0xff]) {
        frame[at..at + length].fill(0);
    }
    frame
}

/// Two packets that errors quote are the same but for hops and the protocol's checksum, of which most is cut off. The header's own has
/// the same sum.
#[track_caller]
fn assert_quoted(got: &[u8], wanted: &[u8], context: &str) {
    let bare = |quoted: &[u8]| {
        let packet = Packet::read_ip(quoted).unwrap();
        let mut frame = comparable(&[&[0; 14][..], quoted].concat(), &packet);
        let (at, length) = checksum(packet.protocol);
        let (at, end) = (packet.offset + at, packet.offset + at + length);
        if let Some(checksum) = frame.get_mut(at..end) {
            checksum.fill(0);
        }
        // A header's sum that was wrong is as wrong afterwards.
        let sum = packet.source.is_ipv4().then(|| internet_sum(&[&quoted[..packet.offset - IP]]));
        (frame, sum)
    };
    assert_eq!(bare(got), bare(wanted), "{context}");
}
