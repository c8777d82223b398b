//! How large an error may be.

use std::collections::BTreeMap;

use bytec_plan::program::DType;
use serde_json::Value;

/// The largest error of f32 that needs no reason, in units of the scale.
const F32: f64 = 2e-6;

/// The same against a reference or a program whose own error nobody states: f32 costs a deep model some millionths of the
/// scale, the other side as well.
const F32_UNSTATED: f64 = 1e-5;

/// What rounding to an element type after each op costs a model, in units of an output's scale: `bytec golden` measures
/// it and writes it beside the outputs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct OwnErrors(BTreeMap<(&'static str, String), f64>);

impl OwnErrors {
    /// What a reference's metadata says; nothing, if it says nothing.
    pub(super) fn read(metadata: &BTreeMap<String, String>) -> Self {
        let about: Value = metadata
            .get("golden")
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let mut errors = BTreeMap::new();
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            let outputs = about[key(dtype)].as_object().into_iter().flatten();
            for (output, of) in outputs {
                let number = |field: &str| of[field].as_f64().filter(|n| n.is_finite());
                let (Some(error), Some(scale)) = (number("max_abs"), number("scale")) else {
                    continue;
                };
                if error >= 0.0 && scale > 0.0 {
                    errors.insert((dtype.name(), output.clone()), error / scale);
                }
            }
        }
        Self(errors)
    }

    fn of(&self, dtype: DType, output: &str) -> Option<f64> {
        self.0.get(&(dtype.name(), output.to_owned())).copied()
    }
}

/// Under which name a golden file's metadata has the errors of an element type.
pub(crate) fn key(dtype: DType) -> String {
    format!("{}_vs_f64", dtype.name())
}

/// What values are held against.
#[derive(Clone, Copy)]
pub(super) enum Against<'a> {
    /// A reference.
    Reference(&'a OwnErrors),
    /// A program of this element type.
    Program(DType),
    /// Nothing: they are what others are held against.
    Nothing,
}

/// The largest error, relative to the scale, that an output of a program may show. `--help` states these numbers.
///
/// Against a reference that says what rounding alone costs, it is twice that, in f32 at least 2e-6. Without that word, and
/// between two programs, it is 1e-5 in f32, ten times the type's epsilon in f16 and bf16, and 2e-1 in int8: enough to find a wrong
/// kernel.
pub(super) fn allowed(dtype: DType, output: &str, against: Against<'_>) -> f64 {
    let coarse = |dtype| match dtype {
        DType::F32 | DType::I64 | DType::I32 => F32_UNSTATED,
        DType::F16 => 1e-2,
        DType::Bf16 => 8e-2,
        DType::I8 => 2e-1,
    };
    match against {
        Against::Reference(own) => match (own.of(dtype, output), dtype) {
            (Some(own), DType::F32) => F32.max(2.0 * own),
            (Some(own), _) => 2.0 * own,
            (None, _) => coarse(dtype),
        },
        Against::Program(other) => coarse(dtype).max(coarse(other)),
        Against::Nothing => coarse(dtype),
    }
}

/// What the numbers under "allowed" are, in words; `given` says whether the caller gave one.
pub(super) fn in_words(against: Against<'_>, given: bool) -> &'static str {
    match against {
        _ if given => "allowed: what --tolerance says",
        Against::Reference(own) if *own != OwnErrors::default() => {
            "allowed: twice what rounding to the element type costs, as the reference says; in f32 at least 2e-6 of the scale"
        }
        Against::Reference(_) | Against::Program(_) | Against::Nothing => {
            "allowed: 1e-5 of the scale in f32, ten epsilons in f16 and bf16, 2e-1 in int8; a file of bytec golden says more exactly what rounding costs"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(about: &str) -> OwnErrors {
        OwnErrors::read(&BTreeMap::from([("golden".to_owned(), about.to_owned())]))
    }

    #[test]
    fn a_reference_that_says_what_rounding_costs_decides() {
        let own = stated(
            r#"{"f32_vs_f64": {"y": {"max_abs": 0.004, "scale": 4.0}, "z": {"max_abs": 1e-7, "scale": 1.0}},
                "f16_vs_f64": {"y": {"max_abs": 0.5, "scale": 4.0}, "z": {"max_abs": null, "scale": 1.0}}}"#,
        );
        let allowed = |dtype, output| super::allowed(dtype, output, Against::Reference(&own));
        assert_eq!(allowed(DType::F32, "y"), 0.002);
        assert_eq!(allowed(DType::F32, "z"), 2e-6);
        assert_eq!(allowed(DType::F16, "y"), 0.25);
        // What overflows says nothing, nor does what is not there.
        assert_eq!(allowed(DType::F16, "z"), 1e-2);
        assert_eq!(allowed(DType::Bf16, "y"), 8e-2);
        assert!(in_words(Against::Reference(&own), false).contains("twice what rounding"));
    }

    #[test]
    fn without_it_the_element_types_do() {
        let none = OwnErrors::read(&BTreeMap::new());
        for broken in ["", "[]", "{", r#"{"f32_vs_f64": 3}"#, r#"{"f32_vs_f64": {"y": 1}}"#] {
            assert_eq!(stated(broken), none, "{broken}");
        }
        let file = Against::Reference(&none);
        assert_eq!(allowed(DType::F32, "y", file), 1e-5);
        assert_eq!(allowed(DType::F32, "y", Against::Program(DType::F32)), 1e-5);
        assert_eq!(allowed(DType::F32, "y", Against::Program(DType::F16)), 1e-2);
        assert!(in_words(file, false).contains("1e-5 of the scale in f32"));
    }
}
