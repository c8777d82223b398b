//! Masks and biases by distance, recognised by their values at many sizes.

use std::collections::BTreeMap;

use bytec_ir::attention::Band;
use bytec_ir::dim::{Bindings, Dim};
use bytec_ir::eval::{Data, Tensor};

use super::scores::{HIDDEN, Part};
use super::sizes::Program;
use crate::eval::sizes;

/// What the sizes say about scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Which keys a query sees.
    pub(super) mask: Band,
    /// Slopes by which scores fall with the distance, one a head; none if nothing is added.
    pub(super) slopes: Vec<f64>,
}

/// One size's scores: extents and, flat, what is seen and what is added.
struct Sheet {
    heads: usize,
    rows: usize,
    columns: usize,
    seen: Vec<bool>,
    added: Vec<f64>,
}

/// Recognises what `seen` and `added` come to, over scores of `heads` heads, with every later key hidden if `causal`.
pub(super) fn recognise(
    program: &Program<'_>,
    frame: &[Dim],
    seen: &[(Part, bool)],
    added: &[Part],
    causal: bool,
) -> Result<Seen, String> {
    let parts: Vec<_> = seen.iter().map(|(part, _)| part).chain(added).collect();
    if parts.is_empty() {
        let mask = if causal { Band::CAUSAL } else { Band::ALL };
        return Ok(Seen { mask, slopes: Vec::new() });
    }
    let wanted: Vec<_> = parts.iter().map(|part| part.value).collect();
    let mut sheets = Vec::new();
    program.at_sizes(
        &wanted,
        |_| Ok(BTreeMap::new()),
        |bindings, tensors| {
            let mut sheet = empty(frame, bindings, causal)?;
            for (i, (part, tensor)) in parts.iter().zip(tensors).enumerate() {
                let expected = seen.get(i).map(|(_, expected)| *expected);
                sheet.put(part, tensor, expected, bindings)?;
            }
            sheets.push(sheet);
            Ok(())
        },
    )?;
    let mut reach = Reach::default();
    let mut slopes = None;
    sheets.iter().try_for_each(|sheet| reach.widen(sheet))?;
    let mask = reach.band();
    for sheet in &sheets {
        sheet.check(mask)?;
        if sheet.rows != sheet.columns && mask != Band::ALL {
            return Err(format!("its mask is {mask}, which needs as many queries as keys"));
        }
        sheet.slopes(&mut slopes)?;
    }
    let slopes = slopes.unwrap_or_default();
    let flat = slopes.iter().all(|slope| *slope == 0.0);
    Ok(Seen { mask, slopes: if flat { Vec::new() } else { slopes } })
}

fn empty(frame: &[Dim], bindings: &Bindings, causal: bool) -> Result<Sheet, String> {
    let shape = sizes(frame, bindings)?;
    let [leading @ .., rows, columns] = &shape[..] else {
        return Err(format!("expected scores of at least two axes, found {frame:?}"));
    };
    let heads: usize = leading.iter().product();
    let total = heads * rows * columns;
    let place = |i: usize| (i / columns % rows, i % columns);
    let seen = (0..total).map(|i| !causal || place(i).1 <= place(i).0).collect();
    Ok(Sheet { heads, rows: *rows, columns: *columns, seen, added: vec![0.0; total] })
}

impl Sheet {
    fn put(
        &mut self,
        part: &Part,
        tensor: &Tensor,
        expected: Option<bool>,
        bindings: &Bindings,
    ) -> Result<(), String> {
        let places = spread(&tensor.shape, &sizes(&part.frame, bindings)?)?;
        if places.len() != self.seen.len() {
            return Err("a mask is not spread over all scores".to_owned());
        }
        for (at, place) in places.into_iter().enumerate() {
            match (&tensor.data, expected) {
                (Data::Int(x), Some(expected)) => self.seen[at] &= (x[place] != 0) == expected,
                (Data::Float(x), None) => {
                    let number = x[place] * part.factor;
                    if number <= HIDDEN {
                        self.seen[at] = false;
                    } else {
                        self.added[at] += number;
                    }
                }
                (Data::Int(x), None) => self.added[at] += x[place] as f64 * part.factor,
                (Data::Float(_), Some(_)) => return Err("a mask holds numbers".to_owned()),
            }
        }
        Ok(())
    }

    /// Every head's row sees what the band says.
    fn check(&self, mask: Band) -> Result<(), String> {
        for (at, &seen) in self.seen.iter().enumerate() {
            let (i, j) = (at / self.columns % self.rows, at % self.columns);
            if mask.sees(i, j) != seen {
                let does = if seen { "sees" } else { "does not see" };
                return Err(format!(
                    "its mask is no band around the diagonal: of {} by {}, query {i} {does} key {j}; the nearest is {mask}",
                    self.rows, self.columns
                ));
            }
        }
        Ok(())
    }

    /// What is added, less what the query's own key gets, falls with the distance, by the head's slope.
    fn slopes(&self, slopes: &mut Option<Vec<f64>>) -> Result<(), String> {
        if self.added.iter().all(|x| *x == 0.0) && slopes.is_none() {
            return Ok(());
        }
        for head in 0..self.heads {
            for i in 0..self.rows {
                let row = (head * self.rows + i) * self.columns;
                for j in (0..self.columns).filter(|j| self.seen[row + j]) {
                    // A row's own constant changes no weight; its own key is always seen.
                    let own = if i < self.columns { self.added[row + i] } else { self.added[row] };
                    let (fall, distance) = (own - self.added[row + j], i.abs_diff(j) as f64);
                    if distance == 1.0 && slopes.is_none() {
                        *slopes = Some((0..self.heads).map(|h| self.fall(h)).collect());
                    }
                    let slope = slopes.as_ref().map_or(0.0, |slopes| slopes[head]);
                    let bound = 1e-5 * slope.abs() * distance.max(1.0) + 1e-9;
                    if (fall - slope * distance).abs() > bound {
                        return Err(format!(
                            "what is added to its scores does not fall evenly with the distance: in head {head}, query {i} and key {j} get {}, its own key {own}",
                            self.added[row + j]
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// By how much neighbours in the first rows of a head fall apart.
    fn fall(&self, head: usize) -> f64 {
        let at = |i: usize, j: usize| (head * self.rows + i) * self.columns + j;
        let pairs = [(1, 0), (0, 1)];
        let found = pairs
            .into_iter()
            .filter(|&(i, j)| i < self.rows && j < self.columns && self.seen[at(i, j)])
            .map(|(i, j)| self.added[at(i, i)] - self.added[at(i, j)])
            .next();
        found.unwrap_or(0.0)
    }
}

/// How far queries see, and how far from there they don't.
#[derive(Default)]
struct Reach {
    before: u64,
    after: u64,
    limited_before: bool,
    limited_after: bool,
}

impl Reach {
    fn widen(&mut self, sheet: &Sheet) -> Result<(), String> {
        for (at, &seen) in sheet.seen.iter().enumerate() {
            let (i, j) = ((at / sheet.columns % sheet.rows) as u64, (at % sheet.columns) as u64);
            if i == j && !seen {
                return Err(format!("its mask hides key {j} from the query of its own row"));
            }
            match (j <= i, seen) {
                (true, true) => self.before = self.before.max(i - j),
                (true, false) => self.limited_before = true,
                (false, true) => self.after = self.after.max(j - i),
                (false, false) => self.limited_after = true,
            }
        }
        Ok(())
    }

    fn band(&self) -> Band {
        Band {
            before: self.limited_before.then_some(self.before),
            after: self.limited_after.then_some(self.after),
        }
    }
}

/// Where the elements of a tensor lie when it is spread over `frame`.
pub(super) fn spread(shape: &[usize], frame: &[usize]) -> Result<Vec<usize>, String> {
    let missing = frame.len().checked_sub(shape.len());
    let missing = missing.ok_or_else(|| format!("{shape:?} does not spread over {frame:?}"))?;
    let mut places = vec![0];
    for (axis, &extent) in frame.iter().enumerate() {
        let own = axis.checked_sub(missing).map_or(1, |own| shape[own]);
        if own != 1 && own != extent {
            return Err(format!("{shape:?} does not spread over {frame:?}"));
        }
        let step = |place: usize, i: usize| if own == 1 { place } else { place * own + i };
        places = places.iter().flat_map(|&p| (0..extent).map(move |i| step(p, i))).collect();
    }
    Ok(places)
}
