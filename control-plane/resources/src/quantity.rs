//! `resource.Quantity`: parsing, comparing and the canonical spelling. Amounts are exact: nano-units in 128 bits.

use std::cmp::Ordering;

/// How a quantity was spelled, and will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `Ki`, `Mi`, …
    Binary,
    /// `m`, nothing, `k`, `M`, …
    Decimal,
    /// `1e3`
    Exponent,
}

/// An exact amount with the way it is spelled.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// Billionths of the unit.
    nanos: i128,
    format: Format,
}

/// The text is not a quantity.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct NotAQuantity;

const NANO: i128 = 1_000_000_000;
/// Amounts beyond 2^63-1 units are capped.
const MAX: i128 = i64::MAX as i128 * NANO;

impl Quantity {
    /// Reads a quantity. Finer parts than a nano round away from zero; more than 2^63-1 is capped.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(NotAQuantity);
        }
        let (factor, exponent, format) = suffix_of(suffix)?;
        let nanos = scale(whole, fraction, factor, exponent).min(MAX);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether the amount is a whole number of units.
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// Whether the amount is a whole number of thousandths.
    pub fn is_milli(self) -> bool {
        self.nanos % 1_000_000 == 0
    }

    /// Thousandths, rounded up (away from zero): what CPU amounts are counted in.
    pub fn milli(self) -> i64 {
        round_up(self.nanos, 1_000_000)
    }

    /// Units, rounded up (away from zero).
    pub fn units(self) -> i64 {
        round_up(self.nanos, NANO)
    }

    /// So many units, spelled in decimal.
    pub fn of_units(units: i64) -> Self {
        Self { nanos: (i128::from(units) * NANO).min(MAX), format: Format::Decimal }
    }

    /// The sum, at most 2^63-1 units, spelled as `self` is; as `other` where `self` is nothing.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-MAX, MAX), format }
    }

    /// What is left of `self` without `other`; may be negative.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nanos: -other.nanos, format: other.format })
    }

    /// The next whole number of units, away from zero.
    #[must_use]
    pub fn whole(self) -> Self {
        if self.is_whole() { self } else { Self { nanos: i128::from(self.units()) * NANO, format: self.format } }
    }

    /// The amount in units as near as a floating point number comes.
    #[allow(clippy::cast_precision_loss, reason = "that is what is asked for")]
    pub fn approximate(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// The canonical spelling: no fraction, the largest suffix that loses nothing, in the family it was read in.
    pub fn text(self) -> String {
        if self.nanos == 0 {
            return "0".to_owned();
        }
        match self.format {
            // A binary quantity below 1024 or with a fraction is spelled in decimal.
            Format::Binary if self.nanos.abs() >= 1024 * NANO && self.is_whole() => {
                let mut amount = self.nanos / NANO;
                let mut suffix = 0;
                while suffix < 6 && amount % 1024 == 0 {
                    amount /= 1024;
                    suffix += 1;
                }
                format!("{amount}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][suffix])
            }
            format => {
                let mut amount = self.nanos;
                let mut exponent = -9;
                while exponent < 18 && amount % 1000 == 0 {
                    amount /= 1000;
                    exponent += 3;
                }
                match (format, exponent) {
                    (Format::Exponent, 0) => amount.to_string(),
                    (Format::Exponent, _) => format!("{amount}e{exponent}"),
                    _ => {
                        let index = usize::try_from((exponent + 9) / 3).unwrap_or(3);
                        format!("{amount}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][index])
                    }
                }
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical spelling of `text`.
pub fn canonical(text: &str) -> Result<String, NotAQuantity> {
    Quantity::parse(text).map(Quantity::text)
}

/// Binary factor, power of ten, spelling family.
fn suffix_of(suffix: &str) -> Result<(i128, i32, Format), NotAQuantity> {
    let binary = |power: u32| Ok((1_i128 << (10 * power), 0, Format::Binary));
    let decimal = |exponent: i32| Ok((1, exponent, Format::Decimal));
    match suffix {
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        _ => {
            let digits = suffix.strip_prefix(['e', 'E']).ok_or(NotAQuantity)?;
            let exponent: i32 = digits.parse().map_err(|_| NotAQuantity)?;
            Ok((1, exponent, Format::Exponent))
        }
    }
}

/// `whole.fraction × factor × 10^exponent` in nanos, rounded up, saturating at the cap.
fn scale(whole: &str, fraction: &str, factor: i128, exponent: i32) -> i128 {
    // Digits beyond these never change a capped or nano-rounded result except by rounding up.
    const KEEP: usize = 19;
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() {
        return 0;
    }
    if whole.len() > KEEP + 9 {
        return if exponent < -40 { 1 } else { MAX };
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(KEEP));
    let mut sticky = !rest.is_empty();
    let mut digits: i128 = 0;
    for digit in whole.bytes().chain(kept.bytes()) {
        match digits.checked_mul(10).and_then(|d| d.checked_add(i128::from(digit - b'0'))) {
            Some(more) => digits = more,
            None => return MAX,
        }
    }
    let Some(mut amount) = digits.checked_mul(factor) else { return MAX };
    // Both are at most 19 and i32, the sum fits i64.
    let mut power = i64::from(exponent) + 9 - kept.len() as i64;
    while power > 0 && amount <= MAX && amount != 0 {
        amount *= 10;
        power -= 1;
    }
    while power < 0 && amount != 0 {
        sticky |= amount % 10 != 0;
        amount /= 10;
        power += 1;
    }
    if sticky || power < 0 { amount.saturating_add(1) } else { amount }
}

fn round_up(nanos: i128, unit: i128) -> i64 {
    let up = if nanos % unit == 0 { nanos / unit } else { nanos / unit + nanos.signum() };
    i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_become_canonical() {
        for (given, expected) in [
            ("0", "0"),
            ("0Gi", "0"),
            ("1", "1"),
            ("1.5", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1E6", "1e6"),
            ("12e2", "1200"),
            ("-1.5", "-1500m"),
            ("+2", "2"),
            ("0.1n", "1n"),
            ("100000000000000000000", "9223372036854775807"),
            ("128Mi", "128Mi"),
        ] {
            assert_eq!(canonical(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "abc", "1x", "1 Gi", "--1", "1.2.3", "e3", "1e", ".", "Ki", "1KI", "1é"] {
            assert_eq!(canonical(text), Err(NotAQuantity), "{text}");
        }
    }

    #[test]
    fn amounts_compare_across_spellings() {
        let q = |text| Quantity::parse(text).unwrap();
        assert!(q("1Gi") > q("1G"));
        assert_eq!(q("1000m"), q("1"));
        assert_eq!((q("1.5").units(), q("1n").milli(), q("250m").milli()), (2, 1, 250));
    }

    #[test]
    fn sums_are_exact_and_keep_the_spelling_of_the_first() {
        let q = |text| Quantity::parse(text).unwrap();
        for (one, other, sum, rest) in [
            ("1Gi", "512Mi", "1536Mi", "512Mi"),
            ("100m", "2", "2100m", "-1900m"),
            ("0", "1Gi", "1Gi", "-1Gi"),
            ("1", "1", "2", "0"),
            ("9223372036854775807", "1", "9223372036854775807", "9223372036854775806"),
        ] {
            assert_eq!((q(one).plus(q(other)).text(), q(one).minus(q(other)).text()), (sum.into(), rest.into()), "{one} {other}");
        }
        assert_eq!([q("1500m").whole().text(), q("2").whole().text(), Quantity::of_units(3).text()], ["2", "2", "3"]);
        assert!((q("1500m").approximate() - 1.5).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_canonical_text_is_stable(text in "[-+]?[0-9.]{0,40}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,12}") {
            if let Ok(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once), Ok(once.clone()));
            }
        }
    }
}
