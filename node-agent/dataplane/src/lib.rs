//! node-agent/dataplane
