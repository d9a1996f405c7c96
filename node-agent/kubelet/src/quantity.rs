//! Resource quantities as numbers (`500m`, `1.5Gi`, `1e3`). Leaves what a resource means to the callers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const NANO: i128 = 1_000_000_000;

/// The quantity in thousandths, rounded up; none when it is malformed or out of range.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1_000)
}

/// The quantity in whole units, rounded up; none when it is malformed or out of range.
pub fn value(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1)
}

/// `quantity / divisor` in whole units, rounded up, as resourceFieldRef defines it. A zero or malformed divisor counts as 1.
pub fn divided(quantity_nanos: i128, divisor: Option<&Quantity>) -> i128 {
    let divisor = divisor.and_then(|d| nanos(&d.0)).filter(|d| *d > 0).unwrap_or(NANO);
    quantity_nanos.div_euclid(divisor) + i128::from(quantity_nanos.rem_euclid(divisor) != 0)
}

/// The quantity in billionths, rounded up; none when it is malformed or out of range.
pub fn nanos(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (multiplier, exponent) = multiplier(suffix)?;
    let exponent = exponent + 9 - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.checked_mul(multiplier)?;
    let magnitude = if exponent >= 0 {
        scaled.checked_mul(10i128.checked_pow(exponent.unsigned_abs())?)?
    } else {
        let divisor = 10i128.checked_pow(exponent.unsigned_abs())?;
        scaled / divisor + i128::from(scaled % divisor != 0)
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// What a suffix stands for: a factor and a power of ten.
fn multiplier(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        other => (1, other.strip_prefix(['e', 'E'])?.parse().ok().filter(|e: &i32| e.abs() <= 20)?),
    })
}

fn scaled(text: &str, per_unit: i128) -> Option<i64> {
    let step = NANO / per_unit;
    let nanos = nanos(text)?;
    i64::try_from(nanos.div_euclid(step) + i128::from(nanos.rem_euclid(step) != 0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_of_quantities_have_their_documented_values() {
        for (text, want_milli, want_value) in [
            ("1", 1000, 1),
            ("500m", 500, 1),
            ("1.5", 1500, 2),
            (".5", 500, 1),
            ("1e3", 1_000_000, 1000),
            ("1E3", 1_000_000, 1000),
            ("2k", 2_000_000, 2000),
            ("1Ki", 1_024_000, 1024),
            ("1.5Gi", 1_610_612_736_000, 1_610_612_736),
            ("100u", 1, 1),
            ("0", 0, 0),
            ("-1", -1000, -1),
        ] {
            let quantity = Quantity(text.to_owned());
            assert_eq!(milli(&quantity), Some(want_milli), "{text}");
            assert_eq!(value(&quantity), Some(want_value), "{text}");
        }
    }

    #[test]
    fn malformed_quantities_are_none() {
        for text in ["", "abc", "1x", "1.2.3", "e3", "1e", "--1", "1 Gi", "1e99"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn a_divisor_rounds_up() {
        let bytes = nanos("1000").unwrap();
        assert_eq!(divided(bytes, Some(&Quantity("1Ki".into()))), 1);
        assert_eq!(divided(nanos("1500m").unwrap(), Some(&Quantity("1".into()))), 2);
        assert_eq!(divided(nanos("1500m").unwrap(), Some(&Quantity("1m".into()))), 1500);
        assert_eq!(divided(bytes, Some(&Quantity("0".into()))), 1000);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}") {
            let _ = nanos(&text);
        }

        #[test]
        fn whole_numbers_survive(number in 0i64..1_000_000_000) {
            prop_assert_eq!(value(&Quantity(number.to_string())), Some(number));
        }
    }
}
