//! Who may do what: the cluster authority and its certificates, tokens, and the rules of RBAC.
