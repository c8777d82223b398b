//! bytec-text
