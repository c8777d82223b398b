//! The `bytec` program.
fn main() {}
