//! Pure: which nodes the controller knows, and what it says when one comes or goes.

use std::collections::HashMap;
use std::sync::Arc;

/// The nodes that have been registered, with their uids.
#[derive(Default)]
pub(super) struct Registry(HashMap<Arc<str>, String>);

/// An Event about a node, which may be gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub uid: String,
    pub reason: &'static str,
    pub message: String,
}

impl Registry {
    /// Takes in that the node has that uid now, or is not there. A controller that starts registers every node.
    pub fn note(&mut self, name: &Arc<str>, uid: Option<&str>) -> Vec<Notice> {
        if self.0.get(name).map(String::as_str) == uid {
            return Vec::new();
        }
        let known = self.0.remove(name);
        let removed = known.map(|uid| Notice {
            uid,
            reason: "RemovingNode",
            message: format!("Node {name} event: Removing Node {name} from Controller"),
        });
        let registered = uid.map(|uid| Notice {
            uid: uid.to_owned(),
            reason: "RegisteredNode",
            message: format!("Node {name} event: Registered Node {name} in Controller"),
        });
        if let Some(uid) = uid {
            self.0.insert(name.clone(), uid.to_owned());
        }
        removed.into_iter().chain(registered).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_registered_and_removed_once() {
        let (mut registry, name) = (Registry::default(), Arc::from("n"));
        let mut note =
            |uid| registry.note(&name, uid).into_iter().map(|notice| (notice.uid, notice.reason, notice.message)).collect::<Vec<_>>();
        let registered = |uid: &str| (uid.to_owned(), "RegisteredNode", "Node n event: Registered Node n in Controller".to_owned());
        let removed = |uid: &str| (uid.to_owned(), "RemovingNode", "Node n event: Removing Node n from Controller".to_owned());
        assert_eq!(note(None), []);
        assert_eq!(note(Some("a")), [registered("a")]);
        assert_eq!(note(Some("a")), []);
        // Another node of the same name.
        assert_eq!(note(Some("b")), [removed("a"), registered("b")]);
        assert_eq!(note(None), [removed("b")]);
        assert_eq!(note(None), []);
    }
}
