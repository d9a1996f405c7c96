//! From what is wanted to the writes that lead there, and to the image that they leave.

use super::State;
use super::draft::Draft;
use super::query::health_check;
use crate::claims::Claim;
use crate::fronts::{Front, Ground, fronts};
use crate::hosts::host_fronts;
use crate::image::{Plan, Step};
use crate::tables::{self, chunk_count};
use orknet_abi::{BackendKey, Pod, PodKey, RangeKey, Service, ServiceKey, SourceKey, TableKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// For every entry that may have changed: what it should be; `None` for nobody's.
type Wanted = BTreeMap<ServiceKey, Option<Front>>;

impl State {
    /// Takes note of changes and plans them.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = super::Change>) -> Plan {
        changes.into_iter().for_each(|change| self.note(change));
        self.plan()
    }

    /// The writes that lead from what the kernel holds to what is wanted; [`Self::image`] is then what it will hold. If writes fail,
    /// [`Self::take_back`] says whether that is still known; else read the maps back and [`Self::adopt`] them.
    pub fn plan(&mut self) -> Plan {
        self.forget_before();
        self.plan_round()
    }

    fn plan_round(&mut self) -> Plan {
        let mut draft = Draft::default();
        if self.sweep {
            self.take_stock();
        }
        // What is left of a list that found no room must not be in the way of the next attempt.
        draft.delete_leftovers = self.retire_leftovers();
        self.plan_node(&mut draft);
        let wanted = self.wanted_services();
        let moved = self.settle_demand(&wanted);
        for (key, front) in wanted {
            match front {
                Some(front) => self.put_service(key, &front, &mut draft),
                None => self.delete_service(key, &mut draft),
            }
        }
        moved.into_iter().for_each(|key| self.put_table(key, &mut draft));
        self.sweep = false;
        self.retire(&mut draft);
        let again = self.plan_policies(&mut draft);
        if std::mem::take(&mut self.ranges_dirty) {
            self.plan_ranges(&mut draft);
        }
        let mut plan = draft.into_plan();
        // Tables that had no room before others went (each round serves one of them or more), and addresses that no rule asks any more.
        if again || (!self.waiting.is_empty() && self.has_room_for_a_table()) {
            plan.steps.extend(self.plan_round().steps);
        }
        plan
    }

    /// The same for the pods and their policies alone, for the time before the Services are known. What is not planned now is planned later.
    pub fn plan_attachments(&mut self) -> Plan {
        self.forget_before();
        let mut plan = Plan::default();
        loop {
            let mut draft = Draft::default();
            let again = self.plan_policies(&mut draft);
            plan.steps.extend(draft.into_plan().steps);
            if !again {
                return plan;
            }
        }
    }

    /// Pods and all that policies say of them. Whether another round is to follow.
    fn plan_policies(&mut self, draft: &mut Draft) -> bool {
        self.pods_dirty |= self.policies.plan(&self.attachments, &mut self.image, draft);
        if std::mem::take(&mut self.pods_dirty) {
            self.plan_pods(draft);
        }
        self.policies.retire(&mut self.image, draft)
    }

    /// Finds out which lists, tables and sets of an image that was read back are whole, and who uses them.
    fn take_stock(&mut self) {
        let mut lists: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for (key, backend) in &self.image.backends {
            lists.entry(key.list).or_default().push((key.slot, *backend));
        }
        self.lists.adopt(lists.into_iter().map(|(list, slots)| {
            let is_whole = slots.iter().zip(0..).all(|((slot, _), place)| *slot == place);
            (list, is_whole.then(|| slots.into_iter().map(|(_, backend)| backend).collect()))
        }));
        let mut sets: BTreeMap<u32, Vec<RangeKey>> = BTreeMap::new();
        for key in &self.image.sources {
            sets.entry(key.set).or_default().push(key.range());
        }
        self.sources.adopt(sets.into_iter().map(|(set, ranges)| (set, Some(ranges.into()))));
        self.take_stock_of_tables();
        for service in self.image.services.values() {
            let parts = PartsOf::of(service);
            if let Some(list) = parts.list {
                self.lists.hold(list);
                if self.lists.content(list).is_none_or(|backends| backends.len() != service.count as usize) {
                    self.lists.spoil(list);
                }
            }
            parts.table.into_iter().for_each(|table| self.tables.hold(table));
            parts.sources.into_iter().for_each(|set| self.sources.hold(set));
        }
    }

    /// A table does not say what it was made of. A Service that uses it does; whether it is right, only making it again can tell.
    fn take_stock_of_tables(&mut self) {
        let size = self.image.node.map_or(0, |node| node.table_size);
        let mut found: BTreeMap<u32, Option<tables::Addresses>> = self.image.tables.keys().map(|key| (key.table, None)).collect();
        for service in self.image.services.values() {
            let parts = PartsOf::of(service);
            let (Some(list), Some(table)) = (parts.list, parts.table) else { continue };
            let Some(content) = found.get_mut(&table).filter(|content| content.is_none()) else { continue };
            let Some(addresses) = self.lists.content(list).and_then(|backends| tables::addresses(backends, size)) else { continue };
            let held = self.image.table(table).map(|(key, chunk)| (key.chunk, Arc::clone(chunk)));
            if held.eq((0..).zip(tables::chunks(&addresses, size))) {
                *content = Some(addresses);
            }
        }
        self.tables.adopt(found.into_iter());
    }

    /// Tables of another size than the node's mean nothing. So all Services leave theirs before the size changes.
    fn plan_node(&mut self, draft: &mut Draft) {
        if self.image.node == self.settings {
            return;
        }
        let size = |node: Option<orknet_abi::Node>| node.map_or(0, |node| node.table_size);
        if size(self.image.node) != size(self.settings) {
            for (key, service) in self.image.services.iter_mut().filter(|(_, service)| service.table != 0) {
                PartsOf::of(service).table.into_iter().for_each(|table| self.tables.release(table));
                service.table = 0;
                draft.leave_tables.push(Step::PutService(*key, *service));
            }
            self.tables.spoil_all();
            self.dirty.extend(self.services.keys().cloned());
        }
        draft.put_node.push(Step::PutNode(self.settings.unwrap_or_default()));
        self.image.node = self.settings;
    }

    /// A key that one Service gives up and another takes is in here once.
    fn wanted_services(&mut self) -> Wanted {
        let mut wanted = Wanted::new();
        let claims = &self.claims;
        let ground = Ground { node: &self.node, options: &self.options, owner: |claim: &Claim| claims.owner(claim) };
        for name in std::mem::take(&mut self.dirty) {
            let Some(entry) = self.services.get_mut(&name) else { continue };
            let slices = entry.slices.iter().map(|(_, slice)| slice);
            let new = entry.service.as_ref().map(|service| fronts(&name, service, slices, &ground)).unwrap_or_default();
            let health = entry.service.as_ref().and_then(|service| health_check(service, &entry.slices, &self.node));
            let health_before = match health {
                Some(health) => self.health.insert(name.clone(), health),
                None => self.health.remove(&name),
            };
            self.health_changed |= health_before != health;
            let keys = new.keys().copied().collect();
            for key in std::mem::replace(&mut entry.keys, keys) {
                wanted.entry(key).or_insert(None);
            }
            wanted.extend(new.into_iter().map(|(key, front)| (key, Some(front))));
            if entry.service.is_none() && entry.slices.is_empty() {
                self.services.remove(&name);
            }
        }
        let hosts = host_fronts(self.attachments.values(), &ground);
        let keys = hosts.keys().copied().collect();
        for key in std::mem::replace(&mut self.host_keys, keys) {
            wanted.entry(key).or_insert(None);
        }
        wanted.extend(hosts.into_iter().map(|(key, front)| (key, Some(front))));
        if self.sweep {
            // All Services are in it then, so what is not wanted by now is nobody's.
            for key in self.image.services.keys() {
                wanted.entry(*key).or_insert(None);
            }
        }
        wanted
    }

    /// Which entries get a table. Those that want the same as before, and nevertheless get or lose one, are answered.
    fn settle_demand(&mut self, wanted: &Wanted) -> BTreeSet<ServiceKey> {
        let size = self.table_size();
        for (key, front) in wanted {
            self.demand.set(*key, front.as_ref().and_then(|front| front.table(size)));
        }
        let mut moved = self.demand.settle(tables::most(self.options.table_room, size));
        moved.append(&mut self.waiting);
        moved.retain(|key| !wanted.contains_key(key));
        moved
    }

    fn put_service(&mut self, key: ServiceKey, front: &Front, draft: &mut Draft) {
        let list = self.list_of(front, draft);
        let table = self.table_of(key, draft);
        let sources = self.sources_of(front, draft);
        let new = front.value(list, table, sources);
        let old = self.image.services.insert(key, new);
        if old != Some(new) {
            self.before.note(key, old);
            draft.put_services.push(Step::PutService(key, new));
        }
        self.hold(&new);
        old.iter().for_each(|old| self.release(old));
    }

    /// Gives an entry the table that it should have, and changes nothing else.
    fn put_table(&mut self, key: ServiceKey, draft: &mut Draft) {
        let Some(old) = self.image.services.get(&key).copied() else { return };
        let new = Service { table: self.table_of(key, draft), ..old };
        if old != new {
            self.before.note(key, Some(old));
            self.image.services.insert(key, new);
            draft.put_services.push(Step::PutService(key, new));
            self.hold(&new);
            self.release(&old);
        }
    }

    fn delete_service(&mut self, key: ServiceKey, draft: &mut Draft) {
        if let Some(old) = self.image.services.remove(&key) {
            draft.delete_services.push(Step::DeleteService(key));
            self.release(&old);
        }
    }

    fn list_of(&mut self, front: &Front, draft: &mut Draft) -> u32 {
        if front.backends.is_empty() {
            return 0;
        }
        self.lists.number(&front.backends).unwrap_or_else(|| {
            let list = self.lists.insert(Arc::clone(&front.backends));
            for (slot, backend) in (0..).zip(front.backends.iter()) {
                let key = BackendKey { list, slot };
                self.image.backends.insert(key, *backend);
                draft.put_backends.push(Step::PutBackend(key, *backend));
            }
            list
        })
    }

    fn table_of(&mut self, key: ServiceKey, draft: &mut Draft) -> u32 {
        let Some(addresses) = self.demand.granted(&key).cloned() else { return 0 };
        if let Some(table) = self.tables.number(&addresses) {
            return table;
        }
        let size = self.table_size();
        if !self.has_room_for_a_table() {
            self.waiting.insert(key);
            return 0;
        }
        let table = self.tables.insert(Arc::clone(&addresses));
        for (chunk, slots) in (0..).zip(tables::chunks(&addresses, size)) {
            let key = TableKey { table, chunk };
            self.image.tables.insert(key, Arc::clone(&slots));
            draft.put_tables.push(Step::PutTable(key, slots));
        }
        table
    }

    fn sources_of(&mut self, front: &Front, draft: &mut Draft) -> u32 {
        let Some(ranges) = &front.sources else { return 0 };
        self.sources.number(ranges).unwrap_or_else(|| {
            let set = self.sources.insert(Arc::clone(ranges));
            for range in ranges.iter() {
                let key = SourceKey::new(set, range);
                self.image.sources.insert(key);
                draft.put_sources.push(Step::PutSource(key));
            }
            set
        })
    }

    /// A table that will be removed at the end of the plan still takes its room.
    fn has_room_for_a_table(&self) -> bool {
        let chunks = u64::from(chunk_count(self.table_size()));
        (self.tables.len() as u64 + 1) * chunks <= u64::from(self.options.table_room)
    }

    pub(super) fn hold(&mut self, service: &Service) {
        let parts = PartsOf::of(service);
        parts.list.into_iter().for_each(|list| self.lists.hold(list));
        parts.table.into_iter().for_each(|table| self.tables.hold(table));
        parts.sources.into_iter().for_each(|set| self.sources.hold(set));
    }

    pub(super) fn release(&mut self, service: &Service) {
        let parts = PartsOf::of(service);
        parts.list.into_iter().for_each(|list| self.lists.release(list));
        parts.table.into_iter().for_each(|table| self.tables.release(table));
        parts.sources.into_iter().for_each(|set| self.sources.release(set));
    }

    /// What nobody uses any more goes.
    fn retire(&mut self, draft: &mut Draft) {
        let lists = self.lists.retire();
        draft.delete_backends.extend(self.remove_backends(&lists));
        for table in self.tables.retire() {
            let keys: Vec<_> = self.image.table(table).map(|(key, _)| key).collect();
            for key in keys {
                let chunk = self.image.tables.remove(&key);
                self.before.tables.extend(chunk.map(|chunk| (key, chunk)));
                draft.delete_tables.push(Step::DeleteTable(key));
            }
        }
        let sets = self.sources.retire();
        draft.delete_sources.extend(self.remove_sources(&sets));
    }

    /// Parts that nobody uses and nobody can use.
    fn retire_leftovers(&mut self) -> Vec<Step> {
        let (lists, sets) = (self.lists.retire_spoiled(), self.sources.retire_spoiled());
        let mut steps = self.remove_sources(&sets);
        steps.extend(self.remove_backends(&lists));
        steps
    }

    fn remove_backends(&mut self, lists: &BTreeSet<u32>) -> Vec<Step> {
        let mut steps = Vec::new();
        for list in lists {
            let found: Vec<_> = self.image.list(*list).collect();
            for (key, backend) in found {
                self.image.backends.remove(&key);
                self.before.backends.insert(key, backend);
                steps.push(Step::DeleteBackend(key));
            }
        }
        steps
    }

    fn remove_sources(&mut self, sets: &BTreeSet<u32>) -> Vec<Step> {
        if sets.is_empty() {
            return Vec::new();
        }
        let keys: Vec<_> = self.image.sources.iter().filter(|key| sets.contains(&key.set)).copied().collect();
        keys.iter().for_each(|key| _ = self.image.sources.remove(key));
        keys.into_iter().map(Step::DeleteSource).collect()
    }

    fn plan_pods(&mut self, draft: &mut Draft) {
        let mut wanted: BTreeMap<PodKey, Pod> = BTreeMap::new();
        for (name, attachment) in &self.attachments {
            let entry = |(key, _)| Some((key, self.policies.entry(name, attachment, &key, &self.image)?));
            wanted.extend(attachment.entries().filter_map(entry));
        }
        for (key, pod) in &wanted {
            let old = self.image.pods.get(key).copied();
            if old != Some(*pod) {
                self.before.note_pod(*key, old);
                draft.put_pods.push(Step::PutPod(*key, *pod));
            }
        }
        for (key, old) in self.image.pods.iter().filter(|(key, _)| !wanted.contains_key(key)) {
            self.before.note_pod(*key, Some(*old));
            draft.delete_pods.push(Step::DeletePod(*key));
        }
        self.image.pods = wanted;
    }

    fn plan_ranges(&mut self, draft: &mut Draft) {
        let changed = self.ranges.iter().filter(|(key, range)| self.image.ranges.get(key) != Some(range));
        draft.put_ranges.extend(changed.map(|(key, range)| Step::PutRange(*key, *range)));
        let gone = self.image.ranges.keys().filter(|key| !self.ranges.contains_key(key));
        draft.delete_ranges.extend(gone.map(|key| Step::DeleteRange(*key)));
        self.image.ranges.clone_from(&self.ranges);
    }
}

/// What an entry uses, by number.
struct PartsOf {
    list: Option<u32>,
    table: Option<u32>,
    sources: Option<u32>,
}

impl PartsOf {
    fn of(service: &Service) -> Self {
        Self {
            list: (service.count > 0).then_some(service.list),
            table: (service.table > 0).then_some(service.table),
            sources: (service.sources > 0).then_some(service.sources),
        }
    }
}
