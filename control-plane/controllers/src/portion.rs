//! Pure: a count that the API allows to be a percentage (`IntOrString`), such as `maxUnavailable`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The count, or the percentage of `whole`. Nonsense and negative numbers count as 0; validation lets neither through.
pub(crate) fn portion(value: &IntOrString, whole: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok()).unwrap_or(0).max(0);
            let hundredfold = percent.saturating_mul(i64::from(whole));
            let number = if round_up { hundredfold.saturating_add(99) / 100 } else { hundredfold / 100 };
            i32::try_from(number).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let of = |text: &str, whole, round_up| portion(&IntOrString::String(text.into()), whole, round_up);
        assert_eq!((of("25%", 10, true), of("25%", 10, false)), (3, 2));
        assert_eq!((of("0%", 10, true), of("1%", 0, true), of("x", 10, true)), (0, 0, 0));
        assert_eq!((portion(&IntOrString::Int(4), 1, true), portion(&IntOrString::Int(-4), 1, true)), (4, 0));
    }

    proptest! {
        #[test]
        fn the_two_roundings_are_at_most_one_apart(percent in 0..=200i64, whole in 0..=i32::MAX) {
            let value = IntOrString::String(format!("{percent}%"));
            let (down, up) = (portion(&value, whole, false), portion(&value, whole, true));
            prop_assert!(down <= up && up - down <= 1);
            prop_assert!(percent > 100 || up <= whole);
        }
    }
}
