//! What tables share: column definitions, ages, lists in a cell. Which columns a kind has is its own.

use crate::contract::Column;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use serde_json::Value;
use std::borrow::Cow;

/// Columns of a kind about which there is no more to say.
pub const NAME_AND_AGE: &[Column] = &[NAME, AGE];

pub const NAME: Column = column("Name", "string", "name", "Name must be unique within a namespace.", 0);

pub const AGE: Column = text("Age", "Time since the object was created.");

/// A string column.
pub const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 0)
}

/// A string column of `-o wide`.
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 1)
}

/// A number column.
pub const fn number(name: &'static str, description: &'static str) -> Column {
    column(name, "integer", "", description, 0)
}

/// Any column of a kind that is known when the program is built.
pub const fn column(name: &'static str, kind: &'static str, format: &'static str, description: &'static str, priority: i32) -> Column {
    Column {
        name: Cow::Borrowed(name),
        kind: Cow::Borrowed(kind),
        format: Cow::Borrowed(format),
        description: Cow::Borrowed(description),
        priority,
    }
}

/// Cells of [`NAME_AND_AGE`].
pub fn name_and_age(metadata: &ObjectMeta, now: i64) -> Vec<Value> {
    vec![name(metadata), age(metadata, now)]
}

pub fn name(metadata: &ObjectMeta) -> Value {
    metadata.name.as_deref().unwrap_or_default().into()
}

/// Age since creation, `<unknown>` without a creation time.
pub fn age(metadata: &ObjectMeta, now: i64) -> Value {
    since(metadata.creation_timestamp.as_ref(), now).into()
}

/// `5m3s` since `time`; `<unknown>` without one.
pub fn since(time: Option<&Time>, now: i64) -> String {
    time.map_or_else(|| "<unknown>".to_owned(), |time| duration(now.saturating_sub(time.0.as_second())))
}

/// Like [`since`] for the finer time.
pub fn since_micro(time: Option<&MicroTime>, now: i64) -> String {
    time.map_or_else(|| "<unknown>".to_owned(), |time| duration(now.saturating_sub(time.0.as_second())))
}

/// A duration in seconds as people read it: about two digits of precision, as kubectl prints ages.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |large: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => pair(days, 'd', hours % 24, 'h'),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => pair(years, 'y', days % 365, 'd'),
        () => format!("{years}y"),
    }
}

/// `a,b,c`, or `<none>`.
pub fn joined<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(item.as_ref());
    }
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// The first `max` items and how many there are beyond: `a,b,c + 2 more...`.
pub fn first_few<T: AsRef<str>>(items: &[T], max: usize) -> String {
    let shown = joined(items.iter().take(max));
    if items.len() > max { format!("{shown} + {} more...", items.len() - max) } else { shown }
}

/// The text, or `<none>`.
pub fn or_none(text: Option<&str>) -> Value {
    text.filter(|t| !t.is_empty()).unwrap_or("<none>").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_about_two_digits() {
        const M: i64 = 60;
        const H: i64 = 60 * M;
        const D: i64 = 24 * H;
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (5 * M + 3, "5m3s"),
            (10 * M + 3, "10m"),
            (179 * M, "179m"),
            (3 * H, "3h"),
            (3 * H + 2 * M, "3h2m"),
            (8 * H + 5 * M, "8h"),
            (47 * H, "47h"),
            (2 * D, "2d"),
            (2 * D + 3 * H, "2d3h"),
            (8 * D + 3 * H, "8d"),
            (729 * D, "729d"),
            (731 * D, "2y1d"),
            (9 * 365 * D, "9y"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(first_few(&["a", "b", "c", "d", "e"], 3), "a,b,c + 2 more...");
        assert_eq!(first_few::<&str>(&[], 3), "<none>");
    }
}
