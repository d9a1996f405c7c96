//! Timestamps and durations: RFC 3339, and Go's form of durations (`1h30m`). Names of time zones are looked up in the machine's database, the only thing
//! that this crate reads.

use super::{Evaluated, Library};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::Value;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

pub const LIBRARY: Library = &[
    ("timestamp", "(timestamp) -> timestamp; (string) -> timestamp; (int) -> timestamp", timestamp),
    ("duration", "(duration) -> duration; (string) -> duration; (int) -> duration", duration),
    ("getFullYear", FIELD, |budget, args| field(budget, args, |t| t.year().into())),
    ("getMonth", FIELD, |budget, args| field(budget, args, |t| i64::from(t.month()) - 1)),
    ("getDayOfYear", FIELD, |budget, args| field(budget, args, |t| i64::from(t.day_of_year()) - 1)),
    ("getDayOfMonth", FIELD, |budget, args| field(budget, args, |t| i64::from(t.day()) - 1)),
    ("getDate", FIELD, |budget, args| field(budget, args, |t| t.day().into())),
    ("getDayOfWeek", FIELD, |budget, args| field(budget, args, |t| t.weekday().to_sunday_zero_offset().into())),
    ("getHours", BOTH, |budget, args| either(budget, args, 3_600_000_000_000, |t| t.hour().into())),
    ("getMinutes", BOTH, |budget, args| either(budget, args, 60_000_000_000, |t| t.minute().into())),
    ("getSeconds", BOTH, |budget, args| either(budget, args, 1_000_000_000, |t| t.second().into())),
    ("getMilliseconds", BOTH, |budget, args| either(budget, args, 1_000_000, |t| t.millisecond().into())),
];

const FIELD: &str = "timestamp.() -> int; timestamp.(string) -> int";
const BOTH: &str = "timestamp.() -> int; timestamp.(string) -> int; duration.() -> int";

fn timestamp<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [value @ Value::Timestamp(_)] => Ok(value.clone()),
        [Value::String(text)] => {
            budget.traverse(text.len())?;
            parse_timestamp(text)
                .map(Value::Timestamp)
                .ok_or_else(|| EvalError::other(format!("cannot parse {:.64?} as a timestamp", &**text)))
        }
        [Value::Int(seconds)] => Timestamp::from_second(*seconds).map(Value::Timestamp).map_err(|_| overflow()),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn overflow() -> EvalError {
    EvalError::other("timestamp overflow")
}

/// RFC 3339, with `T` and a zone.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    // Longer ones cannot be, and what jiff reads besides (names of zones) is no RFC 3339.
    let plain =
        text.len() < 64 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b':' | b'.' | b'T' | b'Z' | b't' | b'z'));
    if plain { text.parse().ok() } else { None }
}

fn duration<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [value @ Value::Duration(_)] => Ok(value.clone()),
        [Value::String(text)] => {
            budget.traverse(text.len())?;
            parse_duration(text).map(Value::Duration).ok_or_else(|| EvalError::other(format!("time: invalid duration {:.64?}", &**text)))
        }
        [Value::Int(nanoseconds)] => Ok(Value::Duration(*nanoseconds)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// Go's `time.ParseDuration`, in nanoseconds: `-1h30.5m`, and `0`.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || text.len() > 256 {
        return None;
    }
    let mut sum: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.into() };
        let fraction = &fraction[..fraction.len().min(15)];
        let part: i128 =
            if fraction.is_empty() { 0 } else { fraction.parse::<i128>().ok()? * scale / 10_i128.pow(u32::try_from(fraction.len()).ok()?) };
        sum = sum.checked_add(whole.checked_mul(scale)?.checked_add(part)?)?;
        rest = tail;
    }
    i64::try_from(if negative { -sum } else { sum }).ok()
}

/// A text of the format `duration` of schemas, in nanoseconds: as Go parses one, or in words (`2 hours 3 min`).
pub fn parse_format(text: &str) -> Option<i64> {
    const UNITS: [(&[&str], &str, i64); 8] = [
        (&["ns"], "nano", 1),
        (&["us", "µs"], "micro", 1_000),
        (&["ms"], "milli", 1_000_000),
        (&["s"], "sec", 1_000_000_000),
        (&["m"], "min", 60_000_000_000),
        (&["h", "hr"], "hour", 3_600_000_000_000),
        (&["d"], "day", 86_400_000_000_000),
        (&["w", "wk"], "week", 604_800_000_000_000),
    ];
    if let Some(duration) = parse_duration(text) {
        return Some(duration);
    }
    let (mut rest, mut sum) = (text.trim(), None);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let tail = tail.trim_start();
        let (unit, tail) = tail.split_at(tail.find(|c: char| !(c.is_ascii_alphabetic() || c == 'µ')).unwrap_or(tail.len()));
        let (number, unit) = (number.parse::<i64>().ok()?, unit.to_lowercase());
        if unit.is_empty() {
            return None;
        }
        // A unit that nobody knows counts nothing, beside one that is known.
        if let Some((.., scale)) = UNITS.iter().find(|(short, long, _)| short.contains(&unit.as_str()) || unit.starts_with(long)) {
            sum = Some(number.checked_mul(*scale)?.checked_add(sum.unwrap_or(0))?);
        }
        rest = tail.trim_start();
    }
    sum
}

/// A text of the formats `date-time` and `date` of schemas: a date is its midnight in UTC.
pub fn parse_format_time(text: &str) -> Option<Timestamp> {
    parse_timestamp(text).or_else(|| {
        let date: jiff::civil::Date = if text.len() == 10 { text.parse().ok()? } else { return None };
        date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

/// In seconds, as protobuf writes them: `5400s`, `0.5s`.
pub fn show_duration(nanoseconds: i64) -> String {
    let (sign, n) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
    let fraction = format!("{:09}", n % 1_000_000_000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{dot}{fraction}s", n / 1_000_000_000)
}

/// A time so much later.
pub fn moved<'a>(time: Timestamp, nanoseconds: i64) -> Evaluated<'a> {
    time.checked_add(SignedDuration::from_nanos(nanoseconds)).map(Value::Timestamp).map_err(|_| overflow())
}

/// From the second to the first.
pub fn between<'a>(a: Timestamp, b: Timestamp) -> Evaluated<'a> {
    i64::try_from(a.as_nanosecond() - b.as_nanosecond()).map(Value::Duration).map_err(|_| EvalError::other("duration overflow"))
}

/// The time as clocks show it in a zone: UTC, a name, or an offset (`+05:30`).
fn local(args: &[Value<'_>]) -> Result<Zoned, EvalError> {
    let (Some(Value::Timestamp(time)), zone) = (args.first(), args.get(1)) else { return Err(EvalError::NoSuchOverload) };
    let zone = match zone {
        None => TimeZone::UTC,
        Some(Value::String(name)) => zone_of(name).ok_or_else(|| EvalError::other(format!("unknown time zone {:.64}", &**name)))?,
        Some(_) => return Err(EvalError::NoSuchOverload),
    };
    Ok(time.to_zoned(zone))
}

fn zone_of(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    // No zone's name is so long.
    if name.len() > 64 {
        return None;
    }
    if let Some((hours, minutes)) = name.split_once(':') {
        let seconds = |text: &str, scale: i32| text.parse::<i32>().ok().and_then(|n| n.checked_mul(scale));
        let (hours, minutes) = (seconds(hours, 3600)?, seconds(minutes, 60)?);
        let total = if name.starts_with('-') { hours.checked_sub(minutes)? } else { hours.checked_add(minutes)? };
        return jiff::tz::Offset::from_seconds(total).ok().map(TimeZone::fixed);
    }
    TimeZone::get(name).ok()
}

fn field<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(&Zoned) -> i64) -> Evaluated<'a> {
    budget.charge(1)?;
    local(args).map(|time| Value::Int(of(&time)))
}

fn either<'a>(budget: &mut Budget, args: &[Value<'a>], unit: i64, of: fn(&Zoned) -> i64) -> Evaluated<'a> {
    match args {
        [Value::Duration(d)] => {
            budget.charge(1)?;
            Ok(Value::Int(d / unit))
        }
        _ => field(budget, args, of),
    }
}
