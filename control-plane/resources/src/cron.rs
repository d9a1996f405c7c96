//! Schedules of CronJobs: what is one, and what is wrong with what is none, by the rules and in the words of the library that Kubernetes reads them
//! with (robfig/cron v3, `ParseStandard`). When a schedule is due is the controller's.

use std::time::Duration;

/// A schedule that has been read.
#[derive(Debug, PartialEq, Eq)]
pub enum Timing {
    /// At times of the calendar: five fields, each `*` or a list of plain numbers (minute, hour, day of the month, month, day of the week from
    /// Sunday, which is 0). Where both days are lists, either is enough.
    Calendar(String),
    /// After every such time, in whole seconds.
    Every(Duration),
}

/// Reads a schedule. The error is the detail of the API's message. A time zone in front (`TZ=…`, `CRON_TZ=…`) is skipped.
pub fn parse(text: &str) -> Result<Timing, String> {
    if text.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let has_zone = text.starts_with("TZ=") || text.starts_with("CRON_TZ=");
    let text = if has_zone { text.split_once(' ').map_or("", |(_, rest)| rest).trim() } else { text };
    if text.starts_with('@') {
        return descriptor(text);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly {} fields, found {}: [{}]", FIELDS.len(), fields.len(), fields.join(" ")));
    }
    let read: Result<Vec<String>, String> = fields.iter().zip(&FIELDS).map(|(text, bounds)| field(text, bounds)).collect();
    Ok(Timing::Calendar(read?.join(" ")))
}

/// What the numbers of a field may be.
struct Bounds {
    least: u64,
    most: u64,
    /// Names in lower case, the first one is `least`.
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Bounds; 5] = [
    Bounds { least: 0, most: 59, names: &[] },
    Bounds { least: 0, most: 23, names: &[] },
    Bounds { least: 1, most: 31, names: &[] },
    Bounds { least: 1, most: 12, names: MONTHS },
    Bounds { least: 0, most: 6, names: DAYS },
];

fn field(text: &str, bounds: &Bounds) -> Result<String, String> {
    let (mut chosen, mut any) = (vec![false; 60], false);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let range = range(part, bounds)?;
        any |= range.any;
        // Within the bounds, the highest of which is 59.
        (range.start..=range.end).step_by(range.step).for_each(|number| chosen[number] = true);
    }
    let numbers = || (0..chosen.len()).filter(|number| chosen[*number]).map(|number| number.to_string());
    Ok(if any { "*".to_owned() } else { numbers().collect::<Vec<_>>().join(",") })
}

struct Range {
    start: usize,
    end: usize,
    step: usize,
    /// Written as `*`: the field says nothing.
    any: bool,
}

fn range(text: &str, bounds: &Bounds) -> Result<Range, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let star = matches!(ends[0], "*" | "?");
    let (start, mut end) = if star {
        (bounds.least, bounds.most)
    } else {
        let start = number_or_name(ends[0], bounds)?;
        match ends[..] {
            [_] => (start, start),
            [_, end] => (start, number_or_name(end, bounds)?),
            _ => return Err(format!("too many hyphens: {text}")),
        }
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            if ends.len() == 1 {
                end = bounds.most;
            }
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < bounds.least {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.least));
    }
    if end > bounds.most {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.most));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Range { start: whole(start), end: whole(end), step: whole(step), any: star && step == 1 })
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let lower = text.to_lowercase();
    match (bounds.least..).zip(bounds.names).find(|(_, name)| **name == lower) {
        Some((number, _)) => Ok(number),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u64, String> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let number: i64 = text.parse().map_err(|error: std::num::ParseIntError| {
        let why = if matches!(error.kind(), PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}")
    })?;
    u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}

fn descriptor(text: &str) -> Result<Timing, String> {
    let calendar = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(time) = text.strip_prefix("@every ") else { return Err(format!("unrecognized descriptor: {text}")) };
            let nanos = nanoseconds(time).map_err(|error| format!("failed to parse duration {text}: {error}"))?;
            return Ok(Timing::Every(Duration::from_secs(u64::try_from(nanos / 1_000_000_000).unwrap_or(0).max(1))));
        }
    };
    Ok(Timing::Calendar(calendar.to_owned()))
}

const UNITS: [(&str, f64); 8] = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Go's durations (`1h30m`, `1.5s`), in nanoseconds, with Go's words for what is none.
fn nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let is_number = |sign: char| sign.is_ascii_digit() || sign == '.';
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned == "0" {
        return Ok(0);
    }
    let (mut rest, mut sum) = (unsigned, 0.0);
    loop {
        let digits = rest.find(|sign| !is_number(sign)).unwrap_or(rest.len());
        let (amount, after) = rest.split_at(digits);
        let amount: f64 = amount.parse().map_err(|_| invalid())?;
        let unit = after.find(is_number).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        sum += amount * factor;
        if sum > i64::MAX as f64 {
            return Err(invalid());
        }
        rest = after;
        if rest.is_empty() {
            return Ok(if negative { -(sum as i64) } else { sum as i64 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_plain_lists() {
        for (text, calendar) in [
            ("* * * * *", "* * * * *"),
            ("*/20 ? 1,15 jan-MAR Sun", "0,20,40 * 1,15 1,2,3 0"),
            ("50/4 0-6/3 */1 */6 1-5", "50,54,58 0,3,6 * 1,7 1,2,3,4,5"),
            ("@weekly", "0 0 * * 0"),
            ("CRON_TZ=UTC 1,,+2 * * * *", "1,2 * * * *"),
        ] {
            assert_eq!(parse(text), Ok(Timing::Calendar(calendar.to_owned())), "{text}");
        }
        for (text, seconds) in [("@every 1h30m", 5400), ("@every 1.5s", 1), ("@every 3ms", 1), ("@every -1m", 1)] {
            assert_eq!(parse(text), Ok(Timing::Every(Duration::from_secs(seconds))), "{text}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_told_in_the_words_of_kubernetes() {
        for (text, error) in [
            ("", "empty spec string"),
            ("* * *  *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("@every x", r#"failed to parse duration @every x: time: invalid duration "x""#),
            ("@every 5", r#"failed to parse duration @every 5: time: missing unit in duration "5""#),
            ("@every 5d", r#"failed to parse duration @every 5d: time: unknown unit "d" in duration "5d""#),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("9-5 * * * *", "beginning of range (9) beyond end of range (5): 9-5"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("*/-1 * * * *", "negative number (-1) not allowed: -1"),
            ("x * * * *", r#"failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax"#),
            (
                "99999999999999999999 * * * *",
                r#"failed to parse int from 99999999999999999999: strconv.Atoi: parsing "99999999999999999999": value out of range"#,
            ),
        ] {
            assert_eq!(parse(text), Err(error.to_owned()), "{text}");
        }
    }
}
