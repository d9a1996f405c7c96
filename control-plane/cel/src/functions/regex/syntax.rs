//! Go's syntax of regular expressions (RE2) in the crate's words, and what reading a pattern costs.

use regex_syntax::ast::{Ast, ClassSetItem, FlagsItemKind, Visitor};

/// From Go's syntax to the crate's: classes of ASCII alone, and what only the crate would take for operators in classes.
pub fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut chars = source.chars().peekable();
    let mut class = 0_usize;
    let mut quoted = false;
    while let Some(c) = chars.next() {
        if quoted {
            if c == '\\' && chars.peek() == Some(&'E') {
                chars.next();
                quoted = false;
            } else {
                out.push_str(&regex_syntax::escape(c.encode_utf8(&mut [0; 4])));
            }
            continue;
        }
        match c {
            '\\' => match chars.next() {
                Some('Q') => quoted = true,
                Some('d') => out.push_str(if class > 0 { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if class > 0 { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => out.push_str(if class > 0 { "\\t\\n\\x0C\\r " } else { "[\\t\\n\\x0C\\r ]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str("[^\\t\\n\\x0C\\r ]"),
                Some('b') if class == 0 => out.push_str("(?-u:\\b)"),
                Some('B') if class == 0 => out.push_str("(?-u:\\B)"),
                // Boundaries of words to the crate alone.
                Some(other @ ('<' | '>')) => out.push(other),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            // No repetition: itself.
            '{' if class == 0 && !is_repetition(chars.clone()) => out.push_str("\\{"),
            '[' if class == 0 => {
                class = 1;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '[' if chars.peek() == Some(&':') => {
                // [:alpha:]
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            ']' if class > 0 => {
                class = 0;
                out.push(']');
            }
            '&' | '~' if class > 0 => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// What follows a brace: `3}`, `3,}`, `3,5}`.
fn is_repetition(rest: impl Iterator<Item = char>) -> bool {
    let mut rest = rest.peekable();
    let mut digits = || std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).count();
    if digits() == 0 {
        return false;
    }
    match rest.next() {
        Some('}') => true,
        Some(',') => rest.find(|c| !c.is_ascii_digit()) == Some('}'),
        _ => false,
    }
}

/// Steps that making classes takes: a range is one, and without regard to case each of its characters is. Unknown until it is read, so it is
/// counted on the syntax tree, which is as large as the source.
pub fn class_steps(ast: &Ast) -> u64 {
    let steps = Steps::default();
    match regex_syntax::ast::visit(ast, steps) {
        Ok(Steps { ranges, characters, folded }) => {
            if folded {
                characters
            } else {
                ranges
            }
        }
        Err(never) => match never {},
    }
}

#[derive(Default)]
struct Steps {
    ranges: u64,
    characters: u64,
    folded: bool,
}

/// Ranges and characters of a class by name (`\pL`), at most; negated it has nearly all characters.
const NAMED_RANGES: u64 = 800;
const NAMED: u64 = 150_000;
const ALL: u64 = 0x11_0000;

impl Visitor for Steps {
    type Output = Self;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self, Self::Err> {
        Ok(self)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        match ast {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let Some(flags) = group.flags() {
                    self.flags(flags);
                }
            }
            Ast::ClassUnicode(class) => self.named(class.is_negated()),
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Self::Err> {
        match item {
            ClassSetItem::Range(range) => {
                self.ranges += 1;
                self.characters += u64::from(u32::from(range.end.c)).saturating_sub(u64::from(u32::from(range.start.c))) + 1;
            }
            ClassSetItem::Unicode(class) => self.named(class.is_negated()),
            _ => {
                self.ranges += 1;
                self.characters += 1;
            }
        }
        Ok(())
    }
}

impl Steps {
    fn named(&mut self, negated: bool) {
        self.ranges += NAMED_RANGES;
        self.characters += if negated { ALL } else { NAMED };
    }

    fn flags(&mut self, flags: &regex_syntax::ast::Flags) {
        self.folded |= flags.items.iter().any(|item| matches!(item.kind, FlagsItemKind::Flag(regex_syntax::ast::Flag::CaseInsensitive)));
    }
}
