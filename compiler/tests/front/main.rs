//! The front end: sources that load, results against the reference, and every way in which a source can be wrong.

mod folder;
mod golden;
