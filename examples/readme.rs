//! The README's Rust, compiled as a test.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
