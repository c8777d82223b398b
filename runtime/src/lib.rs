//! bytec-runtime
