//! docs/benchmarks.md: one section a benchmark, with the command, the host and a table. A benchmark that is run again replaces its own.

use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

const HEAD: &str = "# Benchmarks\n\nEach section is written by the command that it names. Hosts are noisy: measurements are interleaved, medians are shown, and ratios say\nmore than figures.\n";

/// What one benchmark has to say.
pub struct Section {
    pub title: &'static str,
    pub command: &'static str,
    /// How it was measured.
    pub method: String,
    /// The first row is the header.
    pub table: Vec<Vec<String>>,
}

impl Section {
    /// Its Markdown.
    pub fn text(&self) -> String {
        let row = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut rows = self.table.iter();
        let header = rows.next().map(|cells| row(cells) + &row(&cells.iter().map(|_| "---".to_owned()).collect())).unwrap_or_default();
        let body: String = rows.map(row).collect();
        format!("## {}\n\n`{}`\n\n{}\n\n{header}{body}\nMeasured on: {}\n", self.title, self.command, self.method, host())
    }
}

/// Writes the section into the page.
pub fn keep(section: &Section) -> Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("docs/benchmarks.md");
    let before = fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    fs::write(&path, replace(&before, section.title, &section.text())).with_context(|| format!("cannot write {}", path.display()))
}

fn replace(page: &str, title: &str, text: &str) -> String {
    let heading = format!("\n## {title}\n");
    let Some(start) = page.find(&heading) else {
        return format!("{}\n\n{text}", page.trim_end());
    };
    let rest = &page[start + heading.len()..];
    let after = rest.find("\n## ").map(|end| &rest[end..]).unwrap_or_default();
    format!("{}\n{}{after}", &page[..start], text.trim_end_matches('\n').to_owned() + "\n")
}

/// Processor, cores, memory, kernel, distribution.
fn host() -> String {
    let field = |path: &str, key: &str| -> String {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once([':', '=']).map(|(_, value)| value.trim().trim_matches('"').to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: u64 = field("/proc/meminfo", "MemTotal").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {cores} cores, {} GiB, Linux {}, {}",
        field("/proc/cpuinfo", "model name"),
        memory / (1 << 20),
        kernel.trim(),
        field("/etc/os-release", "PRETTY_NAME")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_measured_again_replaces_only_itself() {
        let page = replace(&replace(HEAD, "A", "## A\n\nfirst\n"), "B", "## B\n\nother\n");
        let again = replace(&page, "A", "## A\n\nsecond\n");
        assert!(again.contains("second") && !again.contains("first") && again.contains("other"), "{again}");
        assert_eq!(again.matches("\n## ").count(), 2);
    }
}
