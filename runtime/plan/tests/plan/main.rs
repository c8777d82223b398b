//! The plan format from outside: what is written is read, and nothing else is.

mod assemble;
mod extent;
mod format_doc;
mod json;
mod read;
mod rules;
mod rules_of_kernels;
mod sample;
mod write;
