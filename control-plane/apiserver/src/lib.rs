//! control-plane/apiserver
