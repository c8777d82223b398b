//! bytec-plan
