//! What the programs write into the log when they are asked to.

mod harness;

use harness::{Node, ServiceSpec, put_service};
use orknet_abi::protocol::UDP;
use orknet_dataplane::ProgramLog;
use std::{
    io,
    net::UdpSocket,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// The log's text.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn whole(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn await_line(&self, line: &str) {
        let begun = Instant::now();
        while !self.whole().contains(line) {
            assert!(begun.elapsed() < Duration::from_secs(30), "no {line:?} in {}", self.whole());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn root_programs_name_what_they_refuse_and_where_they_lead() {
    const REFUSED: &str = "::ffff:10.96.0.1 port 53 refused: no-endpoints";
    const LEADS: &str = "::ffff:10.96.0.2 port 53 leads to ::ffff:127.0.0.1 port 9";
    let text = Text::default();
    let writer = text.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let mut node = Node::new("log");
    let call = |node: &Node| {
        let dataplane = node.dataplane();
        dataplane.apply(&put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 1, &[])));
        dataplane.apply(&put_service(&ServiceSpec::new("10.96.0.2:53", UDP, 2, &["127.0.0.1:9".parse().unwrap()])));
        node.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect("10.96.0.2:53").unwrap();
            socket.connect("10.96.0.1:53").unwrap_err();
        });
        dataplane
    };
    let silent = call(&node);
    drop(silent);
    node.config.program_log = ProgramLog::Drops;
    let drops = call(&node);
    text.await_line(REFUSED);
    assert_eq!(text.whole().matches(REFUSED).count(), 1, "said nothing while it was off");
    assert!(!text.whole().contains(LEADS));
    drop(drops);
    node.config.program_log = ProgramLog::All;
    let _all = call(&node);
    text.await_line(LEADS);
}
