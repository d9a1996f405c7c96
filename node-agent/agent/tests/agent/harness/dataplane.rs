//! A data plane of plain maps that remembers what was done to it and checks every step.

use orknet_abi::{Count, DropReason};
use orknet_agent::Dataplane;
use orknet_agent::dataplane::{FailedStep, Failure};
use orknet_compiler::{MapImage, Plan, Step};
use orknet_dataplane::MapUse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[derive(Default)]
pub struct FakeDataplane {
    pub maps: Mutex<MapImage>,
    pub steps: Mutex<Vec<Step>>,
    pub devices: Mutex<BTreeSet<u32>>,
    pub cgroup: Mutex<Option<PathBuf>>,
    /// So many of the next writes fail.
    pub failing: Mutex<usize>,
    /// Attaching to a device fails.
    pub refuses_devices: Mutex<bool>,
    /// Reading the maps fails.
    pub unreadable: Mutex<bool>,
    /// So many of the next attempts to retire another version fail.
    pub clinging: Mutex<usize>,
    pub retired: Mutex<bool>,
}

impl FakeDataplane {
    /// The maps as text.
    pub fn dump(&self) -> String {
        self.maps.lock().unwrap().canonical().to_string()
    }

    /// The steps since the last call.
    pub fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.steps.lock().unwrap())
    }
}

impl Dataplane for FakeDataplane {
    fn image(&self) -> Result<MapImage, Failure> {
        if *self.unreadable.lock().unwrap() {
            return Err(Failure("the test wants it".into()));
        }
        Ok(self.maps.lock().unwrap().clone())
    }

    fn holds(&self, image: &MapImage) -> Result<bool, Failure> {
        Ok(*self.maps.lock().unwrap() == *image)
    }

    fn apply(&self, plan: &Plan) -> Vec<FailedStep> {
        let mut maps = self.maps.lock().unwrap();
        let mut failing = self.failing.lock().unwrap();
        let mut failures = Vec::new();
        for step in &plan.steps {
            if *failing > 0 {
                *failing -= 1;
                failures.push(FailedStep { step: step.clone(), why: "the test wants it".into() });
                continue;
            }
            if failures.is_empty() {
                maps.apply(step.clone());
                assert_eq!(maps.flaw(), None, "after {step:?}");
            }
            self.steps.lock().unwrap().push(step.clone());
        }
        failures
    }

    fn attach_cgroup(&self, cgroup: &Path) -> Result<(), Failure> {
        *self.cgroup.lock().unwrap() = Some(cgroup.to_owned());
        Ok(())
    }

    fn attach_pod(&self, ifindex: u32) -> Result<(), Failure> {
        if *self.refuses_devices.lock().unwrap() {
            return Err(Failure("the test wants it".into()));
        }
        self.devices.lock().unwrap().insert(ifindex);
        Ok(())
    }

    fn detach_pod(&self, ifindex: u32) -> Result<(), Failure> {
        self.devices.lock().unwrap().remove(&ifindex);
        Ok(())
    }

    fn pod_devices(&self) -> Result<BTreeSet<u32>, Failure> {
        Ok(self.devices.lock().unwrap().clone())
    }

    fn stale_devices(&self) -> Result<BTreeSet<u32>, Failure> {
        Ok(BTreeSet::new())
    }

    fn retire_other_versions(&self) -> Result<(), Failure> {
        let mut clinging = self.clinging.lock().unwrap();
        if *clinging > 0 {
            *clinging -= 1;
            return Err(Failure("the test wants it".into()));
        }
        *self.retired.lock().unwrap() = true;
        Ok(())
    }

    fn drops(&self) -> Result<Vec<(DropReason, Count)>, Failure> {
        Ok(vec![(DropReason::NoEndpoints, Count { packets: 3, bytes: 0 })])
    }

    fn maps(&self) -> Result<Vec<MapUse>, Failure> {
        let entries = self.maps.lock().unwrap().services.len() as u32;
        Ok(vec![MapUse { name: "SERVICES", entries, capacity: 100, forgets: false }])
    }
}
