//! Policies, from facts to map entries. Pure.
//!
//! Read in this order: [`atoms`] (what an address may satisfy, and which addresses do), [`resolve`] (the rules of a policy for a pod),
//! [`rules`] (a set of rules: all that hold for a pod in one direction), [`flatten`] (what a set says about an end, for all ports at once),
//! [`ports`] (the same as prefixes), [`blocks`] (ranges of addresses as prefixes), [`whole`] (everything at once).

pub(crate) mod atoms;
pub(crate) mod blocks;
pub(crate) mod flatten;
pub(crate) mod ports;
pub(crate) mod resolve;
pub(crate) mod rules;
pub(crate) mod whole;
