//! bytec-tests
