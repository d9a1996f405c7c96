//! A packet's walk, from hook to hook and from node to node: which hook sees it next is decided here, what a hook does with it the real
//! programs say.

use super::ends::{Question, Start};
use super::names::Names;
use super::packet::{self, Ends, send_to};
use super::places::Place;
use super::sockets::{self, Connect};
use super::words::{self, Told};
use anyhow::{Context, Result, bail};
use orknet_abi::{DropReason, event_kind, way_kind};
use orknet_dataplane::{Hook, Traced, Verdict};
use std::net::IpAddr;

/// More hooks than any way has: one that goes round ends here.
const MOST_HOOKS: usize = 16;

/// What was seen.
pub struct Story {
    pub steps: Vec<Told>,
    pub end: End,
    /// What becomes of what answers it; `None` where it does not arrive, or nobody here would answer.
    pub answer: Option<End>,
}

/// How a walk ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It gets to whom it was for.
    Arrives(String),
    /// It leaves what can be looked into here.
    GoesOut(String),
    /// It ends on a node, for a reason that the programs gave, or as is said.
    Dropped { node: String, reason: Option<DropReason>, text: String },
}

impl End {
    pub fn arrives(&self) -> bool {
        !matches!(self, Self::Dropped { .. })
    }
}

/// Where a packet is.
enum At {
    /// A hook at a device of a node gets it.
    Hook(Hook, usize, u32),
    /// A node's stack has it.
    Stack(usize),
    /// It leaves a node, by this device if that is known.
    Leaves(usize, Option<u32>),
    /// It comes to a node from the network.
    Comes(usize),
    /// It is in a pod.
    InPod(usize, u32),
    End(End),
}

/// A packet on its way.
struct Journey {
    frame: Vec<u8>,
    /// The packet's mark on the node where it is.
    mark: u32,
    /// Index of the device where it came into that node; 0 if the node itself sends it.
    came_in: u32,
    at: At,
}

/// Walks over the nodes that are here.
pub struct Walk<'a> {
    places: Vec<Place>,
    names: &'a Names,
}

impl<'a> Walk<'a> {
    pub fn new(places: Vec<Place>, names: &'a Names) -> Self {
        Self { places, names }
    }

    /// Traces what was asked for, and what would answer it.
    pub fn trace(&mut self, question: &Question) -> Result<Story> {
        let mut steps = Vec::new();
        let Some(mut journey) = self.begin(question, &mut steps)? else {
            let end = steps.last().and_then(Told::end).context("no end")?;
            return Ok(Story { steps, end, answer: None });
        };
        let arrived = self.walk(&mut journey, &mut steps)?;
        self.tell_arrival(&arrived, &journey.frame, &mut steps);
        let answer = match (&arrived, &journey.at) {
            (At::InPod(place, device), _) => self.answer(&journey.frame, At::Hook(Hook::FromPod, *place, *device))?,
            (At::End(End::Arrives(_)), At::Stack(place)) => self.answer(&journey.frame, At::Stack(*place))?,
            _ => None,
        };
        Ok(Story { end: self.end(arrived, &journey.frame), steps, answer })
    }

    /// The packet where it begins; `None` if it never is one.
    fn begin(&mut self, question: &Question, steps: &mut Vec<Told>) -> Result<Option<Journey>> {
        let mut ends = question.ends;
        let at = match question.start {
            Start::Pod(place, device) => {
                self.tell_connect(place, &ends, steps)?;
                At::Hook(Hook::FromPod, place, device)
            }
            Start::Node(place) => {
                match self.tell_connect(place, &ends, steps)? {
                    Connect::Refused(_) => return Ok(None),
                    Connect::OneOf(backends) => ends.destination = *backends.first().context("a list without backends")?,
                    Connect::AsItIs | Connect::Packets => {}
                }
                let route = if question.has_source { None } else { self.places[place].route(ends.destination.ip())? };
                if let Some(source) = route.and_then(|route| route.source) {
                    ends.source.set_ip(source);
                }
                At::Stack(place)
            }
            Start::Outside(place) => At::Comes(place),
        };
        Ok(Some(Journey { frame: ends.opening(), mark: 0, came_in: 0, at }))
    }

    fn tell_connect(&self, place: usize, ends: &Ends, steps: &mut Vec<Told>) -> Result<Connect> {
        let node = &self.places[place];
        let connect = sockets::connect(&node.reader()?, ends.destination, ends.protocol)?;
        steps.extend(words::connect(node, &connect, ends, self.names));
        Ok(connect)
    }

    /// Goes on until the packet is in a pod or its walk ends; `journey.at` is then where it was last.
    fn walk(&mut self, journey: &mut Journey, steps: &mut Vec<Told>) -> Result<At> {
        for _ in 0..MOST_HOOKS {
            let next = match journey.at {
                At::Hook(hook, place, device) => self.run(hook, place, device, journey, steps)?,
                At::Stack(place) => self.in_stack(place, journey)?,
                At::Leaves(place, device) => self.leave(place, device, journey, steps)?,
                At::Comes(place) => self.come(place, journey, steps)?,
                At::InPod(..) | At::End(_) => bail!("a walk goes on after its end"),
            };
            if matches!(next, At::InPod(..) | At::End(_)) {
                return Ok(next);
            }
            journey.at = next;
        }
        let node = String::new();
        Ok(At::End(End::Dropped { node, reason: None, text: "goes round in a circle".to_owned() }))
    }

    /// What a hook does with it.
    fn run(&mut self, hook: Hook, place: usize, device: u32, journey: &mut Journey, steps: &mut Vec<Told>) -> Result<At> {
        self.tell_unpoliced(hook, place, &journey.frame, steps);
        if hook == Hook::FromPod {
            let mac = journey_mac(&self.places[place], device);
            send_to(&mut journey.frame, mac);
        }
        if matches!(hook, Hook::FromPod | Hook::FromNetwork) {
            journey.came_in = device;
        }
        let before = journey.frame.clone();
        let traced = self.places[place].run(hook, device, journey.came_in, journey.mark, &journey.frame)?;
        let node = &self.places[place];
        steps.extend(words::events(node, hook, &traced, &before, self.names)?);
        if let Some(reason) = traced.refused {
            let is_answered = traced.ran.verdict != Verdict::Drop && packet::is_refusal(&traced.ran.frame);
            let text = words::refusal(reason, is_answered);
            return Ok(At::End(End::Dropped { node: node.name.clone(), reason: Some(reason), text }));
        }
        (journey.frame, journey.mark) = (traced.ran.frame.clone(), traced.ran.mark);
        Ok(match traced.ran.verdict {
            Verdict::Drop | Verdict::Other(_) => {
                let text = "dropped, and no reason was counted".to_owned();
                At::End(End::Dropped { node: node.name.clone(), reason: None, text })
            }
            Verdict::Next => match hook {
                Hook::ToPod => At::InPod(place, device),
                Hook::ToNetwork => self.on_the_wire(place, device, &journey.frame)?,
                _ => At::Stack(place),
            },
            Verdict::Redirect => self.redirected(place, &traced, &journey.frame)?,
        })
    }

    /// A packet that nobody translates or judges goes into the pod without a word of the programs.
    fn tell_arrival(&self, arrived: &At, frame: &[u8], steps: &mut Vec<Told>) {
        let (At::InPod(place, device), Some(ends)) = (arrived, Ends::of(frame)) else { return };
        let node = &self.places[*place];
        let to = ends.destination.ip();
        match node.pod(to) {
            Some(pod) if pod.ingress == 0 => steps.push(words::not_isolated(node, Hook::ToPod, to, "ingress", self.names)),
            Some(_) if node.is_own(ends.source.ip()) => steps.push(words::from_own_node(node, to, self.names)),
            _ => {}
        }
        if !steps.iter().any(Told::leads_into_pod) {
            steps.push(words::into_pod(node, *device));
        }
    }

    /// A pod without rules of a direction is not judged, and no event says so.
    fn tell_unpoliced(&self, hook: Hook, place: usize, frame: &[u8], steps: &mut Vec<Told>) {
        let Some(ends) = Ends::of(frame) else { return };
        let node = &self.places[place];
        if hook == Hook::FromPod
            && let Some(pod) = node.pod(ends.source.ip())
            && pod.egress == 0
        {
            steps.push(words::not_isolated(node, hook, ends.source.ip(), "egress", self.names));
        }
    }

    /// Where a program has sent it, past the stack.
    fn redirected(&self, place: usize, traced: &Traced, frame: &[u8]) -> Result<At> {
        let node = &self.places[place];
        let to = destination(frame)?;
        let way = traced.told.iter().rev().find(|told| told.event.kind == event_kind::STEP_WAY).map(|told| told.event);
        let kind = way.and_then(|way| u8::try_from(way.reason).ok());
        Ok(match kind {
            Some(way_kind::POD) => At::InPod(place, way.map_or(0, |way| way.set)),
            Some(way_kind::HOME) => At::Stack(place),
            _ => match node.pod(to) {
                Some(pod) => At::InPod(place, pod.ifindex),
                None => At::Leaves(place, way.map(|way| way.set).filter(|device| *device != 0)),
            },
        })
    }

    /// What a node's stack does with it.
    fn in_stack(&self, place: usize, journey: &Journey) -> Result<At> {
        let node = &self.places[place];
        let to = destination(&journey.frame)?;
        if let Some(pod) = node.pod(to) {
            return Ok(At::Hook(Hook::ToPod, place, pod.ifindex));
        }
        if node.is_own(to) {
            return Ok(At::End(End::Arrives(format!("a process of {}", node.name))));
        }
        Ok(At::Leaves(place, None))
    }

    /// Out of a node.
    fn leave(&self, place: usize, device: Option<u32>, journey: &mut Journey, steps: &mut Vec<Told>) -> Result<At> {
        let node = &self.places[place];
        let to = destination(&journey.frame)?;
        let route = node.route(to)?;
        let Some(device) = device.or(route.as_ref().map(|route| route.device)) else {
            let text = format!("the routes of {} lead nowhere for {to}", node.name);
            return Ok(At::End(End::Dropped { node: node.name.clone(), reason: None, text }));
        };
        let next = route.filter(|route| route.device == device).and_then(|route| route.next);
        // A VPN's device, another runtime's bridge, or one that is not among the agent's `devices`: nothing is translated there.
        let is_ours = node.has_program(Hook::ToNetwork, device)?;
        steps.push(words::leaves(node, device, next, to, is_ours));
        if is_ours { Ok(At::Hook(Hook::ToNetwork, place, device)) } else { self.on_the_wire(place, device, &journey.frame) }
    }

    /// Between nodes.
    fn on_the_wire(&self, place: usize, device: u32, frame: &[u8]) -> Result<At> {
        let ends = Ends::of(frame).context("the packet can't be read any more")?;
        let to = ends.destination.ip();
        let is_there = |other: &usize| *other != place && (self.places[*other].pod(to).is_some() || self.places[*other].is_own(to));
        if let Some(other) = (0..self.places.len()).find(is_there) {
            return Ok(At::Comes(other));
        }
        let node = &self.places[place];
        let range = sockets::range_of(&node.reader()?.ranges()?, ends.destination);
        let beyond = range.map(|range| IpAddr::from(range.node)).filter(|address| !address.is_unspecified());
        let by = node.device_name(device);
        Ok(At::End(End::GoesOut(match beyond {
            Some(address) => format!("from {} by {by} to the node {address}, which can't be looked into here", node.name),
            None => format!("from {} by {by} to {to}, which is of no node here", node.name),
        })))
    }

    /// Into a node.
    fn come(&self, place: usize, journey: &mut Journey, steps: &mut Vec<Told>) -> Result<At> {
        let node = &self.places[place];
        let device = node.network_device().with_context(|| format!("no device of {} leads to the network", node.name))?;
        let to = destination(&journey.frame)?;
        let is_pods = node.pod(to).is_some();
        // What comes through the overlay comes in on its device.
        let device = if is_pods && node.node.overlay != 0 { node.device(node.node.overlay).unwrap_or(device) } else { device };
        let is_ours = node.has_program(Hook::FromNetwork, device.index)?;
        steps.push(words::comes(node, device, is_ours));
        send_to(&mut journey.frame, device.mac);
        journey.mark = 0;
        journey.came_in = device.index;
        Ok(if is_ours { At::Hook(Hook::FromNetwork, place, device.index) } else { At::Stack(place) })
    }

    /// The answer's way back, without its steps.
    fn answer(&mut self, frame: &[u8], at: At) -> Result<Option<End>> {
        let Some(ends) = Ends::of(frame) else { return Ok(None) };
        let mut journey = Journey { frame: ends.reversed().answer(), mark: 0, came_in: 0, at };
        let arrived = self.walk(&mut journey, &mut Vec::new())?;
        Ok(Some(self.end(arrived, &journey.frame)))
    }

    fn end(&self, at: At, frame: &[u8]) -> End {
        match at {
            At::End(end) => end,
            At::InPod(place, _) => {
                let node = &self.places[place];
                let who = destination(frame).map(|to| words::who(to, self.names)).unwrap_or_default();
                End::Arrives(format!("{who} on {}", node.name))
            }
            _ => End::Dropped { node: String::new(), reason: None, text: "does not end".to_owned() },
        }
    }
}

/// The address that the host's side of a pod's device has.
fn journey_mac(node: &Place, device: u32) -> [u8; 6] {
    node.pods.values().find(|pod| pod.ifindex == device).map_or(packet::ANY_MAC, |pod| pod.host_mac)
}

fn destination(frame: &[u8]) -> Result<IpAddr> {
    Ok(Ends::of(frame).context("the packet can't be read any more")?.destination.ip())
}
