//! Pure: spreads endpoints over slices of at most a hundred while rewriting as few slices as possible. An endpoint stays in the slice it is
//! in; new ones fill slices that must be written anyway, then slices with room, then new slices.

use std::collections::HashMap;
use std::hash::Hash;

use k8s_openapi::api::discovery::v1::Endpoint;

/// The most endpoints in one slice.
pub(crate) const MAX_ENDPOINTS: usize = 100;

/// Endpoints of one family and port set.
pub(super) struct Packed<I> {
    /// Slices whose endpoints change, with their new endpoints.
    pub changed: Vec<(I, Vec<Endpoint>)>,
    /// Slices that stay as they are.
    pub kept: Vec<I>,
    /// Slices left without any endpoint.
    pub emptied: Vec<I>,
    /// The endpoints of new slices.
    pub created: Vec<Vec<Endpoint>>,
}

/// What makes two endpoints the same one in another state.
#[derive(PartialEq, Eq, Hash)]
struct Identity<'a> {
    addresses: &'a [String],
    uid: Option<&'a str>,
}

fn identity(endpoint: &Endpoint) -> Identity<'_> {
    Identity { addresses: &endpoint.addresses, uid: endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()) }
}

/// Places `desired` over `existing` slices. Slices are told apart by whatever `I` is.
pub(super) fn pack<I: Copy + Eq + Hash>(existing: &[(I, &[Endpoint])], desired: Vec<Endpoint>) -> Packed<I> {
    let mut packed = Packed { changed: Vec::new(), kept: Vec::new(), emptied: Vec::new(), created: Vec::new() };
    let mut open: Vec<(I, Vec<Endpoint>, bool)> = Vec::new();
    let mut unplaced: Vec<Option<Endpoint>> = Vec::new();
    {
        let positions: HashMap<Identity<'_>, usize> =
            desired.iter().enumerate().map(|(index, endpoint)| (identity(endpoint), index)).collect();
        let mut placed = vec![false; desired.len()];
        for (id, endpoints) in existing {
            let mut next = Vec::with_capacity(endpoints.len());
            for endpoint in *endpoints {
                let Some(index) = positions.get(&identity(endpoint)).copied().filter(|index| !placed[*index]) else { continue };
                if next.len() < MAX_ENDPOINTS {
                    placed[index] = true;
                    next.push(desired[index].clone());
                }
            }
            let touched = next != *endpoints;
            open.push((*id, next, touched));
        }
        // Duplicates in `desired` share an identity: only the last one is reachable, and it alone is placed.
        let reachable: Vec<bool> =
            desired.iter().enumerate().map(|(index, endpoint)| positions.get(&identity(endpoint)) == Some(&index)).collect();
        for (index, endpoint) in desired.iter().enumerate() {
            unplaced.push(Some(endpoint.clone()).filter(|_| !placed[index] && reachable[index]));
        }
    }
    let mut left: Vec<Endpoint> = unplaced.into_iter().flatten().collect();
    // Fullest first, so that few slices stay half empty.
    open.sort_by_key(|(_, endpoints, touched)| (!touched, std::cmp::Reverse(endpoints.len())));
    for (_, endpoints, touched) in &mut open {
        let room = MAX_ENDPOINTS.saturating_sub(endpoints.len()).min(left.len());
        // An untouched slice is opened only if that saves making a new one.
        if room > 0 && (*touched || left.len() % MAX_ENDPOINTS <= room) {
            let take = if *touched { room } else { (left.len() % MAX_ENDPOINTS).min(room) };
            endpoints.extend(left.drain(left.len() - take..));
            *touched |= take > 0;
        }
    }
    while !left.is_empty() {
        packed.created.push(left.drain(left.len().saturating_sub(MAX_ENDPOINTS)..).collect());
    }
    for (id, endpoints, touched) in open {
        match (endpoints.is_empty(), touched) {
            (true, _) => packed.emptied.push(id),
            (false, true) => packed.changed.push((id, endpoints)),
            (false, false) => packed.kept.push(id),
        }
    }
    packed
}
