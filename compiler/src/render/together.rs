//! Launches that do a step and the linear that computes its x at once, for the batches that are better off with them.

use std::ops::Range;

use bytec_plan::device::{Count, Launch};
use bytec_plan::kernel::Kernel;
use bytec_plan::program::Step;

use super::{RenderError, Renderer, Site, feed_forward};
use crate::cost::feed_forward::Layers;

/// Two steps of a program that one launch does.
pub(crate) struct Together {
    /// The step whose result the other reads.
    pub(crate) first: usize,
    pub(crate) second: usize,
    /// The source of the launch.
    pub(crate) source: usize,
    batches: Vec<Range<u64>>,
}

impl Renderer {
    /// Renders a step together with the linear that computes its x; the result is the index of its source, or `None` if
    /// the step names none.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_with_up(&mut self, site: &Site<'_>) -> Result<Option<usize>, RenderError> {
        let Kernel::LinearLayerNorm { n, k, bias, eps, up: Some(up) } = site.kernel else {
            return Ok(None);
        };
        let second = feed_forward::Second { n: *n, k: *k, bias: *bias, eps: *eps };
        self.add(site, &feed_forward::params(site, second, up)?).map(Some)
    }

    /// What one launch does of the step at `second` and the one before it, if there are batches for it. Where tiles are
    /// chosen by measurements there are none, since nobody measured such a launch beside those.
    pub(crate) fn together(
        &mut self,
        steps: &[Step],
        second: usize,
        site: &Site<'_>,
    ) -> Result<Option<Together>, RenderError> {
        let step = &steps[second];
        let Kernel::LinearLayerNorm { n, k: hidden, up: Some(up), .. } = &step.kernel else {
            return Ok(None);
        };
        let first = steps.iter().position(|other| Some(other.output) == step.takes_up());
        let layers = Layers { n: *n, hidden: *hidden, k: up.k, epilogue: up.epilogue.clone() };
        let (Some(first), Ok(batches), false) = (first, layers.batches(), self.has_measurements())
        else {
            return Ok(None);
        };
        let source = self.render_with_up(site)?;
        Ok(source.map(|source| Together { first, second, source, batches }))
    }
}

impl Together {
    /// The launches of the first step beside its usual one, with the fewest rows that each is for.
    pub(crate) fn of_first(&self, usual: &Launch) -> Vec<(u64, Launch)> {
        let nothing = Launch { grid: [Count::Fixed(0); 3], ..usual.clone() };
        self.by_turns(&nothing, usual)
    }

    /// The launches of the second step beside its usual one.
    pub(crate) fn of_second(&self, usual: &Launch, both: &Launch) -> Vec<(u64, Launch)> {
        self.by_turns(both, usual)
    }

    fn by_turns(&self, here: &Launch, elsewhere: &Launch) -> Vec<(u64, Launch)> {
        let ends = |rows: &Range<u64>| [(rows.start, here.clone()), (rows.end, elsewhere.clone())];
        self.batches.iter().flat_map(ends).collect()
    }
}
