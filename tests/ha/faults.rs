//! The faults.

use crate::load::{Expected, under};
use crate::site::{COUNT, Part, SMALL_DISK, Site};
use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use std::time::Duration;

type Test = (&'static str, fn(&Site) -> Result<()>);

pub const TESTS: &[Test] = &[
    ("root_a_server_is_killed", root_a_server_is_killed),
    ("root_a_member_and_then_the_leading_member_are_killed", root_a_member_and_then_the_leading_member_are_killed),
    ("root_a_server_is_cut_off_from_everything", root_a_server_is_cut_off_from_everything),
    ("root_the_leading_member_is_cut_off_from_everything", root_the_leading_member_is_cut_off_from_everything),
    ("root_the_network_is_cut_in_halves", root_the_network_is_cut_in_halves),
    ("root_the_server_that_leads_is_stopped_for_longer_than_its_lease", root_the_server_that_leads_is_stopped_for_longer_than_its_lease),
    ("root_the_leading_member_is_stopped_for_longer_than_a_lease", root_the_leading_member_is_stopped_for_longer_than_a_lease),
    ("root_the_disk_of_a_member_is_full", root_the_disk_of_a_member_is_full),
];

/// How long service may be away where nothing has to be found out: a connection that is refused.
const AT_ONCE: Duration = Duration::from_secs(5);
/// The same where somebody says nothing any more: etcd's election takes a second or two, a connection is given up after eight.
const SILENCE: Duration = Duration::from_secs(12);
/// A Lease lasts 15 s.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(17);
/// Within which another has to lead.
const ANOTHER_LEADS: Duration = Duration::from_secs(20);

fn others(than: usize) -> Vec<usize> {
    (0..COUNT).filter(|number| *number != than).collect()
}

fn root_a_server_is_killed(site: &Site) -> Result<()> {
    under(site, "kill-server", 0, |load| {
        let leader = load.leader(0)?;
        site.kill(Part::Server(leader))?;
        let since = load.now();
        load.serves(since, &others(leader), AT_ONCE)?;
        // It serves again as soon as it is back, and leads nobody meanwhile.
        site.repair()?;
        load.serves(load.now(), &[0, 1, 2], AT_ONCE)?;
        Ok(Expected { within: AT_ONCE, servers: others(leader), started_anew: Some(leader) })
    })
}

fn root_a_member_and_then_the_leading_member_are_killed(site: &Site) -> Result<()> {
    under(site, "kill-member", 0, |load| {
        let leading = site.leading_member()?;
        let following = others(leading)[0];
        site.kill(Part::Member(following))?;
        load.serves(load.now(), &[0, 1, 2], AT_ONCE)?;
        site.repair()?;
        load.serves(load.now(), &[0, 1, 2], AT_ONCE)?;
        let leading = site.leading_member()?;
        site.kill(Part::Member(leading))?;
        load.serves(load.now(), &[0, 1, 2], SILENCE)?;
        Ok(Expected { within: SILENCE, servers: vec![0, 1, 2], started_anew: None })
    })
}

fn root_a_server_is_cut_off_from_everything(site: &Site) -> Result<()> {
    under(site, "cut-server", 0, |load| {
        let server = Part::Server(1);
        let rest: Vec<Part> = Part::all().filter(|part| *part != server).collect();
        site.cut(&[server], &rest)?;
        load.serves(load.now(), &[0, 2], AT_ONCE)?;
        // Long enough that connections are given up on both sides.
        std::thread::sleep(Duration::from_secs(10));
        site.join()?;
        load.serves(load.now(), &[0, 1, 2], SILENCE)?;
        Ok(Expected { within: AT_ONCE, servers: vec![0, 2], started_anew: None })
    })
}

fn root_the_leading_member_is_cut_off_from_everything(site: &Site) -> Result<()> {
    under(site, "cut-leader", 0, |load| {
        let leading = site.leading_member()?;
        let member = Part::Member(leading);
        let rest: Vec<Part> = Part::all().filter(|part| *part != member).collect();
        site.cut(&[member], &rest)?;
        load.serves(load.now(), &[0, 1, 2], SILENCE)?;
        std::thread::sleep(Duration::from_secs(3));
        ensure!(site.leading_member()? != leading, "who is cut off leads");
        site.join()?;
        load.serves(load.now(), &[0, 1, 2], AT_ONCE)?;
        Ok(Expected { within: SILENCE, servers: vec![0, 1, 2], started_anew: None })
    })
}

/// A server and the leading member on one side, which have no majority; the others on the other.
fn root_the_network_is_cut_in_halves(site: &Site) -> Result<()> {
    under(site, "halves", 0, |load| {
        let leading = site.leading_member()?;
        let small = [Part::Server(0), Part::Member(leading)];
        let large: Vec<Part> = Part::all().filter(|part| !small.contains(part)).collect();
        site.cut(&small, &large)?;
        load.serves(load.now(), &[1, 2], SILENCE)?;
        let since = load.now();
        std::thread::sleep(Duration::from_secs(6));
        // Not a single write is acknowledged where there is no majority; the recorder would tell if one were lost.
        let refused = load.serves(since, &[0], Duration::ZERO);
        ensure!(refused.is_err(), "a server without a majority acknowledges writes");
        site.join()?;
        load.serves(load.now(), &[0, 1, 2], SILENCE)?;
        Ok(Expected { within: SILENCE, servers: vec![1, 2], started_anew: None })
    })
}

fn root_the_server_that_leads_is_stopped_for_longer_than_its_lease(site: &Site) -> Result<()> {
    under(site, "stop-server", 0, |load| {
        let leader = load.leader(0)?;
        let server = Part::Server(leader);
        site.signal(server, Signal::SIGSTOP)?;
        load.serves(load.now(), &others(leader), AT_ONCE)?;
        let took = load.another_leads(0, leader, ANOTHER_LEADS)?;
        println!("another leads after {took:.1?}");
        std::thread::sleep(LONGER_THAN_A_LEASE.saturating_sub(took));
        // Whoever was asked while it was stopped has given up; what it does now is recorded.
        site.signal(server, Signal::SIGCONT)?;
        load.serves(load.now(), &[0, 1, 2], SILENCE)?;
        Ok(Expected { within: AT_ONCE, servers: others(leader), started_anew: None })
    })
}

fn root_the_leading_member_is_stopped_for_longer_than_a_lease(site: &Site) -> Result<()> {
    under(site, "stop-member", 0, |load| {
        let member = Part::Member(site.leading_member()?);
        site.signal(member, Signal::SIGSTOP)?;
        load.serves(load.now(), &[0, 1, 2], SILENCE)?;
        std::thread::sleep(LONGER_THAN_A_LEASE);
        site.signal(member, Signal::SIGCONT)?;
        load.serves(load.now(), &[0, 1, 2], AT_ONCE)?;
        Ok(Expected { within: SILENCE, servers: vec![0, 1, 2], started_anew: None })
    })
}

fn root_the_disk_of_a_member_is_full(site: &Site) -> Result<()> {
    // Objects are large, so that the member's disk is written to the end.
    under(site, "full-disk", 40_000, |load| {
        site.fill_disk()?;
        site.ended(Part::Member(SMALL_DISK))?;
        load.serves(load.now(), &[0, 1, 2], AT_ONCE)?;
        site.empty_disk()?;
        site.repair()?;
        load.serves(load.now(), &[0, 1, 2], AT_ONCE)?;
        Ok(Expected { within: SILENCE, servers: vec![0, 1, 2], started_anew: None })
    })
}
