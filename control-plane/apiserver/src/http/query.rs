//! The query of a request, read once: whoever authorizes a request and whoever answers it see the same values.

use std::borrow::Cow;

/// Names and values in their order. Where a name is given more than once, its first value counts, as in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; what has no form is read as text.
    pub fn parse(query: &str) -> Self {
        let owned = |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
        Self(form_urlencoded::parse(query.as_bytes()).map(owned).collect())
    }

    /// The value that counts.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// All values of an option that is a list.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| &value[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts() {
        let query = Query::parse("a=&b=%3D1&a=2&c");
        assert_eq!((query.first("a"), query.first("b"), query.first("c"), query.first("d")), (Some(""), Some("=1"), Some(""), None));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["", "2"]);
    }
}
