//! bytec-compiler
