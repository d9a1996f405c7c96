//! Where something is mounted, as the kernel lists it for the calling thread (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The kernel's table. A thread may have entered a mount namespace of its own.
pub const TABLE: &str = "/proc/thread-self/mountinfo";

/// Mount points at or below `directory` that the calling thread sees, in the order of the table: a mount comes after the one it is on.
/// Blocking, for a moment.
///
/// # Errors
/// The table cannot be read.
pub fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read(TABLE)?;
    Ok(points(&table).filter(|point| point.starts_with(directory)).collect())
}

fn points(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    let fields = table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    fields.map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
}

/// The kernel writes what would break the table apart (space, tab, newline, backslash) as a backslash and three octal digits.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        let escaped = match field {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), rest))
            }
            _ => None,
        };
        let (byte, left) = escaped.unwrap_or((*first, rest));
        made.push(byte);
        field = left;
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let table = b"22 1 0:20 / / rw - ext4 /dev/x rw\n30 22 0:5 / /a\\040b\\134040\\012 rw shared:1 - tmpfs t rw\n31 22 0:5 / /\xff\\9 rw - tmpfs t rw\n";
        let read: Vec<PathBuf> = points(table).collect();
        assert_eq!(read.iter().map(|p| p.as_os_str().as_bytes()).collect::<Vec<_>>(), [&b"/"[..], b"/a b\\040\n", b"/\xff\\9"]);
    }
}
