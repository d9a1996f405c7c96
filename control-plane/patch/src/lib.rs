//! control-plane/patch
