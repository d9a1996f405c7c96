//! What the data plane needs of a kernel: kinds of programs and maps, and the kernel's functions (helpers) that programs call. Each is asked
//! for with a program or a map of the smallest size, so that the answer comes at once and names what is missing.

use crate::Error;
use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{self, BpfHelper},
};
use std::error::Error as StdError;

/// Something that a kernel has or lacks, and since which Linux it is there.
#[derive(Clone, Copy, Debug)]
struct Needed<T> {
    what: T,
    feature: &'static str,
    remedy: &'static str,
}

/// What is needed, its name, and the version of Linux that has it, or what else helps.
macro_rules! needed {
    ($($what:expr, $feature:literal, $remedy:tt;)+) => {
        &[$(Needed { what: $what, feature: $feature, remedy: needed!(@ $remedy) }),+]
    };
    (@ ($remedy:literal)) => { $remedy };
    (@ $version:literal) => { concat!("run Linux ", $version, " or newer") };
}

const PROGRAMS: &[Needed<ProgramType>] = needed! {
    ProgramType::CgroupSockAddr, "cgroup socket programs", ("run a kernel with CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL (Linux 5.18 or newer)");
    ProgramType::SchedClassifier, "tc programs", ("run a kernel with CONFIG_NET_CLS_BPF and CONFIG_BPF_SYSCALL (Linux 5.18 or newer)");
};

const MAPS: &[Needed<MapType>] = needed! {
    MapType::Hash, "BPF hash maps", ("run a kernel with CONFIG_BPF_SYSCALL");
    MapType::Array, "BPF array maps", ("run a kernel with CONFIG_BPF_SYSCALL");
    MapType::PerCpuHash, "BPF hash maps with values for each CPU", "4.6";
    MapType::PerCpuArray, "BPF array maps with values for each CPU", "4.6";
    MapType::LruHash, "BPF hash maps that forget (LRU)", "4.10";
    MapType::LpmTrie, "BPF maps of address ranges (LPM tries)", "4.11";
    MapType::RingBuf, "BPF ring buffers", "5.8";
};

/// Functions that socket hooks call.
const OF_SOCKETS: &[Needed<BpfHelper>] = needed! {
    BpfHelper::BPF_FUNC_set_retval, "bpf_set_retval for socket hooks", "5.18";
    BpfHelper::BPF_FUNC_loop, "bpf_loop", "5.17";
    BpfHelper::BPF_FUNC_ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns", "5.11";
    BpfHelper::BPF_FUNC_get_netns_cookie, "bpf_get_netns_cookie for socket hooks", "5.7";
    BpfHelper::BPF_FUNC_get_socket_cookie, "bpf_get_socket_cookie for socket hooks", "4.18";
    BpfHelper::BPF_FUNC_get_prandom_u32, "bpf_get_prandom_u32", "4.1";
    BpfHelper::BPF_FUNC_map_lookup_elem, "bpf_map_lookup_elem", ("run a kernel with CONFIG_BPF_SYSCALL");
    BpfHelper::BPF_FUNC_map_update_elem, "bpf_map_update_elem", ("run a kernel with CONFIG_BPF_SYSCALL");
    BpfHelper::BPF_FUNC_map_delete_elem, "bpf_map_delete_elem", ("run a kernel with CONFIG_BPF_SYSCALL");
    BpfHelper::BPF_FUNC_ringbuf_reserve, "bpf_ringbuf_reserve", "5.8";
    BpfHelper::BPF_FUNC_ringbuf_submit, "bpf_ringbuf_submit", "5.8";
    BpfHelper::BPF_FUNC_ringbuf_discard, "bpf_ringbuf_discard", "5.8";
};

/// Functions that programs for devices call.
const OF_PACKETS: &[Needed<BpfHelper>] = needed! {
    BpfHelper::BPF_FUNC_loop, "bpf_loop", "5.17";
    BpfHelper::BPF_FUNC_check_mtu, "bpf_check_mtu", "5.12";
    BpfHelper::BPF_FUNC_redirect_peer, "bpf_redirect_peer", "5.10";
    BpfHelper::BPF_FUNC_redirect_neigh, "bpf_redirect_neigh", "5.10";
    BpfHelper::BPF_FUNC_skc_lookup_tcp, "bpf_skc_lookup_tcp", "5.2";
    BpfHelper::BPF_FUNC_sk_lookup_udp, "bpf_sk_lookup_udp", "4.20";
    BpfHelper::BPF_FUNC_sk_release, "bpf_sk_release", "4.20";
    BpfHelper::BPF_FUNC_skb_change_head, "bpf_skb_change_head for tc programs", "5.8";
    BpfHelper::BPF_FUNC_fib_lookup, "bpf_fib_lookup", "4.18";
    BpfHelper::BPF_FUNC_skb_load_bytes_relative, "bpf_skb_load_bytes_relative", "4.18";
    BpfHelper::BPF_FUNC_skb_adjust_room, "bpf_skb_adjust_room", "4.13";
    BpfHelper::BPF_FUNC_skb_change_tail, "bpf_skb_change_tail", "4.9";
    BpfHelper::BPF_FUNC_csum_update, "bpf_csum_update", "4.9";
    BpfHelper::BPF_FUNC_csum_diff, "bpf_csum_diff", "4.6";
    BpfHelper::BPF_FUNC_skb_load_bytes, "bpf_skb_load_bytes", "4.5";
    BpfHelper::BPF_FUNC_redirect, "bpf_redirect", "4.4";
    BpfHelper::BPF_FUNC_skb_get_tunnel_key, "bpf_skb_get_tunnel_key", "4.3";
    BpfHelper::BPF_FUNC_skb_set_tunnel_key, "bpf_skb_set_tunnel_key", "4.3";
    BpfHelper::BPF_FUNC_skb_store_bytes, "bpf_skb_store_bytes", "4.1";
    BpfHelper::BPF_FUNC_l4_csum_replace, "bpf_l4_csum_replace", "4.1";
    BpfHelper::BPF_FUNC_ktime_get_ns, "bpf_ktime_get_ns", "4.1";
};

/// Functions that the program for frames from the wire calls, beside those.
const OF_FRAMES: &[Needed<BpfHelper>] = needed! {
    BpfHelper::BPF_FUNC_xdp_get_buff_len, "bpf_xdp_get_buff_len", ("run Linux 5.18 or newer, or set dataplane.xdp: off");
    BpfHelper::BPF_FUNC_xdp_load_bytes, "bpf_xdp_load_bytes", ("run Linux 5.18 or newer, or set dataplane.xdp: off");
    BpfHelper::BPF_FUNC_xdp_store_bytes, "bpf_xdp_store_bytes", ("run Linux 5.18 or newer, or set dataplane.xdp: off");
};

/// Asks for the kinds of programs: the first of all questions, and quick enough for every start.
///
/// # Errors
/// The first that is missing, or the permission to ask.
pub(crate) fn check_programs() -> Result<(), Error> {
    check(PROGRAMS, |kind| sys::is_program_supported(kind).map_err(boxed))
}

/// Asks for all that every configuration needs. Takes a few milliseconds, in which no real program is loaded.
///
/// # Errors
/// The first that is missing, or the permission to ask.
pub(crate) fn check_all() -> Result<(), Error> {
    check_programs()?;
    check(MAPS, |kind| sys::is_map_supported(kind).map_err(boxed))?;
    check(OF_SOCKETS, |helper| sys::is_helper_supported(ProgramType::CgroupSockAddr, helper).map_err(boxed))?;
    check(OF_PACKETS, |helper| sys::is_helper_supported(ProgramType::SchedClassifier, helper).map_err(boxed))
}

/// The feature that the verifier misses, if it says that it does not know a helper.
pub(crate) fn missing_helper(log: &str) -> Option<Error> {
    let unknown = log.lines().find(|line| line.contains("unknown func") || line.contains("invalid func"))?;
    let all = OF_SOCKETS.iter().chain(OF_PACKETS).chain(OF_FRAMES);
    let named = |needed: &&Needed<BpfHelper>| {
        let name = needed.feature.split(' ').next().unwrap_or_default();
        unknown.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == name)
    };
    all.into_iter().find(named).map(missing)
}

fn check<T: Copy>(needed: &[Needed<T>], ask: impl Fn(T) -> Result<bool, Box<dyn StdError + Send + Sync>>) -> Result<(), Error> {
    for one in needed {
        match ask(one.what) {
            Ok(true) => {}
            Ok(false) => return Err(missing(one)),
            Err(error) if is_denied(error.as_ref()) => {
                return Err(Error::MissingFeature {
                    feature: "the permission to load BPF programs",
                    remedy: "run as root (CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)",
                });
            }
            Err(error) => return Err(Error::Load(error)),
        }
    }
    Ok(())
}

fn missing<T>(needed: &Needed<T>) -> Error {
    Error::MissingFeature { feature: needed.feature, remedy: needed.remedy }
}

fn boxed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Box<dyn StdError + Send + Sync> {
    error.into()
}

fn is_denied(error: &(dyn StdError + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object as _, ObjectSection as _, SectionKind};
    use orknet_abi::MapKind;
    use std::{collections::BTreeSet, io};

    /// The numbers of the functions that instructions call: `BPF_JMP | BPF_CALL` where the source register does not say "a program".
    fn called(code: &[u8]) -> impl Iterator<Item = u32> {
        let calls = code.chunks_exact(8).filter(|word| word[0] == 0x85 && word[1] >> 4 == 0);
        calls.map(|word| u32::from_le_bytes([word[4], word[5], word[6], word[7]]))
    }

    #[test]
    fn every_function_that_programs_call_is_asked_for() {
        let object = object::File::parse(crate::object::OBJECT).unwrap();
        let code = object.sections().filter(|section| section.kind() == SectionKind::Text);
        let calls: BTreeSet<u32> = code.flat_map(|section| called(section.data().unwrap()).collect::<Vec<_>>()).collect();
        let asked: BTreeSet<u32> = OF_SOCKETS.iter().chain(OF_PACKETS).chain(OF_FRAMES).map(|needed| needed.what as u32).collect();
        assert!(calls.len() > 20 && calls.is_subset(&asked), "not asked for: {:?}", calls.difference(&asked).collect::<Vec<_>>());
    }

    #[test]
    fn every_kind_of_map_is_asked_for() {
        let number = |kind: MapKind| kind as u32;
        assert!(orknet_abi::MAPS.iter().all(|spec| MAPS.iter().any(|needed| needed.what as u32 == number(spec.kind))));
    }

    #[test]
    fn what_is_missing_is_named_with_the_remedy_and_so_is_the_lack_of_permission() {
        let lacking = |lacks: BpfHelper| check(OF_PACKETS, |helper| Ok(helper as u32 != lacks as u32));
        let error = lacking(BpfHelper::BPF_FUNC_redirect_peer).unwrap_err().to_string();
        assert_eq!(error, "the kernel lacks bpf_redirect_peer; run Linux 5.10 or newer");
        lacking(BpfHelper::BPF_FUNC_unspec).unwrap();
        let denied = check(PROGRAMS, |_| Err(io::Error::from_raw_os_error(libc::EPERM).into())).unwrap_err().to_string();
        assert!(denied.contains("permission to load BPF programs; run as root"), "{denied}");
        let broken = check(PROGRAMS, |_| Err(io::Error::from_raw_os_error(libc::EIO).into())).unwrap_err();
        assert!(matches!(broken, Error::Load(_)));
    }

    #[test]
    fn a_helper_that_the_kernel_does_not_know_is_named_with_the_remedy() {
        let log = "0: R1=ctx() R10=fp0\n12: (85) call unknown#187\nunknown func bpf_set_retval#187\nprocessed 13 insns (limit 1000000)\n";
        let error = missing_helper(log).unwrap().to_string();
        assert_eq!(error, "the kernel lacks bpf_set_retval for socket hooks; run Linux 5.18 or newer");
        let error = missing_helper("unknown func bpf_redirect_neigh#152\n").unwrap().to_string();
        assert!(error.contains("bpf_redirect_neigh;"), "{error}");
        assert!(missing_helper("R4 !read_ok").is_none());
    }
}
