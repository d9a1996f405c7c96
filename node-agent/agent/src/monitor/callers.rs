//! Whose socket it was: programs at sockets know the number of the caller's network namespace alone. A pod's is asked for once, when a call is
//! refused that may be its own, and forgotten with the pod.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

/// Asks for the numbers of the network namespaces at some paths, in their order; `None` for one that cannot be entered.
pub type Ask<'a> = dyn Fn(&[PathBuf]) -> Vec<Option<u64>> + 'a;

/// The network namespaces of pods by their numbers.
#[derive(Debug, Default)]
pub struct Callers {
    /// Number and file, by the pod's device.
    known: BTreeMap<u32, (u64, PathBuf)>,
}

impl Callers {
    /// The devices of the pods that these numbers stand for; `files` are all pods' by device. Those of which nothing is known are asked for at
    /// once, if a number is not known: some microseconds each.
    pub fn devices(&mut self, cookies: &HashSet<u64>, files: &BTreeMap<u32, PathBuf>, ask: &Ask<'_>) -> HashMap<u64, u32> {
        // A device's index and a file's name may be another pod's later on; both at once are not, since files are named at random.
        self.known.retain(|device, (_, file)| files.get(device) == Some(file));
        let of_known: HashSet<u64> = self.known.values().map(|(cookie, _)| *cookie).collect();
        if !cookies.is_subset(&of_known) {
            let unknown: Vec<_> = files.iter().filter(|(device, _)| !self.known.contains_key(device)).collect();
            let paths: Vec<_> = unknown.iter().map(|(_, file)| (*file).clone()).collect();
            let asked = if paths.is_empty() { Vec::new() } else { ask(&paths) };
            let found = unknown.into_iter().zip(asked).filter_map(|((device, file), cookie)| Some((*device, (cookie?, file.clone()))));
            self.known.extend(found);
        }
        self.known.iter().filter(|(_, (cookie, _))| cookies.contains(cookie)).map(|(device, (cookie, _))| (*cookie, *device)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn namespaces_are_asked_for_once_and_forgotten_with_their_pods() {
        let mut callers = Callers::default();
        let asked = RefCell::new(Vec::new());
        let look = |paths: &[PathBuf]| {
            asked.borrow_mut().extend(paths.iter().map(|path| path.display().to_string()));
            let cookie = |path: &PathBuf| ["one", "two", "three"].iter().position(|name| path.as_os_str() == *name);
            paths.iter().map(|path| cookie(path).map(|place| 11 + place as u64)).collect()
        };
        let files =
            |names: &[(u32, &str)]| -> BTreeMap<u32, PathBuf> { names.iter().map(|(device, name)| (*device, name.into())).collect() };
        let mut ask = |cookies: &[u64], names: &[(u32, &str)]| {
            let found = callers.devices(&cookies.iter().copied().collect(), &files(names), &look);
            (found.into_iter().collect::<BTreeMap<_, _>>(), asked.take())
        };
        let none = || (BTreeMap::new(), Vec::new());
        assert_eq!(ask(&[], &[(7, "one")]), none(), "nobody asks");
        assert_eq!(
            ask(&[12], &[(7, "one"), (8, "two"), (9, "gone")]),
            ([(12, 8)].into(), vec!["one".to_owned(), "two".to_owned(), "gone".to_owned()])
        );
        assert_eq!(ask(&[11, 12], &[(7, "one"), (8, "two")]), ([(11, 7), (12, 8)].into(), Vec::new()));
        // Another pod has the device; what is nobody's is looked for among new pods alone.
        assert_eq!(ask(&[11, 99], &[(7, "three"), (8, "two")]), (BTreeMap::new(), vec!["three".to_owned()]));
        assert_eq!(ask(&[13, 11], &[(7, "three"), (8, "two")]), ([(13, 7)].into(), Vec::new()));
    }
}
