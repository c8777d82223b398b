//! Tests of all rules together. What a rule does alone is in its own doc, which [`examples`] runs.

mod awkward;
mod bert;
mod examples;
mod reports;
mod sample;
