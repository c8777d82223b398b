//! `bytec list`: everything that is declared in a table.

use std::io::{Write, stdout};

use bytec_compiler::fuse::RULES;
use bytec_models::MODELS;
use serde::Serialize;

use crate::Outcome;
use crate::args::{ListArgs, Listing};
use crate::failure::Failure;

/// One line of a listing.
#[derive(Serialize)]
struct Item {
    name: String,
    about: String,
    /// A model family's architectures, by their names in a config.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    architectures: Vec<&'static str>,
}

pub(crate) fn list(args: &ListArgs) -> Outcome {
    let items = items(args.what);
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &items).map_err(Failure::json)?;
        writeln!(out)?;
        return Ok(());
    }
    let width = items.iter().map(|item| item.name.len()).max().unwrap_or(0);
    for item in items {
        writeln!(out, "{:width$}  {}", item.name, item.about)?;
    }
    Ok(())
}

fn items(what: Listing) -> Vec<Item> {
    let item = |name: &str, about: &str| Item {
        name: name.to_owned(),
        about: about.split_whitespace().collect::<Vec<_>>().join(" "),
        architectures: Vec::new(),
    };
    match what {
        Listing::Ops => bytec_ir::ops::TABLE
            .iter()
            .map(|row| item(&format!("{}{}", row.mnemonic, row.signature()), row.doc))
            .collect(),
        Listing::Rules => RULES.iter().map(|rule| item(rule.name(), rule.summary())).collect(),
        Listing::Kernels => {
            bytec_plan::kernel::KERNELS.iter().map(|&(name, summary)| item(name, summary)).collect()
        }
        Listing::Models => MODELS
            .iter()
            .map(|family| {
                let architectures = (family.architectures)();
                let about = format!("{} ({})", family.summary, architectures.join(", "));
                Item { architectures, ..item(family.name, &about) }
            })
            .collect(),
    }
}
