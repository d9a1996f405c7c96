//! The object file with the programs: compared with the ABI, then loaded, with its maps created or adopted from their pins.

use crate::{
    Config, Error, Hook, ProgramLog,
    attach::Programs,
    bpffs::Pins,
    program_log::{self, Reading},
    table::{Tables, open_checked},
};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError, ProgramType},
};
use orknet_abi::{MAPS, MapSpec};
use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, OwnedFd},
    sync::Mutex,
};

/// The object file, aligned as the loader wants it; empty if the build found no BPF toolchain.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs.o"));

/// Loaded programs and the maps that they use.
pub(crate) struct Loaded {
    pub(crate) programs: Programs,
    pub(crate) tables: Tables,
    /// Of what the programs say, if they do.
    pub(crate) reading: Option<Reading>,
}

/// Loads every program. Maps that are pinned are used as they are; the others are made and pinned.
pub(crate) fn load(config: &Config, pins: &Pins) -> Result<Loaded, Error> {
    check_built(OBJECT, env!("ORKNET_BPF_MISSING"))?;
    check_features()?;
    check_capacities(&config.capacities)?;
    let mut loader = EbpfLoader::new();
    // The programs follow no kernel structures, so the types of the kernel, megabytes of them, need not be read.
    loader.btf(None);
    for spec in MAPS {
        loader.map_max_entries(spec.name, capacity(config, spec)).map_pin_path(spec.name, pins.map(spec.name));
    }
    let level = program_log::level(config.program_log);
    loader.override_global(aya_log::LEVEL, &level, true);
    let mut object = loader.load(OBJECT).map_err(|error| Error::Load(Box::new(error)))?;
    compare_maps(&object)?;
    let files = Hook::all().map(|hook| Ok((hook, load_program(&mut object, hook)?))).collect::<Result<_, Error>>()?;
    let reading = (config.program_log != ProgramLog::Off).then(|| Reading::start(&mut object)).transpose()?;
    Ok(Loaded { reading, programs: Programs { files, object: Mutex::new(object) }, tables: Tables::open(pins, false)? })
}

/// In what a pinned map differs from the one that would be made now: kind, layout or capacity. `None` if nothing does.
pub(crate) fn misfit(config: &Config, pins: &Pins) -> Result<Option<Error>, Error> {
    for spec in MAPS {
        let (path, wanted) = (pins.map(spec.name), capacity(config, spec));
        if !path.exists() {
            continue;
        }
        match open_checked(&path, spec, true) {
            Ok(file) if file.shape().capacity == wanted => {}
            Ok(file) => {
                let what = format!("it has room for {} entries instead of {wanted}", file.shape().capacity);
                return Ok(Some(Error::PinMismatch { path, what }));
            }
            Err(misfit @ Error::PinMismatch { .. }) => return Ok(Some(misfit)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Entries that a map should have room for.
pub(crate) fn capacity(config: &Config, spec: &MapSpec) -> u32 {
    config.capacities.get(spec.name).copied().unwrap_or(spec.capacity)
}

/// An empty object file stands for a build without a BPF toolchain.
fn check_built(object: &[u8], missing: &'static str) -> Result<(), Error> {
    if object.is_empty() { Err(Error::NoPrograms { missing }) } else { Ok(()) }
}

fn load_program(object: &mut Ebpf, hook: Hook) -> Result<OwnedFd, Error> {
    let absent = || Error::Load(format!("the object file has no program {hook}").into());
    let loaded = match object.program_mut(hook.name()).ok_or_else(absent)? {
        Program::CgroupSockAddr(program) => uninterrupted(|| program.load()).and_then(|()| program.fd()),
        Program::SchedClassifier(program) => uninterrupted(|| program.load()).and_then(|()| program.fd()),
        Program::Xdp(program) => uninterrupted(|| program.load()).and_then(|()| program.fd()),
        _ => return Err(absent()),
    };
    let fd = loaded.map_err(|error| refused(hook, error))?;
    fd.as_fd().try_clone_to_owned().map_err(|error| Error::Load(Box::new(error)))
}

/// The verifier gives up with `EAGAIN` when the thread gets a signal or the kernel wants something of it, and may be asked again.
fn uninterrupted(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    const ATTEMPTS: u32 = 16;
    for _ in 1..ATTEMPTS {
        match load() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == std::io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
    load()
}

fn refused(hook: Hook, error: ProgramError) -> Error {
    let reason = match &error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            if let Some(missing) = missing_helper(&log) {
                return missing;
            }
            format!("{io_error}: {}", last_words(&log).unwrap_or("no reason given"))
        }
        other => other.to_string(),
    };
    Error::ProgramRefused { hook, reason, source: Box::new(error) }
}

/// The feature that the verifier misses, if it says that it does not know a helper.
fn missing_helper(log: &str) -> Option<Error> {
    const HELPERS: [(&str, &str, &str); 4] = [
        ("bpf_set_retval", "bpf_set_retval for socket hooks", "run Linux 5.18 or newer"),
        ("bpf_loop", "bpf_loop", "run Linux 5.17 or newer"),
        ("bpf_redirect_peer", "bpf_redirect_peer", "run Linux 5.10 or newer"),
        ("bpf_get_netns_cookie", "bpf_get_netns_cookie for socket hooks", "run Linux 5.7 or newer"),
    ];
    let unknown = log.lines().find(|line| line.contains("unknown func") || line.contains("invalid func"))?;
    let (_, feature, remedy) = HELPERS.into_iter().find(|(name, ..)| unknown.contains(name))?;
    Some(Error::MissingFeature { feature, remedy })
}

/// What the verifier said last before its statistics: why it refused.
fn last_words(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["processed ", "verification time ", "stack depth "];
    let said = |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|words| line.starts_with(words));
    log.lines().map(str::trim).rev().find(said)
}

/// What nothing replaces, asked for one by one, so that the answer names it.
fn check_features() -> Result<(), Error> {
    const NEEDED: [(ProgramType, &str, &str); 2] = [
        (
            ProgramType::CgroupSockAddr,
            "cgroup socket programs",
            "run a kernel with CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL (Linux 5.18 or newer)",
        ),
        (ProgramType::SchedClassifier, "tc programs", "run a kernel with CONFIG_NET_CLS_BPF and CONFIG_BPF_SYSCALL (Linux 5.18 or newer)"),
    ];
    for (kind, feature, remedy) in NEEDED {
        match aya::sys::is_program_supported(kind) {
            Ok(true) => {}
            Ok(false) => return Err(Error::MissingFeature { feature, remedy }),
            Err(error) if is_denied(&error) => {
                return Err(Error::MissingFeature {
                    feature: "the permission to load BPF programs",
                    remedy: "run as root (CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)",
                });
            }
            Err(error) => return Err(Error::Load(Box::new(error))),
        }
    }
    Ok(())
}

fn is_denied(error: &ProgramError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        source = error.source();
    }
    false
}

fn check_capacities(capacities: &BTreeMap<String, u32>) -> Result<(), Error> {
    for (name, capacity) in capacities {
        let wrong = |what| Err(Error::Capacity { map: name.clone(), what });
        match MAPS.iter().find(|spec| spec.name == name) {
            None => return wrong("there is no such map"),
            Some(spec) if *spec == orknet_abi::CONNECTIONS && *capacity != spec.capacity => return wrong("its size is fixed"),
            Some(_) if *capacity == 0 => return wrong("a map needs room for one entry"),
            Some(spec) if *spec == orknet_abi::DROPS && *capacity < spec.capacity => return wrong("each drop reason needs its place"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The object must have the ABI's maps, and no others: what is not in the ABI would be neither pinned nor seen.
fn compare_maps(object: &Ebpf) -> Result<(), Error> {
    let of_the_library = |name: &str| name == program_log::MAP || name.starts_with('.');
    let ours = object.maps().filter(|(name, _)| !of_the_library(name));
    let present: BTreeMap<&str, (u32, u32)> = ours.filter_map(|(name, map)| Some((name, sizes(map)?))).collect();
    disagreement(&present, MAPS).map_or(Ok(()), |(map, what)| Err(Error::ObjectMismatch { map, what }))
}

fn sizes(map: &aya::maps::Map) -> Option<(u32, u32)> {
    use aya::maps::Map;
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::PerCpuHashMap(data)
    | Map::PerCpuArray(data)
    | Map::LpmTrie(data)) = map
    else {
        return Some((0, 0));
    };
    let info = data.info().ok()?;
    Some((info.key_size(), info.value_size()))
}

/// The first map in which an object with these key and value sizes differs from the specification.
fn disagreement(present: &BTreeMap<&str, (u32, u32)>, specs: &[MapSpec]) -> Option<(String, String)> {
    for spec in specs {
        match present.get(spec.name) {
            None => return Some((spec.name.to_owned(), "the object has none".to_owned())),
            Some(&(key, value)) if (key, value) != (spec.key_size, spec.value_size) => {
                let what = format!("{key} and {value} bytes of key and value instead of {} and {}", spec.key_size, spec.value_size);
                return Some((spec.name.to_owned(), what));
            }
            Some(_) => {}
        }
    }
    let strange = present.keys().find(|name| !specs.iter().any(|spec| spec.name == **name))?;
    Some(((*strange).to_owned(), "the ABI has none".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_the_abi() -> BTreeMap<&'static str, (u32, u32)> {
        MAPS.iter().map(|spec| (spec.name, (spec.key_size, spec.value_size))).collect()
    }

    #[test]
    fn an_object_with_the_maps_of_the_abi_agrees() {
        assert_eq!(disagreement(&of_the_abi(), MAPS), None);
    }

    #[test]
    fn a_map_that_is_absent_or_strange_or_of_another_size_is_named() {
        let mut absent = of_the_abi();
        absent.remove("SERVICES");
        assert_eq!(disagreement(&absent, MAPS).unwrap().0, "SERVICES");
        let mut strange = of_the_abi();
        strange.insert("STRANGE", (4, 4));
        assert_eq!(disagreement(&strange, MAPS).unwrap().0, "STRANGE");
        let mut other_size = of_the_abi();
        other_size.insert("PODS", (16, 20));
        let (map, what) = disagreement(&other_size, MAPS).unwrap();
        assert_eq!((map.as_str(), what.as_str()), ("PODS", "16 and 20 bytes of key and value instead of 16 and 16"));
    }

    #[test]
    fn a_build_without_a_toolchain_says_what_to_do() {
        let error = check_built(&[], "bpf-linker").unwrap_err().to_string();
        assert!(error.contains("bpf-linker") && error.contains("cargo xtask setup"), "{error}");
        assert!(check_built(&[0x7f], "").is_ok());
    }

    #[test]
    fn a_helper_that_the_kernel_does_not_know_is_named_with_the_remedy() {
        let log = "0: R1=ctx() R10=fp0\n12: (85) call unknown#187\nunknown func bpf_set_retval#187\nprocessed 13 insns (limit 1000000)\n";
        let error = missing_helper(log).unwrap().to_string();
        assert_eq!(error, "the kernel lacks bpf_set_retval for socket hooks; run Linux 5.18 or newer");
        assert!(missing_helper("R4 !read_ok").is_none());
    }

    #[test]
    fn a_refusal_gives_the_verifiers_last_words() {
        let log = "46: (7b) *(u64 *)(r10 -184) = r4\nR4 !read_ok\nverification time 666 usec\nstack depth 280+0\nprocessed 99 insns\n";
        assert_eq!(last_words(log), Some("R4 !read_ok"));
        assert_eq!(last_words("processed 0 insns\n"), None);
    }

    #[test]
    fn capacities_are_checked_by_name_and_size() {
        let capacities = |name: &str, capacity| BTreeMap::from([(name.to_owned(), capacity)]);
        assert!(check_capacities(&capacities("SERVICES", 1)).is_ok());
        for (name, capacity) in [("SERVICE", 1), ("SERVICES", 0), ("DROPS", 1)] {
            assert!(matches!(check_capacities(&capacities(name, capacity)), Err(Error::Capacity { map, .. }) if map == name));
        }
    }
}
