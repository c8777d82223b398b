//! Steps that are launched one way or another by their rows, as measured tables say.

use std::collections::BTreeMap;

use bytec_plan::kernel::Kernel;

use super::{RenderError, Renderer, Site, linear_wgmma};
use crate::cost::attention::Lengths;
use crate::cost::linear::Layer;
use crate::nvrtc::Arch;
use crate::tuned::{Choice, NOTE, Table, choose};

/// For each layer, by its parameters in words, what was chosen.
pub(super) type Said = BTreeMap<String, Choice>;

impl Renderer {
    /// With tables of what was measured, the one that counts most first.
    pub fn with_tables(self, tables: &[Table]) -> Self {
        Self { tables: tables.to_vec(), ..self }
    }

    /// As [`render_for`](Self::render_for), but each way to launch the step with the fewest rows that it is for, in order; the
    /// first is for any.
    ///
    /// # Errors
    /// As [`render_for`](Self::render_for).
    pub fn render_by_rows(
        &mut self,
        site: &Site<'_>,
        lengths: Lengths,
    ) -> Result<Vec<(u64, usize)>, RenderError> {
        let Kernel::Linear { n, k, bias, epilogue } = site.kernel else {
            return Ok(vec![(0, self.render_for(site, lengths)?)]);
        };
        let suited = || linear_wgmma::params(site, *n, *k, *bias, epilogue);
        if self.tables.is_empty() || !self.hopper || suited()?.is_err() {
            return Ok(vec![(0, self.render(site)?)]);
        }
        let layer = Layer { n: *n, k: *k, epilogue: epilogue.clone() };
        let choice = choose(&self.tables, Arch::SM_90A, site.dtype, &layer, *bias);
        let mut ways: Vec<(u64, usize)> = Vec::new();
        for chosen in &choice.tiles {
            let Ok(params) = suited()? else { continue };
            let source = self.add(site, &params.with(chosen))?;
            if ways.last().is_none_or(|(_, last)| *last != source) {
                ways.push((chosen.from, source));
            }
        }
        let name = format!("{n} x {k}, {bias}, {epilogue:?}, {}", site.dtype.name());
        self.said.insert(name, choice);
        Ok(ways)
    }

    /// Whether a step has a choice of tiles that give it the same bits.
    pub(crate) fn has_choice(&self, site: &Site<'_>) -> bool {
        let Kernel::Linear { n, k, bias, epilogue } = site.kernel else { return false };
        self.hopper && matches!(linear_wgmma::params(site, *n, *k, *bias, epilogue), Ok(Ok(_)))
    }

    /// Whether the tables have anything about the architecture whose kernels leave a choice.
    pub(crate) fn has_measurements(&self) -> bool {
        let known = self.tables.iter().flat_map(|table| &table.devices);
        known.into_iter().any(|device| device.target == Arch::SM_90A.to_string())
    }

    /// What the tables came to, one line each; none if they know nothing of any layer.
    pub(crate) fn notes(&self) -> Vec<String> {
        let measured = self.said.values().filter(|choice| choice.is_measured()).count();
        let mut notes: Vec<_> =
            self.said.values().flat_map(|choice| choice.ignored.iter().cloned()).collect();
        let target = Arch::SM_90A;
        if self.has_measurements() && !self.said.is_empty() {
            notes.push(format!(
                "{target}{NOTE}those of {measured} of {} sorts of linears; the others by the cost model",
                self.said.len()
            ));
        }
        notes
    }
}
