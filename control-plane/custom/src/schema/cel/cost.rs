//! What rules can cost at most: a definition whose rules may take too long is refused, before an object makes them.

use super::types::MAX_REQUEST;
use crate::complaint::forbidden;
use orknet_resources::FieldError;
use orknet_resources::field::Path;

/// The most that one rule may cost for all values of one object.
const LIMIT: u64 = 10_000_000;
/// The most that all rules of a schema may cost for one object.
const TOTAL_LIMIT: u64 = 100_000_000;
/// How many of the most expensive ones are named.
const NAMED: usize = 4;

/// How many values an object can have at a place; `None`: as many as fit into a request.
#[derive(Clone, Copy)]
pub struct Cardinality(Option<u64>);

impl Cardinality {
    pub const ONE: Self = Self(Some(1));

    /// Below a list or map of at most so many.
    pub fn times(self, max: Option<i64>) -> Self {
        let max = max.map(|max| u64::try_from(max).unwrap_or_default());
        Self(self.0.zip(max).map(|(own, max)| own.saturating_mul(max)))
    }

    /// The cost of an expression for all values, of which each takes so many bytes at least.
    pub fn cost(self, each: u64, min_size: u64) -> u64 {
        each.saturating_mul(self.0.unwrap_or(MAX_REQUEST / (min_size + 1)))
    }
}

/// The costs of all rules of a schema.
#[derive(Default)]
pub struct Costs {
    total: u64,
    /// Cost and field, the most expensive first.
    most: Vec<(u64, String)>,
}

impl Costs {
    /// Takes note of an expression at a field, and complains about one that costs too much by itself.
    pub fn observe(&mut self, at: &Path<'_>, what: &str, cost: u64, found: &mut Vec<FieldError>) {
        if cost > LIMIT {
            found.push(forbidden(at.to_string(), exceeds(what, cost, LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost > 0 {
            self.most.push((cost, at.to_string()));
            self.most.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            self.most.truncate(NAMED);
        }
    }

    /// Complains about a schema whose rules cost too much together.
    pub fn check(self, at: &Path<'_>, found: &mut Vec<FieldError>) {
        if self.total <= TOTAL_LIMIT {
            return;
        }
        for (_, field) in self.most {
            found.push(forbidden(field, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        found.push(forbidden(at.to_string(), exceeds(what, self.total, TOTAL_LIMIT)));
    }
}

#[allow(clippy::cast_precision_loss, reason = "a factor that people read")]
fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = match cost as f64 / limit as f64 {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, \
         and strings are declared)"
    )
}
