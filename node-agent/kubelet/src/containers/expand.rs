//! `$(NAME)` in commands, arguments, environment values and subPathExpr. Pure.

/// Replaces every `$(NAME)` that `lookup` knows; unknown ones stay as they are, `$$` is a plain dollar sign
/// (so `$$(NAME)` is the text `$(NAME)`).
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|t| t.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Names of `$(NAME)` references in a text that `lookup` does not know.
pub fn unresolved(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    let missing = std::cell::RefCell::new(None);
    expand(text, |name| {
        let value = lookup(name);
        if value.is_none() {
            missing.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        value
    });
    missing.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "B" => Some("$(A)".into()),
            "" => Some("empty".into()),
            _ => None,
        }
    }

    #[test]
    fn references_expand_as_documented() {
        for (text, want) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "a"),
            ("x$(A)y$(A)z", "xayaz"),
            ("$(B)", "$(A)"),
            ("$(C)", "$(C)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$A ${A}", "$A ${A}"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("$$", "$"),
            ("$()", "empty"),
            ("$(A)$(C)$", "a$(C)$"),
        ] {
            assert_eq!(expand(text, lookup), want, "{text}");
        }
    }

    #[test]
    fn the_first_unknown_name_is_reported() {
        assert_eq!(unresolved("$(A)/$(X)/$(Y)", lookup), Some("X".into()));
        assert_eq!(unresolved("$(A)/$$(X)", lookup), None);
    }

    proptest! {
        #[test]
        fn text_without_dollars_is_unchanged(text in "[^$]{0,40}") {
            prop_assert_eq!(expand(&text, lookup), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[$()A-C{}]{0,30}") {
            let _ = expand(&text, lookup);
        }
    }
}
