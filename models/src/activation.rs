//! The activations that configs name.

use bytec_ir::attrs::UnaryFn;

use crate::Config;
use crate::error::FieldError;

/// The names that are built, and what they mean.
pub const ACTIVATIONS: &[(&str, UnaryFn)] = &[
    ("gelu", UnaryFn::GeluErf),
    ("gelu_new", UnaryFn::GeluTanh),
    ("gelu_pytorch_tanh", UnaryFn::GeluTanh),
    ("gelu_fast", UnaryFn::GeluTanh),
    ("relu", UnaryFn::Relu),
    ("silu", UnaryFn::Silu),
    ("swish", UnaryFn::Silu),
    ("tanh", UnaryFn::Tanh),
    ("quick_gelu", UnaryFn::QuickGelu),
    ("sigmoid", UnaryFn::Sigmoid),
    ("relu2", UnaryFn::ReluSquared),
    ("relu6", UnaryFn::Relu6),
    ("leaky_relu", UnaryFn::LeakyRelu),
    ("mish", UnaryFn::Mish),
];

/// The activation of this name.
pub fn named(name: &str) -> Option<UnaryFn> {
    ACTIVATIONS.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
}

/// The activation that `field` names.
///
/// # Errors
/// The field is missing, or names what isn't built.
pub fn activation(config: &Config, field: &str) -> Result<UnaryFn, FieldError> {
    let names: Vec<_> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
    let expected = format!("one of {}", names.join(", "));
    let name = config.text(field, &expected, "gelu")?;
    named(name).ok_or_else(|| config.error(field, expected, "gelu"))
}

/// The activation that `field` names, or `default` where the field is missing.
///
/// # Errors
/// The field names what isn't built.
pub fn activation_or(
    config: &Config,
    field: &str,
    default: UnaryFn,
) -> Result<UnaryFn, FieldError> {
    match config.get(field) {
        None => Ok(default),
        Some(_) => activation(config, field),
    }
}
