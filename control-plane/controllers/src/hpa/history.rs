//! What an autoscaler recommended and did of late, and what that allows now: stabilization and the rates of `spec.behavior`. Time is given. Pure.

use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long going down waits where it is not said (`--horizontal-pod-autoscaler-downscale-stabilization`).
const DOWNSCALE: i32 = 300;
/// Without `behavior` a step up at most doubles, or leads to this many.
const STEP_UP: i32 = 4;

/// Of one autoscaler; lost with the process, as with Kubernetes.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    recommendations: Vec<(Timestamp, i32)>,
    up: Vec<(Timestamp, i32)>,
    down: Vec<(Timestamp, i32)>,
}

/// A number between these two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub min: i32,
    pub max: i32,
}

/// What may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub replicas: i32,
    /// Reason and message of the condition AbleToScale, which holds.
    pub able: (&'static str, &'static str),
    /// Whether ScalingLimited holds, with reason and message.
    pub limited: (bool, &'static str, &'static str),
}

const WITHIN: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: (&str, &str) = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: (&str, &str) = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const UP_LIMIT: (&str, &str) = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: (&str, &str) = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

impl History {
    /// The first thing known: what there is.
    pub fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    /// What is allowed of a recommendation, which is remembered.
    pub fn allow(
        &mut self,
        behavior: Option<&HorizontalPodAutoscalerBehavior>,
        current: i32,
        desired: i32,
        bounds: Bounds,
        now: Timestamp,
    ) -> Allowed {
        let (up, down) = (behavior.and_then(|b| b.scale_up.as_ref()), behavior.and_then(|b| b.scale_down.as_ref()));
        let window =
            |rules: Option<&HPAScalingRules>, default| rules.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(default);
        let (up_window, down_window) = (window(up, 0), window(down, DOWNSCALE));
        let (stable, reason) = if behavior.is_none() {
            (self.recent(DOWNSCALE, now).fold(desired, i32::max), DOWN_STABILIZED)
        } else if desired >= current {
            (self.recent(up_window, now).fold(desired, i32::min), UP_STABILIZED)
        } else {
            (self.recent(down_window, now).fold(desired, i32::max), DOWN_STABILIZED)
        };
        let longest = if behavior.is_none() { DOWNSCALE } else { up_window.max(down_window) };
        let cutoff = before(now, longest);
        self.recommendations.retain(|(at, _)| *at >= cutoff);
        self.recommendations.push((now, desired));
        let able = if stable == desired { ("ReadyForNewScale", "recommended size matches current size") } else { reason };
        let (replicas, (why, message)) = match behavior {
            None => by_default(current, stable, bounds),
            Some(_) => self.by_rates(up, down, current, stable, bounds, now),
        };
        Allowed { replicas, able, limited: (replicas != stable, why, message) }
    }

    /// Remembers a step, as long as a policy may ask for it.
    pub fn scaled(&mut self, behavior: Option<&HorizontalPodAutoscalerBehavior>, from: i32, to: i32, now: Timestamp) {
        let Some(behavior) = behavior else { return };
        let (rules, steps) = if to > from { (&behavior.scale_up, &mut self.up) } else { (&behavior.scale_down, &mut self.down) };
        let periods = rules.iter().flat_map(|rules| rules.policies.iter().flatten()).map(|policy| policy.period_seconds);
        let cutoff = before(now, periods.max().unwrap_or_default());
        steps.retain(|(at, _)| *at >= cutoff);
        steps.push((now, (to - from).abs()));
    }

    fn recent(&self, seconds: i32, now: Timestamp) -> impl Iterator<Item = i32> {
        let cutoff = before(now, seconds);
        self.recommendations.iter().filter(move |(at, _)| *at > cutoff).map(|(_, replicas)| *replicas)
    }

    fn by_rates(
        &self,
        up: Option<&HPAScalingRules>,
        down: Option<&HPAScalingRules>,
        current: i32,
        desired: i32,
        bounds: Bounds,
        now: Timestamp,
    ) -> (i32, (&'static str, &'static str)) {
        if desired > current {
            let limit = up.map_or(i32::MAX, |rules| up_limit(rules, &self.up, current, now)).max(current);
            let (most, why) = if bounds.max > limit { (limit, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
            if desired > most {
                return (most, why);
            }
        } else if desired < current {
            let limit = down.map_or(0, |rules| down_limit(rules, &self.down, current, now)).min(current);
            let (fewest, why) = if bounds.min < limit { (limit, DOWN_LIMIT) } else { (bounds.min, TOO_FEW) };
            if desired < fewest {
                return (fewest, why);
            }
        }
        (desired, WITHIN)
    }
}

const UP_STABILIZED: (&str, &str) =
    ("ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation");
const DOWN_STABILIZED: (&str, &str) =
    ("ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation");

fn by_default(current: i32, desired: i32, bounds: Bounds) -> (i32, (&'static str, &'static str)) {
    let limit = current.saturating_mul(2).max(STEP_UP);
    let (most, why) = if bounds.max > limit { (limit, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
    if desired < bounds.min {
        (bounds.min, TOO_FEW)
    } else if desired > most {
        (most, why)
    } else {
        (desired, WITHIN)
    }
}

fn up_limit(rules: &HPAScalingRules, steps: &[(Timestamp, i32)], current: i32, now: Timestamp) -> i32 {
    let proposals = rules.policies.iter().flatten().map(|policy| {
        let start = current - changed(steps, policy.period_seconds, now);
        match &policy.type_[..] {
            "Pods" => start.saturating_add(policy.value),
            // Rounded up: a part of a pod is one, or nothing would ever be added.
            _ => clamped((f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil()),
        }
    });
    match rules.select_policy.as_deref() {
        Some("Disabled") => current,
        Some("Min") => proposals.min().unwrap_or(current),
        _ => proposals.max().unwrap_or(current),
    }
}

fn down_limit(rules: &HPAScalingRules, steps: &[(Timestamp, i32)], current: i32, now: Timestamp) -> i32 {
    let proposals = rules.policies.iter().flatten().map(|policy| {
        let start = current.saturating_add(changed(steps, policy.period_seconds, now));
        match &policy.type_[..] {
            "Pods" => start.saturating_sub(policy.value),
            _ => clamped((f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)).trunc()),
        }
    });
    match rules.select_policy.as_deref() {
        Some("Disabled") => current,
        // The smallest change leaves the most.
        Some("Min") => proposals.max().unwrap_or(current),
        _ => proposals.min().unwrap_or(current),
    }
}

fn changed(steps: &[(Timestamp, i32)], seconds: i32, now: Timestamp) -> i32 {
    let cutoff = before(now, seconds);
    steps.iter().filter(|(at, _)| *at > cutoff).fold(0, |sum, (_, change)| sum.saturating_add(*change))
}

#[allow(clippy::cast_possible_truncation, reason = "floating point numbers beyond the range become its ends")]
fn clamped(number: f64) -> i32 {
    number as i32
}

fn before(now: Timestamp, seconds: i32) -> Timestamp {
    now.saturating_sub(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MIN)
}
