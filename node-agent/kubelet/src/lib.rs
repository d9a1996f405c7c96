//! node-agent/kubelet
