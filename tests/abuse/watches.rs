//! Very many watches, and watches whose clients never read.

use crate::guard::Guarded;
use anyhow::{Context, Result, ensure};
use orknet_tests::faults;
use orknet_tests::https::{Api, Stream};
use std::time::Instant;

faults![
    abuse_a_thousand_watches_of_one_client_hear_of_a_change_and_cost_little,
    abuse_watches_that_are_never_read_hold_little_and_stop_nobody,
    abuse_watches_that_come_and_go_leave_nothing,
];

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WATCHES: usize = 1000;
/// Threads that open them.
const THREADS: usize = 8;

/// Opens so many watches, each on a connection of its own.
fn open(api: &Api, path: &str, count: usize) -> Result<Vec<Stream>> {
    std::thread::scope(|scope| {
        let open = |count: usize| (0..count).map(|_| api.connect()?.follow(path)).collect::<Result<Vec<_>>>();
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(move || open(count / THREADS))).collect();
        let mut streams = Vec::new();
        for thread in threads {
            streams.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(streams)
    })
}

fn write(api: &Api, name: &str, bytes: usize) -> Result<()> {
    let body = format!(r#"{{"metadata":{{"name":{name:?}}},"data":{{"k":"{}"}}}}"#, "x".repeat(bytes));
    api.post(CONFIG_MAPS, &body)?.expect(201).map(drop)
}

fn abuse_a_thousand_watches_of_one_client_hear_of_a_change_and_cost_little() -> Result<()> {
    let guarded = Guarded::start()?;
    // From no version on they would begin with what is there.
    let version = guarded.api.get(CONFIG_MAPS)?.expect(200)?["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();
    let mut watches = open(&guarded.api, &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"), WATCHES)?;
    guarded.serves_others()?;
    write(&guarded.api, "told", 10)?;
    let asked = Instant::now();
    for (number, watch) in watches.iter_mut().enumerate() {
        loop {
            let line = watch.line()?.with_context(|| format!("watch {number} ended"))?;
            let text = String::from_utf8(line)?;
            ensure!(text.contains("\"ADDED\""), "{text}");
            if text.contains("\"told\"") {
                break;
            }
        }
    }
    println!("{WATCHES} watches have heard of it after {:?}", asked.elapsed());
    // TLS, HTTP and the watch itself.
    guarded.grew_at_most(200)?;
    guarded.is_sound()
}

fn abuse_watches_that_are_never_read_hold_little_and_stop_nobody() -> Result<()> {
    let guarded = Guarded::start()?;
    let slow = open(&guarded.api, &format!("{CONFIG_MAPS}?watch=1"), 200)?;
    // 40 MB of changes: more than the sockets between take, and than the window keeps.
    for number in 0..80 {
        write(&guarded.api, &format!("large-{number}"), 500_000)?;
    }
    guarded.serves_others()?;
    // The objects themselves, the window, and for each watch what it may hold: a batch, and the connection's buffers.
    guarded.grew_at_most(150 + 80 + 200 * 2)?;
    drop(slow);
    guarded.is_sound()
}

fn abuse_watches_that_come_and_go_leave_nothing() -> Result<()> {
    let guarded = Guarded::start()?;
    for _ in 0..4 {
        drop(open(&guarded.api, &format!("{CONFIG_MAPS}?watch=1"), 256)?);
    }
    let open = "apiserver_longrunning_requests{verb=\"WATCH\",group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\",scope=\"namespace\"";
    orknet_tests::eventually("closed watches to be gone", || {
        let text = guarded.api.get("/metrics")?.text();
        let line = text.lines().find(|line| line.starts_with(open)).context("no watch was counted")?;
        ensure!(line.ends_with(" 0"), "{line}");
        Ok(())
    })?;
    guarded.grew_at_most(150)?;
    guarded.is_sound()
}
