//! control-plane/scheduler
