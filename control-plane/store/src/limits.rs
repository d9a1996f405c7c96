//! What a commit may ask for, the same on every backend. etcd's defaults set the limits (`--max-request-bytes`, `--max-txn-ops`).

use crate::{Compare, Op, StoreError};
use std::collections::HashSet;

/// Most bytes of one value: what etcd takes as a request, less room for its key and conditions, so that either backend holds what the other does.
pub const MAX_VALUE: usize = (3 << 19) - 4096;
/// What a store of an earlier version may hold, and what an embedded store takes when it is restored.
pub const MAX_RESTORED: usize = 3 << 19;
/// Most operations, and most compares, of one commit: one less than etcd's, for the condition that every commit is made under.
pub const MAX_OPS: usize = 127;

/// Refuses what no backend takes: values over `most` bytes, over [`MAX_OPS`] operations, one key written twice, an empty key.
pub fn check_commit(compares: &[Compare], ops: &[Op], most: usize) -> Result<(), StoreError> {
    let refused = |reason: String| Err(StoreError::Failed { operation: "commit", source: reason.into() });
    if ops.len() > MAX_OPS || compares.len() > MAX_OPS {
        return refused(format!("a commit may have {MAX_OPS} operations and as many compares"));
    }
    let mut keys = HashSet::with_capacity(ops.len());
    for op in ops {
        let key = match op {
            Op::Put { key, value, .. } => {
                if value.len() > most {
                    let key = String::from_utf8_lossy(key).into_owned();
                    return Err(StoreError::TooLarge { key, size: value.len(), limit: most });
                }
                key
            }
            Op::Delete { key } => key,
        };
        if key.is_empty() {
            return refused("a key may not be empty".into());
        }
        if !keys.insert(key) {
            return refused(format!("key {} is written twice", String::from_utf8_lossy(key)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, size: usize) -> Op {
        Op::Put { key: key.into(), value: vec![0; size].into(), ttl: None }
    }

    fn check(ops: &[Op]) -> Result<(), StoreError> {
        check_commit(&[], ops, MAX_VALUE)
    }

    #[test]
    fn a_value_at_the_limit_is_taken_and_one_byte_more_is_not() {
        assert!(check(&[put("a", MAX_VALUE)]).is_ok());
        let error = check(&[put("a", MAX_VALUE + 1)]).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { size, limit: MAX_VALUE, .. } if size == MAX_VALUE + 1));
    }

    #[test]
    fn a_key_written_twice_is_refused() {
        assert!(check(&[put("a", 1), Op::Delete { key: "a".into() }]).is_err());
        assert!(check(&[put("a", 1), put("b", 1)]).is_ok());
    }

    #[test]
    fn too_many_operations_and_empty_keys_are_refused() {
        let many: Vec<Op> = (0..=MAX_OPS).map(|at| Op::Delete { key: at.to_string().into() }).collect();
        assert!(check(&many).is_err());
        assert!(check(&[put("", 1)]).is_err());
    }
}
