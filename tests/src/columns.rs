//! What `kubectl get` prints, as cells by column.

use anyhow::{Context, Result, ensure};

/// A printed table.
#[derive(Debug, PartialEq, Eq)]
pub struct Columns {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Columns {
    /// Reads one: columns begin where the header's words begin that two blanks or more set apart.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let header: Vec<char> = lines.next().context("nothing was printed")?.chars().collect();
        let begins = |at: usize| header[at] != ' ' && (at == 0 || (at >= 2 && header[at - 1] == ' ' && header[at - 2] == ' '));
        let starts: Vec<usize> = (0..header.len()).filter(|at| begins(*at)).collect();
        let cells = |line: &[char]| -> Vec<String> {
            let end = |index: usize| starts.get(index + 1).copied().unwrap_or(line.len()).min(line.len());
            let cell =
                |(index, start): (usize, &usize)| line[(*start).min(end(index))..end(index)].iter().collect::<String>().trim().to_owned();
            starts.iter().enumerate().map(cell).collect()
        };
        let rows = lines.map(|line| cells(&line.chars().collect::<Vec<_>>())).collect();
        Ok(Self { header: cells(&header), rows })
    }

    /// The cell of the row that begins with `name`.
    pub fn cell(&self, name: &str, column: &str) -> Result<&str> {
        let row = self.rows.iter().find(|row| row[0] == name).with_context(|| format!("no row {name}: {self:?}"))?;
        let at = self.header.iter().position(|other| other == column).with_context(|| format!("no column {column}: {:?}", self.header))?;
        Ok(&row[at])
    }

    /// Checks header and the first row that begins with the first of `row`, `*` being any text, `AGE` an age.
    pub fn has(&self, header: &str, row: &[&str]) -> Result<()> {
        ensure!(self.header.join("|") == header, "columns {:?}, expected {header}", self.header.join("|"));
        let found = self.rows.iter().find(|found| found[0] == row[0]).with_context(|| format!("no row {}: {self:?}", row[0]))?;
        let fits = |(found, wanted): (&String, &&str)| match *wanted {
            "*" => !found.is_empty(),
            "AGE" => is_age(found),
            wanted => found == wanted,
        };
        ensure!(found.len() == row.len() && found.iter().zip(row).all(fits), "row {found:?}, expected {row:?}");
        Ok(())
    }
}

/// `5s`, `3m12s`, `2d`, …
pub fn is_age(text: &str) -> bool {
    text.starts_with(|sign: char| sign.is_ascii_digit())
        && text.ends_with(['s', 'm', 'h', 'd', 'y'])
        && text.chars().all(|sign| sign.is_ascii_digit() || "smhdy".contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_found_by_the_header_also_when_they_are_empty() {
        let table = Columns::parse("NAME   PORT(S)   LAST SEEN\na                5s\nbb     80/TCP    <none>\n").unwrap();
        assert_eq!(table.header, ["NAME", "PORT(S)", "LAST SEEN"]);
        assert_eq!(table.rows, [["a", "", "5s"], ["bb", "80/TCP", "<none>"]]);
        assert_eq!(table.cell("bb", "PORT(S)").unwrap(), "80/TCP");
        assert!(table.has("NAME|PORT(S)|LAST SEEN", &["a", "", "AGE"]).is_ok());
        assert!(table.has("NAME|PORT(S)|LAST SEEN", &["bb", "*", "AGE"]).is_err());
    }
}
