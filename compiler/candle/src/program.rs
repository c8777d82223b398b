//! Runs at several sizes as one program whose extents are polynomials of the sizes.

use bytec_ir::dim::{Bindings, Dim, Symbol};
use candle_core::Tensor;

use crate::error::Error;
use crate::fit::Basis;
use crate::recording::{Kind, Recording, Step};

/// A step for all sizes.
#[derive(Clone, Debug)]
pub(crate) struct Symbolic {
    /// The step of the first run; its extents and numbers are only examples.
    pub(crate) step: Step,
    pub(crate) ints: Vec<Dim>,
    /// Its other numbers, one list a run.
    pub(crate) reals: Vec<Vec<f64>>,
    pub(crate) shape: Vec<Dim>,
    /// The tensor in every run, for a leaf.
    pub(crate) leaves: Vec<Tensor>,
}

/// A model for all sizes.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Symbolic>,
    pub(crate) outputs: Vec<usize>,
    /// The sizes of the runs that it was made from.
    pub(crate) at: Vec<Bindings>,
}

/// Sizes for messages: `B=2, S=5`.
pub(crate) fn sizes(at: &Bindings) -> String {
    let sizes: Vec<_> = at.iter().map(|(symbol, n)| format!("{symbol}={n}")).collect();
    sizes.join(", ")
}

/// A step for messages.
pub(crate) fn place(number: usize, step: &Step) -> String {
    let name = format!("{:?}", step.kind).to_lowercase();
    match step.module.as_str() {
        "" => format!("step {number} ({name})"),
        module => format!("step {number} ({name}, near {module})"),
    }
}

/// Where two runs went different ways, if they did: the step's number, and how.
pub(crate) fn parting(a: &Recording, b: &Recording) -> Option<(usize, String)> {
    for (i, (x, y)) in a.steps.iter().zip(&b.steps).enumerate() {
        if x.kind != y.kind || x.args != y.args || x.dtype != y.dtype {
            return Some((
                i,
                format!("{:?} of {:?} against {:?} of {:?}", x.kind, x.args, y.kind, y.args),
            ));
        }
        if x.shape.len() != y.shape.len()
            || x.ints.len() != y.ints.len()
            || x.reals.len() != y.reals.len()
        {
            return Some((i, format!("shape {:?} against {:?}", x.shape, y.shape)));
        }
    }
    if a.steps.len() != b.steps.len() || a.outputs != b.outputs {
        let at = a.steps.len().min(b.steps.len()).saturating_sub(1);
        return Some((at, format!("{} steps against {}", a.steps.len(), b.steps.len())));
    }
    None
}

impl Program {
    /// # Errors
    /// If the runs took different ways, or a number is no polynomial of the sizes.
    pub(crate) fn new(runs: Vec<(Bindings, Recording)>, symbols: &[Symbol]) -> Result<Self, Error> {
        let basis = Basis::new(symbols);
        let (at, runs): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        for (sizes_of, run) in at.iter().zip(&runs).skip(1) {
            if let Some((i, what)) = parting(&runs[0], run) {
                let (first, second) = (sizes(&at[0]), sizes(sizes_of));
                return Err(Error::Sizes { at: place(i, &runs[0].steps[i]), first, second, what });
            }
        }
        let steps = (0..runs[0].steps.len())
            .map(|i| symbolic(i, &at, &runs, &basis))
            .collect::<Result<_, _>>()?;
        Ok(Self { steps, outputs: runs[0].outputs.clone(), at })
    }

    /// Every op that a trace has no word for, with how often and where first.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let mut found: Vec<(String, usize, String)> = Vec::new();
        for (i, symbolic) in self.steps.iter().enumerate() {
            let Kind::Unknown(name) = &symbolic.step.kind else { continue };
            match found.iter_mut().find(|(known, ..)| known == name) {
                Some((_, count, _)) => *count += 1,
                None => found.push((name.clone(), 1, place(i, &symbolic.step))),
            }
        }
        found
            .into_iter()
            .map(|(name, count, at)| format!("{name} ({count} times, first at {at})"))
            .collect()
    }
}

fn symbolic(
    i: usize,
    at: &[Bindings],
    runs: &[Recording],
    basis: &Basis,
) -> Result<Symbolic, Error> {
    let step = &runs[0].steps[i];
    let fit = |what: &str, values: Vec<i64>| {
        basis.fit(at, &values).ok_or_else(|| {
            let pairs =
                at.iter().zip(&values).map(|(at, value)| format!("{value} ({})", sizes(at)));
            let found = pairs.collect::<Vec<_>>().join(", ");
            Error::Fit { at: place(i, step), what: what.to_owned(), found }
        })
    };
    let extent = |axis: usize| {
        let of = |run: &Recording| i64::try_from(run.steps[i].shape[axis]).unwrap_or(i64::MAX);
        fit(&format!("axis {axis}"), runs.iter().map(of).collect())
    };
    let int = |k: usize| {
        fit(&format!("number {k}"), runs.iter().map(|run| run.steps[i].ints[k]).collect())
    };
    Ok(Symbolic {
        ints: (0..step.ints.len()).map(int).collect::<Result<_, _>>()?,
        shape: (0..step.shape.len()).map(extent).collect::<Result<_, _>>()?,
        reals: runs.iter().map(|run| run.steps[i].reals.clone()).collect(),
        leaves: runs.iter().filter_map(|run| run.steps[i].leaf.clone()).collect(),
        step: step.clone(),
    })
}
