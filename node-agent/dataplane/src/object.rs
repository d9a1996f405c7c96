//! The object file with the programs: compared with the ABI, then loaded, with its maps created or adopted from their pins.

use crate::{
    Config, Error, Hook, ProgramLog, Xdp,
    bpffs::Pins,
    features, kernel,
    program_log::{self, Reading},
    programs::Programs,
    table::{Tables, difference, open_checked},
};
use aya::{Ebpf, EbpfLoader};
use orknet_abi::{EVENTS, FORMER, FORMER_FLOWS, MAPS, MapSpec, PRIVATE};
use std::{collections::BTreeMap, path::PathBuf};

/// The object file, aligned as the loader wants it; empty if the build found no BPF toolchain.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs.o"));

/// Loaded programs and the maps that they use.
pub(crate) struct Loaded {
    pub(crate) programs: Programs,
    pub(crate) tables: Tables,
    /// Of what the programs say, if they do.
    pub(crate) reading: Option<Reading>,
}

/// Loads the programs that this configuration needs. Maps that are pinned are used as they are; the others are made and pinned. `former` is
/// where flows are pinned that the programs are to look up beside their own.
pub(crate) fn load(config: &Config, pins: &Pins, former: Option<PathBuf>) -> Result<Loaded, Error> {
    check_present()?;
    features::check_programs()?;
    check_capacities(&config.capacities)?;
    let mut loader = EbpfLoader::new();
    // The programs follow no kernel structures, so the types of the kernel, megabytes of them, need not be read.
    loader.btf(None);
    for spec in MAPS {
        loader.map_max_entries(spec.name, capacity(config, spec)).map_pin_path(spec.name, pins.map(spec.name));
    }
    loader.map_pin_path(EVENTS.name, pins.map(EVENTS.name));
    let level = program_log::level(config.program_log);
    loader.override_global(aya_log::LEVEL, &level, true);
    let has_former = u32::from(former.is_some());
    loader.override_global(FORMER, &has_former, true);
    if let Some(path) = former {
        loader.map_pin_path(FORMER_FLOWS, path);
    }
    let mut object = loader.load(OBJECT).map_err(|error| Error::Load(Box::new(error)))?;
    compare_maps(&object)?;
    let reading = (config.program_log != ProgramLog::Off).then(|| Reading::start(&mut object)).transpose()?;
    // Where frames are left to the stack, the program for frames from the wire would be verified for nobody. That for the node's own
    // packets comes when there are Services.
    let is_wanted = |hook| hook != Hook::FromNode && (hook != Hook::FromWire || config.xdp != Xdp::Off);
    let programs = Programs::load(object, is_wanted)?;
    kernel::give_back();
    Ok(Loaded { reading, programs, tables: Tables::open(pins, false)? })
}

/// In what a pinned map differs from the one that would be made now: kind, layout, capacity, or when it gets its memory. `None` if nothing does.
pub(crate) fn misfit(config: &Config, pins: &Pins) -> Result<Option<Error>, Error> {
    for spec in MAPS {
        let (path, wanted) = (pins.map(spec.name), capacity(config, spec));
        if !path.exists() {
            continue;
        }
        match open_checked(&path, spec, true) {
            Ok(file) => {
                if let Some(what) = difference(&file, spec, wanted) {
                    return Ok(Some(Error::PinMismatch { path, what }));
                }
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

/// Whether the build had what it takes to make the programs.
///
/// # Errors
/// It had not.
pub(crate) fn check_present() -> Result<(), Error> {
    check_built(OBJECT, env!("ORKNET_BPF_MISSING"))
}

/// An empty object file stands for a build without a BPF toolchain.
fn check_built(object: &[u8], missing: &'static str) -> Result<(), Error> {
    if object.is_empty() { Err(Error::NoPrograms { missing }) } else { Ok(()) }
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
    // The ring has neither keys nor values to compare.
    let of_no_layout = |name: &str| PRIVATE.contains(&name) || [FORMER_FLOWS, EVENTS.name].contains(&name);
    let ours = object.maps().filter(|(name, _)| !of_no_layout(name) && !of_the_library(name));
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
        assert_eq!((map.as_str(), what.as_str()), ("PODS", "16 and 20 bytes of key and value instead of 16 and 32"));
    }

    #[test]
    fn a_build_without_a_toolchain_says_what_to_do() {
        let error = check_built(&[], "bpf-linker").unwrap_err().to_string();
        assert!(error.contains("bpf-linker") && error.contains("cargo xtask setup"), "{error}");
        assert!(check_built(&[0x7f], "").is_ok());
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
