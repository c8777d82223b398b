//! Masks and biases by distance, recognised by their values at many sizes.

use std::collections::BTreeMap;

use bytec_ir::attention::Band;
use bytec_ir::dim::{Bindings, Dim};
use bytec_ir::eval::{Data, Tensor};

use super::scores::{HIDDEN, Part};
use super::sizes::{Look, Program};
use crate::eval::sizes;

/// The most scores that are looked at.
const MOST: usize = 1 << 26;

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
    /// The positions of queries and keys.
    rows: Vec<usize>,
    columns: Vec<usize>,
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
    // What is the same everywhere hides all or nothing, and adds nothing that a softmax would see.
    let open = |(part, expected): &&(Part, bool)| {
        program.uniform(part.value).is_none_or(|number| (number != 0.0) != *expected)
    };
    let varies = |part: &&Part| {
        program.uniform(part.value).is_none_or(|number| number * part.factor <= HIDDEN)
    };
    let seen: Vec<_> = seen.iter().filter(open).cloned().collect();
    let added: Vec<_> = added.iter().filter(varies).collect();
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
        |look, tensors| {
            let mut sheet = empty(frame, look, causal)?;
            for (i, (part, tensor)) in parts.iter().zip(tensors).enumerate() {
                let expected = seen.get(i).map(|(_, expected)| *expected);
                sheet.put(part, tensor, expected, &look.bindings)?;
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

fn empty(frame: &[Dim], look: &Look, causal: bool) -> Result<Sheet, String> {
    let shape = sizes(frame, &look.bindings)?;
    let [leading @ .., rows, columns] = &shape[..] else {
        return Err(format!("expected scores of at least two axes, found {frame:?}"));
    };
    let heads: usize = leading.iter().product();
    let total = [heads, *rows, *columns].into_iter().fold(1, usize::saturating_mul);
    if total > MOST {
        return Err(format!(
            "its mask has {total} elements, of which at most {MOST} are looked at"
        ));
    }
    let added = vec![0.0; total];
    let (rows, columns) = (look.places(*rows), look.places(*columns));
    let mut sheet = Sheet { heads, rows, columns, seen: vec![true; added.len()], added };
    if causal {
        sheet.seen = (0..sheet.seen.len()).map(|at| sheet.place(at)).map(|(i, j)| j <= i).collect();
    }
    Ok(sheet)
}

impl Sheet {
    /// The positions of the query and the key of a score.
    fn place(&self, at: usize) -> (usize, usize) {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        (self.rows[at / columns % rows], self.columns[at % columns])
    }

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
            let (i, j) = self.place(at);
            if mask.sees(i, j) != seen {
                let does = if seen { "sees" } else { "does not see" };
                return Err(format!(
                    "its mask is no band around the diagonal: of {} by {}, query {i} {does} key {j}; the nearest is {mask}",
                    self.rows.len(),
                    self.columns.len()
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
        if self.rows != self.columns {
            return Err("a bias needs as many queries as keys".to_owned());
        }
        let count = self.rows.len();
        for head in 0..self.heads {
            for i in 0..count {
                let row = (head * count + i) * count;
                // A row's own constant changes no weight; its own key is always seen.
                let own = self.added[row + i];
                for j in (0..count).filter(|j| self.seen[row + j]) {
                    let distance = self.rows[i].abs_diff(self.rows[j]) as f64;
                    if distance == 1.0 && slopes.is_none() {
                        *slopes = Some((0..self.heads).map(|h| self.fall(h)).collect());
                    }
                    let slope = slopes.as_ref().map_or(0.0, |slopes| slopes[head]);
                    let bound = 1e-5 * slope.abs() * distance.max(1.0) + 1e-9;
                    if (own - self.added[row + j] - slope * distance).abs() > bound {
                        return Err(format!(
                            "what is added to its scores does not fall evenly with the distance: in head {head}, query {} and key {} get {}, its own key {own}",
                            self.rows[i],
                            self.rows[j],
                            self.added[row + j]
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// By how much the first two positions of a head fall apart.
    fn fall(&self, head: usize) -> f64 {
        let count = self.rows.len();
        let at = |i: usize, j: usize| (head * count + i) * count + j;
        let seen = [(1, 0), (0, 1)].into_iter().find(|&(i, j)| count > 1 && self.seen[at(i, j)]);
        seen.map_or(0.0, |(i, j)| self.added[at(i, i)] - self.added[at(i, j)])
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
            let (i, j) = sheet.place(at);
            let (i, j) = (i as u64, j as u64);
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
