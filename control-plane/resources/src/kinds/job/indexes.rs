//! Lists of indexes as Jobs write them: `1,3-5,7`, rising, below the number of completions.

/// How many indexes the list has; says what is wrong with it.
pub fn count(list: &str, completions: i32) -> Result<i32, String> {
    let (mut last, mut total) = (None, 0_i32);
    for text in list.split(',').filter(|_| !list.is_empty()) {
        let (first, end) = interval(text, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total = total.saturating_add(end - first + 1);
        last = Some(end);
    }
    Ok(total)
}

/// The first index that is in both lists. Parts that are no intervals are passed over.
pub fn overlap(one: &str, other: &str, completions: i32) -> Option<i32> {
    let intervals = |list: &str| list.split(',').filter_map(|text| interval(text, completions).ok()).collect::<Vec<_>>();
    let (one, other) = (intervals(one), intervals(other));
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        if a.0 <= b.1 && b.0 <= a.1 {
            return Some(a.0.max(b.0));
        }
        if a.0 <= b.0 {
            i += 1;
        } else {
            j += 1;
        }
    }
    None
}

/// `3` or `3-5`: first and last index.
fn interval(text: &str, completions: i32) -> Result<(i32, i32), String> {
    let number = |part: &str| -> Result<i32, String> {
        let value: i64 = part.parse().map_err(|_| format!("cannot convert string to integer for index: {part:?}"))?;
        i32::try_from(value).ok().filter(|v| *v < completions).ok_or_else(|| format!("too large index: {part:?}"))
    };
    let mut parts = text.split('-');
    let (first, last) = (parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() {
        return Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let first = number(first)?;
    let Some(last) = last else { return Ok((first, first)) };
    let last = number(last)?;
    if first >= last {
        return Err(format!("non-increasing order, previous: {first}, current: {last}"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_rise_below_the_completions() {
        for (list, expected) in [
            ("", Ok(0)),
            ("0", Ok(1)),
            ("1,3-5,7", Ok(5)),
            ("3,3", Err("non-increasing order, previous: 3, current: 3")),
            ("5-3", Err("non-increasing order, previous: 5, current: 3")),
            ("9", Err("too large index: \"9\"")),
            ("1-9", Err("too large index: \"9\"")),
            ("a", Err("cannot convert string to integer for index: \"a\"")),
            ("1,", Err("cannot convert string to integer for index: \"\"")),
            (
                "1-2-3",
                Err("the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'"),
            ),
        ] {
            assert_eq!(count(list, 8), expected.map_err(str::to_owned), "{list}");
        }
    }

    #[test]
    fn lists_may_meet() {
        for (one, other, expected) in
            [("", "", None), ("1,3", "2,4", None), ("1-3", "3", Some(3)), ("0,4-6", "1-2,5", Some(5)), ("x,2", "2", Some(2))]
        {
            assert_eq!(overlap(one, other, 8), expected, "{one} {other}");
        }
    }
}
