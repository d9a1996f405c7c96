//! What clients may have open at a time, and how long they may be silent: settings (docs/configuration.md, `connections`), and the places that are counted.

use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The settings. 0 is no bound where a field says so.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Bounds {
    /// Connections in all; 0: no bound.
    pub most: usize,
    /// Connections from one address; 0: no bound.
    pub most_per_address: usize,
    /// By then a client has done its TLS handshake.
    pub handshake_seconds: u64,
    /// A connection on which nothing is asked for so long is closed. With HTTP/1 a head must also have arrived whole by then.
    pub idle_seconds: u64,
    /// Bytes of a request's head, about.
    pub header_bytes: u32,
    /// Headers of a request over HTTP/1.
    pub headers: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// The chance that a request over HTTP/2 ends its connection in good order, so that clients spread over several servers again
    /// (`--goaway-chance` of kube-apiserver): 0 (never) to 0.02.
    pub goaway_chance: f64,
    /// Bytes that the watches of one user from one address may take, those that wait for slow readers among them; 0: no bound.
    pub watch_bytes_per_user: usize,
}

/// Most that kube-apiserver takes as `--goaway-chance`.
const MOST_GOAWAY: f64 = 0.02;

impl Default for Bounds {
    fn default() -> Self {
        Self {
            most: 16_384,
            most_per_address: 8192,
            handshake_seconds: 10,
            // That of kube-apiserver's IdleTimeout.
            idle_seconds: 90,
            header_bytes: 128 << 10,
            headers: 200,
            streams: 1000,
            goaway_chance: 0.0,
            watch_bytes_per_user: 256 << 20,
        }
    }
}

impl Bounds {
    /// What is wrong with them, in words.
    pub fn check(&self) -> Result<(), String> {
        // Also not a number is none of them.
        if !(0.0..=MOST_GOAWAY).contains(&self.goaway_chance) {
            return Err(format!("connections.goawayChance must be from 0 to {MOST_GOAWAY}"));
        }
        let positive = [
            ("handshakeSeconds", self.handshake_seconds > 0),
            ("idleSeconds", self.idle_seconds > 0),
            ("headers", self.headers > 0),
            ("streams", self.streams > 0),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, fits)| !fits) {
            return Err(format!("connections.{name} must be more than 0"));
        }
        // What the buffer of a connection is at least.
        if self.header_bytes < 8192 {
            return Err("connections.headerBytes must be at least 8192".to_owned());
        }
        Ok(())
    }

    pub fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds)
    }

    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }
}

/// The places that connections take, in all and by address.
pub struct Places {
    most: usize,
    most_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Only addresses that have a connection.
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place, given back when it is dropped: also one that was upgraded is one.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    All,
    Address,
}

impl Full {
    /// A metric's label.
    pub fn reason(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Address => "address",
        }
    }
}

impl Places {
    pub fn new(bounds: &Bounds) -> Arc<Self> {
        Arc::new(Self { most: bounds.most, most_per_address: bounds.most_per_address, taken: Mutex::default() })
    }

    /// A place for a connection from `address`.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        // The same client on a socket of both families.
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        if self.most > 0 && taken.all >= self.most {
            return Err(Full::All);
        }
        let of_address = taken.by_address.get(&address).copied().unwrap_or_default();
        if self.most_per_address > 0 && of_address >= self.most_per_address {
            return Err(Full::Address);
        }
        taken.by_address.insert(address, of_address + 1);
        taken.all += 1;
        Ok(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        let left = taken.by_address.get(&self.address).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            taken.by_address.remove(&self.address);
        } else {
            taken.by_address.insert(self.address, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn places(most: usize, most_per_address: usize) -> Arc<Places> {
        Places::new(&Bounds { most, most_per_address, ..Bounds::default() })
    }

    #[test]
    fn an_address_has_so_many_places_and_leaves_the_others_alone() {
        let places = places(4, 2);
        let first = places.take(address(1)).expect("a place");
        let _second = places.take(address(1)).expect("a place");
        assert_eq!(places.take(address(1)).err(), Some(Full::Address));
        let _other = places.take(address(2)).expect("a place");
        drop(first);
        assert!(places.take(address(1)).is_ok());
    }

    #[test]
    fn all_together_have_so_many_and_addresses_without_connections_are_forgotten() {
        let places = places(2, 0);
        let held: Vec<_> = [1, 2].into_iter().filter_map(|last| places.take(address(last)).ok()).collect();
        assert_eq!(places.take(address(3)).err(), Some(Full::All));
        drop(held);
        let taken = places.taken.lock();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }

    #[test]
    fn an_address_is_the_same_in_both_ways_of_writing_it() {
        let places = places(0, 1);
        let _held = places.take("::ffff:192.0.2.1".parse().expect("an address")).expect("a place");
        assert_eq!(places.take(address(1)).err(), Some(Full::Address));
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        assert_eq!(Bounds::default().check(), Ok(()));
        for chance in [-0.1, 0.021, f64::NAN] {
            let wrong = Bounds { goaway_chance: chance, ..Bounds::default() };
            assert!(wrong.check().is_err_and(|error| error.contains("goawayChance")), "{chance}");
        }
        let wrong = Bounds { idle_seconds: 0, ..Bounds::default() };
        assert!(wrong.check().is_err_and(|error| error.contains("idleSeconds")));
        let wrong = Bounds { header_bytes: 100, ..Bounds::default() };
        assert!(wrong.check().is_err_and(|error| error.contains("headerBytes")));
    }
}
