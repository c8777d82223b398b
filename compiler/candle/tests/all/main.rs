//! Models of candle-transformers, and models written here, traced and compared with candle.

mod configs;
mod minilm;
mod plans;
mod program;
mod refused;
mod traces;
