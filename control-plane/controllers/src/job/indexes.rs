//! Pure: sets of completion indexes, and their text in `status.completedIndexes`: numbers and ranges, as in `0,2-4`.

use std::collections::BTreeSet;

/// The indexes in a text, without those that are `limit` or more. What is no number is left out.
pub(super) fn parse(text: &str, limit: usize) -> BTreeSet<usize> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            indexes.extend(first..last.saturating_add(1).min(limit));
        }
    }
    indexes
}

pub(super) fn format(indexes: &BTreeSet<usize>) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for index in indexes.iter().copied() {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => parts.push((index, index)),
        }
    }
    let text = |(first, last): (usize, usize)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    parts.into_iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_begin_with_three() {
        assert_eq!(format(&BTreeSet::from([0, 1, 3, 4, 5, 9])), "0,1,3-5,9");
        assert_eq!(format(&BTreeSet::new()), "");
        assert_eq!(parse("0,1,3-5,x,9", 9), BTreeSet::from([0, 1, 3, 4, 5]));
        assert_eq!(parse("0-18446744073709551615", 3), BTreeSet::from([0, 1, 2]));
    }

    proptest! {
        #[test]
        fn the_text_gives_the_set_back(indexes in proptest::collection::btree_set(0..200usize, 0..60)) {
            prop_assert_eq!(parse(&format(&indexes), 200), indexes);
        }
    }
}
