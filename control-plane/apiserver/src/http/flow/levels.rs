//! How many seats each priority level has: its part of the server's, and what levels lend each other. Pure.

use super::queues::Shape;
use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;

/// Most seats of one request, and of all seats of its level (a part of a hundred).
const MOST_SEATS: u32 = 10;
const MOST_PERCENT: u32 = 15;

/// A level as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    pub name: String,
    pub uid: String,
    /// Nobody of it waits, and nobody is refused.
    pub exempt: bool,
    pub shares: u32,
    /// How many hundredths of its seats others may use.
    pub lendable: u32,
    /// How many hundredths of its own it may have from others; `None`: all there is.
    pub borrowing: Option<u32>,
    pub shape: Shape,
}

/// Seats of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub nominal: u32,
    /// Fewest, when others use what it does not.
    pub lower: u32,
    /// Most, when others do not use theirs.
    pub upper: u32,
}

impl Level {
    /// `None` for one that is not whole.
    pub fn of(object: PriorityLevelConfiguration) -> Option<Self> {
        let spec = object.spec?;
        let number = |number: Option<i32>| u32::try_from(number.unwrap_or_default()).ok();
        let mut level = Self {
            name: object.metadata.name?,
            uid: object.metadata.uid.unwrap_or_default(),
            exempt: spec.type_ == "Exempt",
            shares: 0,
            lendable: 0,
            borrowing: None,
            shape: Shape::default(),
        };
        // Only this one is, whatever else is stored.
        if level.exempt != (level.name == "exempt") {
            return None;
        }
        if level.exempt {
            return Some(level);
        }
        let limited = spec.limited?;
        level.shares = number(limited.nominal_concurrency_shares)?;
        level.lendable = number(limited.lendable_percent)?.min(100);
        level.borrowing = match limited.borrowing_limit_percent {
            Some(percent) => Some(u32::try_from(percent).ok()?),
            None => None,
        };
        let response = limited.limit_response?;
        if response.type_ == "Queue" {
            let queuing = response.queuing?;
            let (queues, hand) = (number(queuing.queues)?, number(queuing.hand_size)?);
            level.shape = Shape { queues, hand, length: number(queuing.queue_length_limit)?.try_into().ok()? };
            if queues == 0 || hand == 0 {
                return None;
            }
        }
        Some(level)
    }
}

impl Bounds {
    /// Most seats that one request occupies.
    pub fn most_seats(self) -> u32 {
        (self.nominal * MOST_PERCENT / 100).clamp(1, MOST_SEATS)
    }
}

/// The seats of each level, of `total` that the server has.
pub fn bounds(total: u32, levels: &[Level]) -> Vec<Bounds> {
    let shares: u64 = levels.iter().map(|level| u64::from(level.shares)).sum();
    let hundredths = |seats: u32, percent: u32| u32::try_from((u64::from(seats) * u64::from(percent) + 50) / 100).unwrap_or(u32::MAX);
    let one = |level: &Level| {
        let nominal = u64::from(total) * u64::from(level.shares);
        let nominal = u32::try_from(nominal.div_ceil(shares.max(1))).unwrap_or(total);
        Bounds {
            nominal,
            lower: nominal - hundredths(nominal, level.lendable).min(nominal),
            upper: level.borrowing.map_or(total.max(nominal), |percent| nominal.saturating_add(hundredths(nominal, percent))),
        }
    };
    levels.iter().map(one).collect()
}

/// The seats that each level has now, of `total`, by what its requests want: in proportion to that, within the bounds.
pub fn lend(total: u32, levels: &[(Bounds, f64)]) -> Vec<u32> {
    // A level that has no share has no seat, whatever others do not use.
    let target = |(bounds, demand): &(Bounds, f64)| demand.max(f64::from(bounds.lower)).max(0.001);
    let at = |factor: f64, level: &(Bounds, f64)| {
        if level.0.nominal == 0 { 0.0 } else { (target(level) * factor).clamp(f64::from(level.0.lower), f64::from(level.0.upper)) }
    };
    let sum = |factor: f64| levels.iter().map(|level| at(factor, level)).sum::<f64>();
    // What is given out grows with the factor.
    let (mut low, mut high) = (0.0_f64, 1.0e9_f64);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if sum(middle) < f64::from(total) { low = middle } else { high = middle }
    }
    // Bounds are of 32 bits.
    levels.iter().map(|level| at(low, level).round() as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_resources::kinds::flow_schema::first;

    pub fn first_levels() -> Vec<Level> {
        let objects = first::all().into_iter().filter(|(_, plural, _)| *plural == "prioritylevelconfigurations");
        objects.map(|(_, _, object)| Level::of(serde_json::from_value(object).expect("a level")).expect("whole")).collect()
    }

    #[test]
    fn the_levels_of_the_start_have_the_seats_that_kubernetes_tells() {
        // "Defaults" of Kubernetes' documentation: shares of 245; 600 seats.
        let levels = first_levels();
        let of = |name: &str| {
            let at = levels.iter().position(|level| level.name == name).expect("there");
            bounds(600, &levels)[at]
        };
        assert_eq!(of("workload-low"), Bounds { nominal: 245, lower: 24, upper: 600 });
        assert_eq!(of("leader-election"), Bounds { nominal: 25, lower: 25, upper: 600 });
        assert_eq!(of("catch-all").nominal, 13);
        assert_eq!(of("exempt").nominal, 0);
        assert_eq!((of("workload-low").most_seats(), of("catch-all").most_seats()), (10, 1));
    }

    #[test]
    fn seats_that_nobody_uses_go_to_who_wants_them_and_come_back() {
        let bounds = |nominal, lower, upper| Bounds { nominal, lower, upper };
        let (one, other) = (bounds(50, 10, 100), bounds(50, 40, 60));
        assert_eq!(lend(100, &[(one, 100.0), (other, 0.0)]), [60, 40]);
        assert_eq!(lend(100, &[(one, 0.0), (other, 100.0)]), [40, 60]);
        let both = lend(100, &[(one, 500.0), (other, 500.0)]);
        assert_eq!(both, [50, 50]);
        // All that there is is given out, to no more than the bounds.
        assert_eq!(lend(100, &[(bounds(10, 10, 10), 99.0), (bounds(0, 0, 100), 99.0)]), [10, 0]);
    }

    #[test]
    fn what_is_not_whole_is_no_level() {
        let level = |spec: serde_json::Value| {
            let object = serde_json::json!({ "metadata": { "name": "a" }, "spec": spec });
            Level::of(serde_json::from_value(object).expect("a level"))
        };
        assert!(level(serde_json::json!({ "type": "Exempt" })).is_none());
        assert!(level(serde_json::json!({ "type": "Limited" })).is_none());
        let queue = |queuing: serde_json::Value| {
            level(serde_json::json!({ "type": "Limited", "limited": { "limitResponse": { "type": "Queue", "queuing": queuing } } }))
        };
        assert!(queue(serde_json::json!({ "queues": 0, "handSize": 1 })).is_none());
        assert!(queue(serde_json::json!({ "queues": 2, "handSize": 1, "queueLengthLimit": 3 })).is_some());
    }
}
