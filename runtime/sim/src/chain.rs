//! Launches that may run at the same time, one behind the other (programmatic dependent launch).
//!
//! A launch that overlaps may begin as soon as all blocks of the one before it have begun or ended, and that one may
//! have begun while a still earlier one ran. So before its `griddepcontrol.wait` a lane must take for granted that every
//! launch since the last one that waited for all before it still runs. The wait ends when the launch before has ended.
//! That those before it have ended too holds only where each of them waited as well: a launch whose lanes return
//! without is a fault, whatever they did.

use std::collections::BTreeMap;

use crate::fault::AccessKind;
use crate::memory::blockrace::{Merged, PageKey, Touched};

/// The launches that the next one may overlap with, of one stream.
#[derive(Debug, Default)]
pub struct Chain {
    /// What they have done to global memory; `None` before the first.
    pages: Option<BTreeMap<PageKey, Box<Touched>>>,
}

impl Chain {
    /// What comes next begins when all launches so far have ended.
    pub fn cut(&mut self) {
        self.pages = None;
    }

    /// Whether there are launches to overlap with.
    pub(crate) fn is_open(&self) -> bool {
        self.pages.is_some()
    }

    /// Adds a launch.
    pub(crate) fn add(&mut self, launch: &Merged) {
        let pages = self.pages.get_or_insert_default();
        for (key, touched) in launch.take() {
            match pages.get_mut(&key) {
                Some(known) => known.merge(&touched),
                None => {
                    pages.insert(key, touched);
                }
            }
        }
    }

    /// What the launches do with some of these bytes of a page that conflicts with an access.
    pub(crate) fn conflict(
        &self,
        key: PageKey,
        offset: u64,
        bytes: u64,
        access: AccessKind,
    ) -> Option<AccessKind> {
        self.pages.as_ref()?.get(&key)?.conflict(offset, bytes, access)
    }
}
