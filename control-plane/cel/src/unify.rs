//! What types fit each other, and what type variables come to stand for.

use crate::types::{Bound, ListKind, ListType, MapType, Type};
use std::sync::Arc;

/// What type variables stand for, by number; and those bound since, in order, with what they stood for.
#[derive(Debug, Default)]
pub struct Types(Vec<Option<Type>>, Vec<(u32, Option<Type>)>);

/// Types of more parts than that are taken for `dyn`: their size could double with every macro in a macro.
const MAX_PARTS: usize = 256;

/// The type, unless it has too many parts.
pub fn capped(type_: Type) -> Type {
    fn count(of: &Type, left: usize) -> usize {
        let Some(left) = left.checked_sub(1) else { return 0 };
        match of {
            Type::List(list) => count(&list.element, left),
            Type::Map(map) => count(&map.value, count(&map.key, left)),
            Type::Optional(inner) | Type::Type(inner) => count(inner, left),
            _ => left,
        }
    }
    if count(&type_, MAX_PARTS) == 0 { Type::Dyn } else { type_ }
}

impl Types {
    pub fn fresh(&mut self) -> Type {
        self.0.push(None);
        Type::Var(u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX))
    }

    /// Fresh variables for the parameters of a signature: answers the number of the first.
    pub fn instantiate(&mut self, parameters: u32) -> u32 {
        let first = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.extend((0..parameters).map(|_| None));
        first
    }

    /// What the type is by now, as far as its outermost part is known: never a variable that stands for something.
    fn shallow<'t>(&'t self, mut of: &'t Type) -> &'t Type {
        while let Type::Var(var) = of {
            match self.0.get(*var as usize).and_then(Option::as_ref) {
                Some(known) => of = known,
                None => break,
            }
        }
        of
    }

    /// The type with all that is known put in; `open`: what variables become that stand for nothing.
    pub fn resolve(&self, of: &Type, open: Option<&Type>) -> Type {
        match self.shallow(of) {
            unknown @ Type::Var(_) => open.unwrap_or(unknown).clone(),
            Type::List(list) => {
                Type::List(Arc::new(ListType { element: self.resolve(&list.element, open), max: list.max, kind: list.kind.clone() }))
            }
            Type::Map(map) => {
                Type::Map(Arc::new(MapType { key: self.resolve(&map.key, open), value: self.resolve(&map.value, open), max: map.max }))
            }
            Type::Optional(inner) => Type::optional(self.resolve(inner, open)),
            Type::Type(inner) => Type::Type(self.resolve(inner, open).into()),
            other => other.clone(),
        }
    }

    /// Whether a value of type `given` can stand where `wanted` is asked for; binds variables if so, and leaves all as it was if not.
    pub fn fits(&mut self, given: &Type, wanted: &Type) -> bool {
        let before = self.1.len();
        let fits = self.unify(given, wanted);
        self.settle(fits, before)
    }

    /// The same for arguments.
    pub fn all_fit(&mut self, given: &[Type], wanted: &[Type]) -> bool {
        if given.len() != wanted.len() {
            return false;
        }
        let before = self.1.len();
        let fit = given.iter().zip(wanted).all(|(given, wanted)| self.unify(given, wanted));
        self.settle(fit, before)
    }

    /// Takes back what was bound since, where it was for nothing.
    fn settle(&mut self, fits: bool, before: usize) -> bool {
        let bound = self.1.split_off(before.min(self.1.len()));
        if !fits {
            for (var, was) in bound.into_iter().rev() {
                self.0[var as usize] = was;
            }
        }
        fits
    }

    fn unify(&mut self, given: &Type, wanted: &Type) -> bool {
        let (a, b) = (self.shallow(given).clone(), self.shallow(wanted).clone());
        match (&a, &b) {
            (Type::Var(x), Type::Var(y)) if x == y => true,
            // The younger stands for the older.
            (Type::Var(x), Type::Var(y)) => {
                if x > y {
                    self.bind(*x, b)
                } else {
                    self.bind(*y, a)
                }
                true
            }
            (_, Type::Var(var)) => self.bind_checked(*var, &a),
            (Type::Var(var), _) => self.bind_checked(*var, &b),
            // What was found from another argument may turn out to be known only later.
            (Type::Dyn, _) => {
                if let Type::Var(var) = wanted {
                    self.bind(*var, Type::Dyn);
                }
                true
            }
            (Type::Error, _) | (_, Type::Dyn | Type::Error) => true,
            (Type::Null, Type::Object(_) | Type::Opaque(_) | Type::Timestamp | Type::Duration | Type::Optional(_)) => true,
            (Type::List(a), Type::List(b)) => self.unify(&a.element, &b.element),
            (Type::Map(a), Type::Map(b)) => self.unify(&a.key, &b.key) && self.unify(&a.value, &b.value),
            (Type::Optional(a), Type::Optional(b)) | (Type::Type(a), Type::Type(b)) => self.unify(a, b),
            (a, b) => a.same(b),
        }
    }

    fn bind_checked(&mut self, var: u32, to: &Type) -> bool {
        let to = self.resolve(to, None);
        if mentions(&to, var) {
            return false;
        }
        self.bind(var, to);
        true
    }

    fn bind(&mut self, var: u32, to: Type) {
        if let Some(place) = self.0.get_mut(var as usize) {
            self.1.push((var, place.replace(to)));
        }
    }
}

fn mentions(of: &Type, var: u32) -> bool {
    match of {
        Type::Var(other) => *other == var,
        Type::List(list) => mentions(&list.element, var),
        Type::Map(map) => mentions(&map.key, var) || mentions(&map.value, var),
        Type::Optional(inner) | Type::Type(inner) => mentions(inner, var),
        _ => false,
    }
}

/// The signature's type with its parameters moved to fresh variables.
pub fn shifted(of: &Type, by: u32) -> Type {
    match of {
        Type::Var(var) => Type::Var(var + by),
        Type::List(list) => Type::list_of(shifted(&list.element, by), Bound::NONE, ListKind::Atomic),
        Type::Map(map) => Type::map(shifted(&map.key, by), shifted(&map.value, by)),
        Type::Optional(inner) => Type::optional(shifted(inner, by)),
        Type::Type(inner) => Type::Type(shifted(inner, by).into()),
        other => other.clone(),
    }
}
