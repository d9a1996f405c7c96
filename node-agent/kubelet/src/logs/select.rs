//! Which part of a log a reader wants, and how it looks. Pure.

use k8s_openapi::jiff::Timestamp;

use super::line;

/// What a reader asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Go on with new lines until the container ends.
    pub follow: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Stop after this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Turns lines of the file into what the reader gets.
#[derive(Clone, Debug)]
pub struct Selector {
    since: Option<Timestamp>,
    timestamps: bool,
    left: Option<u64>,
    in_line: bool,
}

impl Selector {
    /// A selector for one answer.
    pub fn new(options: &Options) -> Self {
        Self { since: options.since, timestamps: options.timestamps, left: options.limit_bytes, in_line: false }
    }

    /// True when the reader gets no more.
    pub fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Adds what the reader gets of one line of the file. Lines in another format are left out.
    pub fn add(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let Some(line) = line::parse(raw) else { return };
        if self.since.is_some_and(|since| line.time < since) {
            return;
        }
        let before = out.len();
        if self.timestamps && !self.in_line {
            out.extend_from_slice(line.stamp.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.push(b'\n');
        }
        self.in_line = line.partial;
        if let Some(left) = &mut self.left {
            let wrote = (out.len() - before) as u64;
            let kept = wrote.min(*left);
            out.truncate(before + usize::try_from(kept).unwrap_or(0));
            *left -= kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(options: &Options) -> String {
        let mut selector = Selector::new(options);
        let mut out = Vec::new();
        for line in ["2024-01-01T00:00:01Z stdout F one", "2024-01-01T00:00:02Z stdout P tw", "2024-01-01T00:00:02Z stdout F o", "nonsense"]
        {
            selector.add(line.as_bytes(), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn options_choose_and_decorate_lines() {
        let since = Some("2024-01-01T00:00:02Z".parse().unwrap());
        for (options, want) in [
            (Options::default(), "one\ntwo\n"),
            (Options { since, ..Options::default() }, "two\n"),
            (Options { timestamps: true, ..Options::default() }, "2024-01-01T00:00:01Z one\n2024-01-01T00:00:02Z two\n"),
            (Options { limit_bytes: Some(5), ..Options::default() }, "one\nt"),
            (Options { limit_bytes: Some(0), ..Options::default() }, ""),
        ] {
            assert_eq!(select(&options), want, "{options:?}");
        }
    }
}
