//! The end of a log file: where the last lines begin, and their text.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::line;

const BLOCK: u64 = 64 << 10;

/// The offset at which the last `lines` lines of the container begin. Lines in parts count once.
///
/// # Errors
/// The file cannot be read.
pub fn offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(length);
    }
    let mut found = 0;
    let mut end = length;
    // Bytes of a line that began before the block just read.
    let mut rest: Vec<u8> = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(end - begin).unwrap_or(0)];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block)?;
        block.append(&mut rest);
        // From the back: each newline but the file's last one ends the line before it.
        let mut upper = block.len();
        while let Some(at) = block[..upper.saturating_sub(1)].iter().rposition(|b| *b == b'\n') {
            if begin > 0 && !block[..at].contains(&b'\n') {
                // Whether that line is a full one only its beginning tells, which is in the block before.
                break;
            }
            let begins = begin + at as u64 + 1;
            if begins < length && ends_line(&block[..=at]) {
                found += 1;
                if found == lines {
                    return Ok(begins);
                }
            }
            upper = at + 1;
        }
        rest = block[..upper].to_vec();
        end = begin;
    }
    Ok(0)
}

/// True when the last line of the bytes is a full one, so that what follows is a new line of the container.
fn ends_line(bytes: &[u8]) -> bool {
    let inner = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let begin = inner.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    line::parse(&inner[begin..]).is_none_or(|line| !line.partial)
}

/// The text of the last lines, at most `max_bytes` of it from the end.
///
/// # Errors
/// The file cannot be read.
pub fn text(path: &Path, lines: usize, max_bytes: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let begin = offset(&mut file, lines as u64)?;
    let length = file.metadata()?.len();
    // Each line has a prefix; twice the wanted size and some is enough.
    let begin = begin.max(length.saturating_sub(4 * max_bytes as u64 + BLOCK));
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut text = Vec::new();
    for line in bytes.split_inclusive(|b| *b == b'\n').filter_map(line::parse) {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let text = &text[text.len().saturating_sub(max_bytes)..];
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn log(lines: &[(&str, bool)]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for (text, partial) in lines {
            writeln!(file, "2024-05-01T10:00:00Z stdout {} {text}", if *partial { "P" } else { "F" }).unwrap();
        }
        file
    }

    #[test]
    fn the_last_lines_are_found_and_parts_count_once() {
        let file = log(&[("a", false), ("b1", true), ("b2", false), ("c", false)]);
        for (lines, want) in [(0, ""), (1, "c\n"), (2, "b1b2\nc\n"), (3, "a\nb1b2\nc\n"), (9, "a\nb1b2\nc\n")] {
            assert_eq!(text(file.path(), lines, 1000).unwrap(), want, "{lines}");
        }
        assert_eq!(text(file.path(), 9, 3).unwrap(), "\nc\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_number_of_lines_of_any_length_is_found(lengths in prop::collection::vec(0usize..40_000, 1..12), wanted in 0usize..14) {
            let texts: Vec<String> = lengths.iter().map(|l| "x".repeat(*l)).collect();
            let file = log(&texts.iter().map(|t| (t.as_str(), false)).collect::<Vec<_>>());
            let mut opened = File::open(file.path()).unwrap();
            let begin = offset(&mut opened, wanted as u64).unwrap();
            opened.seek(SeekFrom::Start(begin)).unwrap();
            let mut rest = String::new();
            opened.read_to_string(&mut rest).unwrap();
            prop_assert_eq!(rest.lines().count(), wanted.min(lengths.len()));
        }
    }
}
