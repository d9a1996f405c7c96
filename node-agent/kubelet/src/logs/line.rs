//! One line of a CRI log: `2024-05-01T10:00:00.123456789Z stdout F text`. Pure.

use k8s_openapi::jiff::Timestamp;

/// A line, borrowed from the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The time as written, RFC 3339 with nanoseconds.
    pub stamp: &'a str,
    /// The same, as a value.
    pub time: Timestamp,
    /// True for stderr.
    pub stderr: bool,
    /// True when the container's own line goes on in the next one (tag `P`).
    pub partial: bool,
    /// What the container wrote, without the line's end.
    pub text: &'a [u8],
}

/// Reads a line, with or without its end. None when it is not in the format.
pub fn parse(bytes: &[u8]) -> Option<Line<'_>> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut parts = bytes.splitn(4, |b| *b == b' ');
    let stamp = std::str::from_utf8(parts.next()?).ok()?;
    let time = stamp.parse().ok()?;
    let stderr = match parts.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    // Tags are separated by colons; only the first says anything so far.
    let partial = match parts.next()?.split(|b| *b == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Line { stamp, time, stderr, partial, text: parts.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_and_malformed_ones_are_not() {
        let line = parse(b"2024-05-01T10:00:00.5Z stderr P hello  world\n").unwrap();
        assert_eq!((line.stderr, line.partial, line.text), (true, true, &b"hello  world"[..]));
        assert_eq!(line.time.as_millisecond(), 1_714_557_600_500);
        assert_eq!(parse(b"2024-05-01T10:00:00+02:00 stdout F").unwrap().text, b"");
        for bad in ["", "x stdout F y", "2024-05-01T10:00:00Z stdin F y", "2024-05-01T10:00:00Z stdout Q y", "2024-05-01T10:00:00Z"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(text in "[^\n]{0,60}", stderr in any::<bool>(), partial in any::<bool>()) {
            let stream = if stderr { "stderr" } else { "stdout" };
            let bytes = format!("2024-05-01T10:00:00.000000001Z {stream} {} {text}\n", if partial { "P" } else { "F" });
            let line = parse(bytes.as_bytes()).unwrap();
            prop_assert_eq!((line.stderr, line.partial, line.text), (stderr, partial, text.as_bytes()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&bytes);
        }
    }
}
