//! One write, and how soon thousands of watchers have seen it.

use super::{NAMESPACE, Served, config_map, config_map_path, request};
use crate::report::Section;
use crate::samples::{median, percentile};
use crate::startup::resident_mib;
use anyhow::{Context, Result, ensure};
use futures::{AsyncBufReadExt, TryStreamExt};
use http::Method;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const WATCHERS: [usize; 2] = [1000, 10_000];
const WRITES: usize = 20;
/// Watches that are begun at a time.
const BEGINNING: usize = 64;
const DEADLINE: Duration = Duration::from_secs(60);

/// Measures.
pub fn measure() -> Result<Section> {
    // A watcher is a connection.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot raise the number of open files")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut table = vec![
        ["watchers of one kind", "half of them have it after", "the last one", "of all writes the slowest", "server's memory a watcher"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for watchers in WATCHERS {
        let served = Served::on_embedded()?;
        table.push(runtime.block_on(fan_out(&served, watchers))?);
    }
    Ok(Section {
        title: "The API: watches",
        command: "cargo xtask bench api/watchers",
        method: format!(
            "The same server; so many watches of the ConfigMaps of a namespace, each a connection of its own, in a process on the same cores that reads \
             every event. {WRITES} updates of one ConfigMap of a kilobyte, one after the other; from before the request is sent to when the event has been \
             read. Medians of the writes; memory is what VmRSS grew by."
        ),
        table,
    })
}

async fn fan_out(served: &Served, watchers: usize) -> Result<Vec<String>> {
    let client = served.client().await?;
    let folder = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    client.request_text(request(Method::POST, &folder, "application/json", Some(&config_map("watched", "first ")))?).await?;
    let process = i32::try_from(served.server.process())?;
    let before = resident_mib(process)?;
    let (seen, mut events) = mpsc::unbounded_channel::<Instant>();
    let watch = format!("{folder}?watch=true&fieldSelector=metadata.name%3Dwatched&resourceVersion=0&timeoutSeconds=600");
    let mut tasks = Vec::with_capacity(watchers);
    for begun in 0..watchers {
        let (seen, request) = (seen.clone(), request(Method::GET, &watch, "application/json", None)?);
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            let mut lines = client.request_stream(request).await?.lines();
            while let Some(line) = lines.try_next().await? {
                if !line.is_empty() && seen.send(Instant::now()).is_err() {
                    break;
                }
            }
            anyhow::Ok(())
        }));
        // Each tells of what is there already.
        if begun % BEGINNING == BEGINNING - 1 {
            all(&mut events, BEGINNING).await?;
        }
    }
    all(&mut events, watchers % BEGINNING).await?;
    let after = resident_mib(process)?;
    let (mut halves, mut lasts) = (Vec::new(), Vec::new());
    for write in 0..WRITES {
        let body = config_map("watched", &format!("write {write} "));
        let change = request(Method::PUT, &config_map_path("watched"), "application/json", Some(&body))?;
        let began = Instant::now();
        client.request_text(change).await?;
        let mut times = all(&mut events, watchers).await?;
        times.sort_unstable();
        ensure!(tasks.iter().all(|task| !task.is_finished()), "a watch ended");
        let after = |time: Option<&Instant>| time.map_or(0.0, |time| time.duration_since(began).as_secs_f64());
        halves.push(after(times.get(watchers / 2)));
        lasts.push(after(times.last()));
    }
    tasks.iter().for_each(|task| task.abort());
    let ms = |seconds: f64| format!("{:.0} ms", seconds * 1000.0);
    Ok(vec![
        watchers.to_string(),
        ms(median(&halves)),
        ms(median(&lasts)),
        ms(percentile(&lasts, 100.0)),
        format!("{:.1} KiB", (after - before) * 1024.0 / watchers as f64),
    ])
}

/// When so many events were read.
async fn all(events: &mut mpsc::UnboundedReceiver<Instant>, count: usize) -> Result<Vec<Instant>> {
    let mut times = Vec::with_capacity(count);
    while times.len() < count {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await;
        times.push(event.with_context(|| format!("{} of {count} watchers have seen it", times.len()))?.context("all watches ended")?);
    }
    Ok(times)
}
