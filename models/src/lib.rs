//! bytec-models
