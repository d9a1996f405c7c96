//! node-agent/agent
