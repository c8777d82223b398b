//! The plan format from outside: what is written is read, and nothing else is.
//!
//! Messages are compared whole; `UPDATE_EXPECT=1 cargo test -p bytec-plan` renews them. They stand in braces, because
//! rustfmt wraps long strings in brackets, and wrapped ones can't be renewed.

mod assemble;
mod extent;
mod format_doc;
mod json;
mod read;
mod rules;
mod rules_of_devices;
mod rules_of_distance;
mod rules_of_int8;
mod rules_of_kernels;
mod rules_of_moves;
mod sample;
mod write;
