//! The text of `/metrics`, read by a parser of its own: the OpenMetrics form, and the names and labels of kube-apiserver.

use crate::harness::{CONFIG_MAPS, TestServer, config_map};
use orknet_apiserver::Bounds;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Names and values.
type Labels = Vec<(String, String)>;

/// What a line with a value says.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

/// A family: its type, and the samples below it.
#[derive(Debug, Default)]
struct Metric {
    kind: String,
    has_help: bool,
    samples: Vec<Sample>,
}

/// Families by name. Fails for whatever a strict scraper would refuse.
fn parse(text: &str) -> BTreeMap<String, Metric> {
    let mut families: BTreeMap<String, Metric> = BTreeMap::new();
    let (mut current, mut ended) = (String::new(), false);
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        assert!(!ended, "{line:?} comes after the end");
        if line == "# EOF" {
            ended = true;
        } else if let Some(rest) = line.strip_prefix("# ") {
            let (what, rest) = rest.split_once(' ').unwrap_or_else(|| panic!("{line:?} says nothing"));
            let (name, said) = rest.split_once(' ').unwrap_or_else(|| panic!("{line:?} says nothing"));
            assert!(is_name(name), "{line:?}");
            if name != current {
                assert!(!families.contains_key(name), "{name} is there twice");
                name.clone_into(&mut current);
            }
            let family = families.entry(current.clone()).or_default();
            assert!(family.samples.is_empty(), "{line:?} comes after samples");
            match what {
                "HELP" => assert!(!std::mem::replace(&mut family.has_help, true) && !said.is_empty(), "{line:?}"),
                "TYPE" => {
                    assert!(family.kind.is_empty() && ["counter", "gauge", "histogram"].contains(&said), "{line:?}");
                    said.clone_into(&mut family.kind);
                }
                other => panic!("{other:?} in {line:?}"),
            }
        } else {
            let sample = sample(line);
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("{line:?} is of no family"));
            let suffix = sample.name.strip_prefix(&current[..]).unwrap_or_else(|| panic!("{line:?} is not of {current}"));
            let suffixes: &[&str] = match &family.kind[..] {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                kind => panic!("{current} is of type {kind:?}"),
            };
            assert!(suffixes.contains(&suffix), "{line:?} is no sample of a {}", family.kind);
            assert!(family.kind == "gauge" || sample.value >= 0.0, "{line:?}");
            let mut labels = sample.labels.clone();
            labels.sort();
            let names: BTreeSet<_> = labels.iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(names.len(), labels.len(), "a label is there twice: {line:?}");
            assert!(seen.insert((sample.name.clone(), labels)), "{line:?} is there twice");
            family.samples.push(sample);
        }
    }
    assert!(ended, "the text has no end");
    families.iter().for_each(|(name, family)| check(name, family));
    families
}

/// What holds for a whole family.
fn check(name: &str, family: &Metric) {
    assert!(family.has_help && !family.kind.is_empty(), "{name} lacks HELP or TYPE");
    let names = |sample: &Sample| sample.labels.iter().map(|(name, _)| name.clone()).filter(|name| name != "le").collect::<BTreeSet<_>>();
    if let Some(first) = family.samples.first() {
        assert!(family.samples.iter().all(|sample| names(sample) == names(first)), "{name}'s samples have different labels");
    }
    if family.kind != "histogram" {
        return;
    }
    // By the other labels: bounds ascend, counts too, and the last bucket is all.
    let mut buckets = BTreeMap::<Labels, Vec<(f64, f64)>>::new();
    let mut counts = BTreeMap::new();
    for sample in &family.samples {
        let (bound, others): (Vec<_>, Vec<_>) = sample.labels.iter().cloned().partition(|(name, _)| name == "le");
        if sample.name.ends_with("_bucket") {
            let bound = &bound.first().unwrap_or_else(|| panic!("{sample:?} has no bound")).1;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
            buckets.entry(others).or_default().push((bound, sample.value));
        } else if sample.name.ends_with("_count") {
            counts.insert(others, sample.value);
        }
    }
    assert_eq!(buckets.len(), counts.len(), "{name}");
    for (labels, buckets) in buckets {
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{name} {labels:?}: {buckets:?}");
        let last = buckets.last().expect("a bucket");
        assert_eq!((last.0, Some(&last.1)), (f64::INFINITY, counts.get(&labels)), "{name} {labels:?}");
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line:?} has no value"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line:?}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line:?} has no label"));
            assert!(is_name(label) && !label.contains(':'), "{line:?}");
            let (value, after) = quoted(after).unwrap_or_else(|| panic!("{line:?} has an open quote"));
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line:?} has no value"));
    let value = number.parse().unwrap_or_else(|_| panic!("{line:?}: {number:?} is no number"));
    Sample { name: name.to_owned(), labels, value }
}

/// A value up to its closing quote, and what comes after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other @ ('"' | '\\') => value.push(other),
                _ => return None,
            },
            other => value.push(other),
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    text.chars().all(fits) && text.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

/// The value of the sample of this name with these labels among its own.
fn value(families: &BTreeMap<String, Metric>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |sample: &&Sample| {
        sample.name == name && labels.iter().all(|(label, value)| sample.labels.iter().any(|(l, v)| l == label && v == value))
    };
    families.values().flat_map(|family| &family.samples).find(has).map(|sample| sample.value)
}

#[tokio::test]
async fn the_whole_text_is_well_formed_and_has_the_names_of_kubernetes() {
    let server = TestServer::start().await;
    let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=0")).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    watch.next_named().await;
    server.client("bob", None).get(CONFIG_MAPS).await.refused(403, "Forbidden");
    server.stranger().with_header("authorization", "Bearer none").get(CONFIG_MAPS).await.refused(401, "Unauthorized");
    // A name that has to be escaped in no label: labels have no names of clients.
    server.admin.get("/api/v1/namespaces/default/configmaps/%22%5C").await;
    let families = parse(&server.admin.get("/metrics").await.text);
    let folder = ("type", "/registry/core/configmaps");
    for (name, labels) in [
        ("apiserver_request_total", &[("verb", "create"), ("resource", "configmaps"), ("code", "201")][..]),
        ("apiserver_watch_events_total", &[("group", ""), ("version", "v1"), ("kind", "ConfigMap")]),
        (
            "apiserver_longrunning_requests",
            &[("verb", "WATCH"), ("resource", "configmaps"), ("scope", "namespace"), ("component", "apiserver")],
        ),
        ("authentication_attempts_total", &[("result", "success")]),
        ("authentication_attempts_total", &[("result", "failure")]),
        ("authentication_duration_seconds_count", &[("result", "success")]),
        ("authenticated_user_requests_total", &[("username", "admin")]),
        ("authenticated_user_requests_total", &[("username", "other")]),
        ("authorization_attempts_total", &[("result", "allowed")]),
        ("authorization_attempts_total", &[("result", "denied")]),
        ("authorization_duration_seconds_count", &[("result", "denied")]),
        ("etcd_request_duration_seconds_count", &[("operation", "create"), folder]),
        ("etcd_requests_total", &[("operation", "create"), folder]),
        ("process_cpu_seconds_total", &[]),
    ] {
        let value = value(&families, name, labels);
        assert!(value.is_some_and(|value| value > 0.0), "{name} {labels:?}: {value:?}");
    }
    assert!(families.len() > 25, "{} families", families.len());
}

/// A process that slept over the end of its term is told by nobody: the answer is made as it is asked for.
#[tokio::test]
async fn who_leads_is_asked_at_each_scrape() {
    let server = TestServer::start().await;
    let leads = Arc::new(AtomicBool::new(false));
    let asked = leads.clone();
    server.handle.ask_leader("kube-scheduler", move || asked.load(Ordering::SeqCst));
    for says in [false, true, false] {
        leads.store(says, Ordering::SeqCst);
        let families = parse(&server.admin.get("/metrics").await.text);
        let value = value(&families, "leader_election_master_status", &[("name", "kube-scheduler")]);
        assert_eq!(value, Some(if says { 1.0 } else { 0.0 }));
    }
}

#[tokio::test]
async fn processors_time_does_not_go_back() {
    let server = TestServer::start().await;
    let mut before = 0.0;
    for _ in 0..3 {
        let families = parse(&server.admin.get("/metrics").await.text);
        let now = value(&families, "process_cpu_seconds_total", &[]).expect("a value");
        assert!(now >= before, "{before} {now}");
        before = now;
    }
}

#[tokio::test]
async fn connections_over_the_bound_are_counted_and_the_others_are_served() {
    let bounds = Bounds { most_per_address: 8, ..Bounds::default() };
    let server = TestServer::start_with(|config| config.connections = bounds).await;
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(tokio::net::TcpStream::connect(server.admin.address).await.expect("connects"));
    }
    // The server takes them in turn, so all were judged when it has closed the last one, unanswered.
    let last = held.last_mut().expect("a connection");
    let read = tokio::time::timeout(std::time::Duration::from_secs(5), tokio::io::AsyncReadExt::read(last, &mut [0])).await;
    assert!(!matches!(read.expect("is closed at once"), Ok(1..)));
    drop(held);
    let counted = async {
        loop {
            // Until the places are free again, this is refused as well.
            let text = match tokio::time::timeout(std::time::Duration::from_secs(1), raw(&server)).await {
                Ok(Some(text)) => text,
                _ => continue,
            };
            return value(&parse(&text), "orknet_apiserver_connections_refused_total", &[("reason", "address")]);
        }
    };
    let refused = tokio::time::timeout(std::time::Duration::from_secs(20), counted).await.expect("is served again");
    assert!(refused.is_some_and(|refused| refused >= 4.0), "{refused:?}");
}

/// The text, if the connection is taken: the client of these tests panics where it is not.
async fn raw(server: &TestServer) -> Option<String> {
    let admin = server.admin.clone();
    tokio::spawn(async move { admin.get("/metrics").await.text }).await.ok()
}

#[test]
fn the_parser_refuses_what_is_wrong() {
    let good = "# HELP a b\n# TYPE a counter\na_total{x=\"1\\\"\"} 1\n# EOF\n";
    assert_eq!(value(&parse(good), "a_total", &[("x", "1\"")]), Some(1.0));
    for bad in [
        "# HELP a b\n# TYPE a counter\na_total 1\n",
        "# HELP a b\n# TYPE a counter\na_total 1\na_total 1\n# EOF\n",
        "# TYPE a counter\na_total 1\n# EOF\n",
        "# HELP a b\n# TYPE a counter\na 1\n# EOF\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"1} 1\n# EOF\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n# EOF\n",
        "# HELP a b\n# TYPE a gauge\na 1\n# HELP b b\n# TYPE b gauge\n# HELP a b\n# EOF\n",
        "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n# EOF\n",
    ] {
        assert!(std::panic::catch_unwind(|| parse(bad)).is_err(), "{bad}");
    }
}
