//! bytec-examples
