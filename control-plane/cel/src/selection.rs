//! Which fields a source looks at, without evaluating it.

use crate::ast::{Expr, ExprKind};
use crate::{parser, with_stack};

/// Whether a source that can be parsed selects a field of a variable anywhere: `claims.email`, `has(claims.email)`, `claims.?email`.
pub fn selects(source: &str, variable: &str, field: &str) -> bool {
    with_stack(parser::MAX_HEIGHT, || parser::parse(source).is_ok_and(|expr| in_expr(&expr, variable, field)))
}

fn in_expr(expr: &Expr, variable: &str, field: &str) -> bool {
    let within = |expr: &Expr| in_expr(expr, variable, field);
    match &expr.kind {
        ExprKind::Null
        | ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::Uint(_)
        | ExprKind::Double(_)
        | ExprKind::String(_)
        | ExprKind::Bytes(_)
        | ExprKind::Ident(_) => false,
        ExprKind::Select { operand, field: selected, .. } => {
            let is_it = selected == field && matches!(&operand.kind, ExprKind::Ident(name) if name == variable);
            is_it || within(operand)
        }
        ExprKind::Call { target, args, .. } => target.as_deref().is_some_and(within) || args.iter().any(within),
        ExprKind::And(operands) | ExprKind::Or(operands) => operands.iter().any(within),
        ExprKind::List(elements) => elements.iter().any(|(element, _)| within(element)),
        ExprKind::Map(entries) => entries.iter().any(|(key, value, _)| within(key) || within(value)),
        ExprKind::Struct { fields, .. } => fields.iter().any(|(_, value, _)| within(value)),
        ExprKind::Fold(fold) => {
            let others = [fold.filter.as_ref(), fold.value.as_ref()];
            within(&fold.range) || within(&fold.body) || others.into_iter().flatten().any(within)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_wherever_it_is_selected() {
        for source in [
            "claims.email",
            "'a:' + claims.email",
            "has(claims.email) ? 'a' : 'b'",
            "claims.?email.orValue('')",
            "claims.list.exists(x, x == claims.email)",
            "[1, claims.email.size()]",
            "{'a': claims.email}",
            "true && (false || claims.email == '')",
        ] {
            assert!(selects(source, "claims", "email"), "{source}");
        }
        for source in
            ["claims.email_verified", "claims.a.email", "user.email", "email", "'claims.email'", "claims['email']", "claims.(", ""]
        {
            assert!(!selects(source, "claims", "email"), "{source}");
        }
    }
}
