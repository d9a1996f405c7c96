//! What becomes of a flow: decided from its two entries and the clock, without a look at the kernel.

use orknet_abi::{Flow, FlowKey, flow_state, flow_timeout, protocol};

/// Seconds that an entry may be alone: a program makes the two entries of a flow one after the other.
const ALONE: u32 = 10;

/// What becomes of an entry and its pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays for so many seconds at least, if no packet comes.
    Keep(u32),
    /// Nothing went either way for as long as its kind of flow may be silent.
    Expired,
    /// Its pair is not there, so that its packets could not be answered.
    Alone,
}

/// Seconds for which an entry stays whatever its pair says; `None` if its pair must be asked. Most entries of a busy node need no
/// second look.
pub(super) fn stays_alone(key: &FlowKey, flow: &Flow, now: u32) -> Option<u32> {
    // With any pair it may be silent for longer, but for the pair's FIN, RST or end of the backend, after which this is the time.
    let shortest = flow_timeout(key.protocol, flow_state::GONE, flow.state & flow_state::PLAIN);
    left(flow.used_seconds, shortest, now)
}

/// What becomes of an entry. `pair` is what stands at the reverse of what its packets become.
pub(super) fn judge(key: &FlowKey, flow: &Flow, pair: Option<&Flow>, now: u32) -> Verdict {
    let Some(pair) = pair.filter(|pair| pair.becomes.reversed() == *key) else {
        return left(flow.used_seconds, ALONE, now).map_or(Verdict::Alone, Verdict::Keep);
    };
    let timeout = flow_timeout(key.protocol, flow.state | pair.state, flow.state & pair.state);
    left(flow.used_seconds.max(pair.used_seconds), timeout, now).map_or(Verdict::Expired, Verdict::Keep)
}

/// Whether the end of a backend resets the flow instead of ending it without a word: only then does it stay for a while.
pub(super) fn is_reset_when_gone(key: &FlowKey) -> bool {
    key.protocol == protocol::TCP
}

/// Seconds until something that was used then has been silent for longer than `timeout`. Clocks of programs may be a second ahead.
fn left(used: u32, timeout: u32, now: u32) -> Option<u32> {
    let silent = now.saturating_sub(used);
    (silent <= timeout).then(|| timeout - silent + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::Address;
    use proptest::prelude::*;

    const NOW: u32 = 100_000;

    /// Client 10.0.0.1 to a node port, translated to a backend with the node's address as its source.
    fn pair(protocol: u8) -> (FlowKey, Flow, FlowKey, Flow) {
        let key = |source: [u8; 4], source_port: u16, destination: [u8; 4], port: u16| FlowKey {
            source: Address::from_v4(source),
            destination: Address::from_v4(destination),
            source_port_be: source_port.to_be(),
            destination_port_be: port.to_be(),
            protocol,
            reserved: [0; 3],
        };
        let (came, left) = (key([10, 0, 0, 1], 4_000, [192, 0, 2, 1], 30_080), key([192, 0, 2, 1], 1_024, [10, 244, 2, 2], 80));
        let forward = Flow { becomes: left, state: flow_state::FORWARD, used_seconds: NOW, ..Flow::default() };
        let reply = Flow { becomes: came.reversed(), state: 0, used_seconds: NOW, ..Flow::default() };
        (came, forward, left.reversed(), reply)
    }

    /// The first second after the last packet at which the flow is forgotten.
    fn lifetime(protocol: u8, forward_state: u32, reply_state: u32) -> u32 {
        let (key, mut forward, reply_key, mut reply) = pair(protocol);
        (forward.state, reply.state) = (forward.state | forward_state, reply_state);
        let expired = |seconds: &u32| judge(&key, &forward, Some(&reply), NOW + seconds) == Verdict::Expired;
        let seconds = (0..10_000).find(expired).unwrap();
        assert_eq!(judge(&reply_key, &reply, Some(&forward), NOW + seconds), Verdict::Expired, "both halves say the same");
        assert_eq!(judge(&reply_key, &reply, Some(&forward), NOW + seconds - 1), Verdict::Keep(1));
        seconds
    }

    #[test]
    fn flows_live_as_long_as_the_standards_say() {
        use flow_state::{CONFIRMED, DIRECT, FINISHED, GONE, OPENED, PLAIN, RESET};
        let after = |seconds: u32| seconds + 1;
        assert_eq!(lifetime(protocol::TCP, OPENED | CONFIRMED, OPENED), after(7_440), "established");
        assert_eq!(lifetime(protocol::TCP, OPENED, OPENED), after(240), "half open");
        assert_eq!(lifetime(protocol::TCP, OPENED | DIRECT, DIRECT), after(240), "half open, of which this node sees one direction");
        assert_eq!(lifetime(protocol::TCP, OPENED | CONFIRMED | DIRECT, DIRECT), after(7_440));
        assert_eq!(lifetime(protocol::TCP, OPENED, 0), after(240), "no answer yet");
        assert_eq!(lifetime(protocol::TCP, OPENED | CONFIRMED | FINISHED, OPENED), after(7_440), "half closed");
        assert_eq!(lifetime(protocol::TCP, OPENED | CONFIRMED | FINISHED, OPENED | FINISHED), after(240), "closed");
        assert_eq!(lifetime(protocol::TCP, OPENED | CONFIRMED, OPENED | RESET), after(240), "reset");
        assert_eq!(lifetime(protocol::TCP, OPENED | CONFIRMED | GONE, OPENED | GONE), after(240), "the backend is gone");
        assert_eq!(
            lifetime(protocol::TCP, OPENED | CONFIRMED | FINISHED | PLAIN, OPENED | FINISHED | PLAIN),
            after(10),
            "closed, and never translated"
        );
        assert_eq!(lifetime(protocol::TCP, OPENED | CONFIRMED | PLAIN, OPENED | PLAIN), after(7_440));
        assert_eq!(lifetime(protocol::UDP, CONFIRMED, CONFIRMED), after(300));
        assert_eq!(lifetime(protocol::UDP, CONFIRMED, 0), after(120), "no answer yet");
        assert_eq!(lifetime(protocol::ICMP, 0, 0), after(60));
        assert_eq!(lifetime(protocol::ICMP6, 0, 0), after(60));
        assert_eq!(lifetime(protocol::SCTP, OPENED | CONFIRMED, OPENED), after(7_440));
    }

    #[test]
    fn one_direction_keeps_both_entries() {
        let (key, mut forward, reply_key, reply) = pair(protocol::UDP);
        forward.used_seconds = NOW - 5_000;
        assert!(matches!(judge(&key, &forward, Some(&reply), NOW), Verdict::Keep(_)));
        assert!(matches!(judge(&reply_key, &reply, Some(&forward), NOW), Verdict::Keep(_)));
    }

    #[test]
    fn half_of_a_flow_goes_but_not_while_it_is_being_made() {
        let (key, forward, _, mut reply) = pair(protocol::TCP);
        assert!(matches!(judge(&key, &forward, None, NOW + ALONE), Verdict::Keep(1)));
        assert_eq!(judge(&key, &forward, None, NOW + ALONE + 1), Verdict::Alone);
        // Another flow's entry stands where the pair should be.
        reply.becomes.source_port_be ^= 1;
        assert_eq!(judge(&key, &forward, Some(&reply), NOW + ALONE + 1), Verdict::Alone);
    }

    proptest! {
        #[test]
        fn what_stays_without_a_look_at_its_pair_is_expired_with_none(
            protocol in prop::sample::select(vec![protocol::TCP, protocol::UDP, protocol::SCTP, protocol::ICMP, protocol::ICMP6, 47]),
            states in (0_u32..1_024, 0_u32..1_024),
            used in (0_u32..20_000, 0_u32..20_000),
        ) {
            let (key, mut forward, _, mut reply) = pair(protocol);
            (forward.state, reply.state) = states;
            (forward.used_seconds, reply.used_seconds) = (NOW - used.0, NOW - used.1);
            let verdict = judge(&key, &forward, Some(&reply), NOW);
            if let Some(left) = stays_alone(&key, &forward, NOW) {
                prop_assert!(matches!(verdict, Verdict::Keep(longer) if longer >= left), "{verdict:?} after {left}");
            }
        }

        #[test]
        fn a_flow_that_was_used_a_moment_ago_always_stays(state in (0_u32..128, 0_u32..128), ahead in 0_u32..2) {
            for protocol in 0..=255 {
                let (key, mut forward, _, mut reply) = pair(protocol);
                (forward.state, reply.state) = state;
                (forward.used_seconds, reply.used_seconds) = (0, NOW + ahead);
                prop_assert!(matches!(judge(&key, &forward, Some(&reply), NOW), Verdict::Keep(_)));
            }
        }
    }
}
