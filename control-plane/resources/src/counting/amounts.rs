//! Amounts by the name of a resource (`ResourceList`), ordered by name.

use crate::quantity::Quantity;
use k8s_openapi::apimachinery::pkg::api::resource;
use std::collections::BTreeMap;

/// How much of each resource. A name that is not there is not the same as nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, Quantity>);

impl Amounts {
    /// Of an API object; what is no quantity is left out, since the kinds' rules let none through.
    pub fn read(list: Option<&BTreeMap<String, resource::Quantity>>) -> Self {
        let read = |(name, amount): (&String, &resource::Quantity)| Some((name.clone(), Quantity::parse(&amount.0).ok()?));
        Self(list.into_iter().flatten().filter_map(read).collect())
    }

    /// As an API object has it.
    pub fn to_list(&self) -> BTreeMap<String, resource::Quantity> {
        self.iter().map(|(name, amount)| (name.to_owned(), resource::Quantity(amount.text()))).collect()
    }

    pub fn get(&self, name: &str) -> Option<Quantity> {
        self.0.get(name).copied()
    }

    pub fn set(&mut self, name: impl Into<String>, amount: Quantity) {
        self.0.insert(name.into(), amount);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Adds each amount of the other.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let sum = self.get(name).map_or(amount, |own| own.plus(amount));
            self.set(name, sum);
        }
    }

    /// Raises each amount to that of the other, where that is more or the only one.
    pub fn raise(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            if self.get(name).is_none_or(|own| own < amount) {
                self.set(name, amount);
            }
        }
    }

    /// How much more this is than the other, without what is not more.
    pub fn increase(&self, other: &Self) -> Self {
        let more = |(name, amount): (&str, Quantity)| {
            let more = other.get(name).map_or(amount, |before| amount.minus(before));
            (!more.is_zero() && !more.is_negative()).then(|| (name.to_owned(), more))
        };
        Self(self.iter().filter_map(more).collect())
    }

    /// Those whose name is chosen.
    pub fn only(&self, chosen: impl Fn(&str) -> bool) -> Self {
        Self(self.iter().filter(|(name, _)| chosen(name)).map(|(name, amount)| (name.to_owned(), amount)).collect())
    }

    /// `cpu=1,pods=2`, as Kubernetes tells of amounts.
    pub fn shown(&self) -> String {
        let parts: Vec<String> = self.iter().map(|(name, amount)| format!("{name}={}", amount.text())).collect();
        parts.join(",")
    }
}

impl<N: Into<String>> FromIterator<(N, Quantity)> for Amounts {
    fn from_iter<I: IntoIterator<Item = (N, Quantity)>>(amounts: I) -> Self {
        Self(amounts.into_iter().map(|(name, amount)| (name.into(), amount)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(list: &[(&str, &str)]) -> Amounts {
        list.iter().map(|(name, amount)| (*name, Quantity::parse(amount).unwrap())).collect()
    }

    #[test]
    fn lists_are_added_raised_and_compared_by_name() {
        let (one, other) = (amounts(&[("a", "1"), ("b", "2")]), amounts(&[("b", "1"), ("c", "500m")]));
        let mut sum = one.clone();
        sum.add(&other);
        assert_eq!(sum.shown(), "a=1,b=3,c=500m");
        let mut most = one.clone();
        most.raise(&other);
        assert_eq!(most.shown(), "a=1,b=2,c=500m");
        assert_eq!((one.increase(&other).shown(), other.increase(&one).shown()), ("a=1,b=1".into(), "c=500m".into()));
        assert_eq!(sum.only(|name| name != "b").shown(), "a=1,c=500m");
        assert_eq!(Amounts::read(Some(&sum.to_list())), sum);
    }
}
