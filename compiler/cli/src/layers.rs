//! How many steps a layer of a model takes: each is a launch on a GPU.

use std::collections::{BTreeMap, BTreeSet};

use bytec_plan::program::Program;

/// Such as `16 steps, 7 in each of 2 layers`, and how many launches overlap with the one before.
pub(crate) fn steps(program: &Program) -> String {
    let names = program.steps.iter().map(|step| step.name.as_str());
    let total = program.steps.len();
    let mut text = match in_each(names) {
        Some((layers, each)) => format!("{total} steps, {each} in each of {layers} layers"),
        None => format!("{total} steps"),
    };
    text += &together(program);
    let launches = program.device.iter().flat_map(|code| &code.launches);
    // The first of a run has nothing to overlap with.
    let overlap = launches.skip(1).filter(|launch| launch.overlaps).count();
    if overlap > 0 {
        text += &format!("; {overlap} begin while the step before still runs");
    }
    text
}

/// How many launches a layer takes in batches for which some steps have none, such as
/// `; 6 launches for 3329 to 4096 rows`.
fn together(program: &Program) -> String {
    let Some(code) = &program.device else { return String::new() };
    let mut ranges = BTreeMap::new();
    for (at, other) in code.by_rows.iter().enumerate() {
        if !other.launch.has_blocks() {
            let next = code.by_rows.get(at + 1).filter(|next| next.step == other.step);
            let steps: &mut BTreeSet<u32> =
                ranges.entry((other.rows, next.map(|next| next.rows - 1))).or_default();
            steps.insert(other.step);
        }
    }
    // Ranges of the same steps are told of together.
    let mut told: Vec<(BTreeSet<u32>, Vec<String>)> = Vec::new();
    for ((from, to), steps) in ranges {
        let range = to.map_or(format!("{from} and more"), |to| format!("{from} to {to}"));
        match told.iter_mut().find(|(same, _)| *same == steps) {
            Some((_, all)) => all.push(range),
            None => told.push((steps, vec![range])),
        }
    }
    let one = |(without, ranges): (BTreeSet<u32>, Vec<String>)| {
        let launched = program.steps.iter().zip(0..).filter(|(_, at)| !without.contains(at));
        let launched: Vec<_> = launched.map(|(step, _)| step.name.as_str()).collect();
        let ranges = ranges.join(", ");
        match in_each(launched.iter().copied()) {
            Some((_, each)) => format!("; {each} launches in each for {ranges} rows"),
            None => format!("; {} launches for {ranges} rows", launched.len()),
        }
    };
    told.into_iter().map(one).collect()
}

/// The layers, which are what names number, and the most steps that one has. Of names that number several things, the
/// outermost counts; and of layers by different names, such as of two encoders, those of which there are most.
fn in_each<'a>(names: impl Iterator<Item = &'a str>) -> Option<(usize, usize)> {
    let mut layers: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for name in names {
        let mut end = 0;
        let number = name.split('.').find_map(|part| {
            let begin = end;
            end += part.len() + 1;
            part.parse::<u32>().is_ok().then_some((&name[..begin], part))
        });
        if let Some((stack, number)) = number {
            *layers.entry(stack).or_default().entry(number).or_insert(0) += 1;
        }
    }
    let largest = layers.into_values().max_by_key(BTreeMap::len)?;
    Some((largest.len(), largest.into_values().max()?))
}

#[cfg(test)]
mod tests {
    use super::in_each;

    #[test]
    fn numbered_names_are_layers() {
        let names = ["embed", "h.0.a", "h.0.b.1.x", "h.1.a", "h.1.b", "h.1.c", "t.0.a", "7"];
        assert_eq!(in_each(names.into_iter()), Some((2, 3)));
        assert_eq!(in_each(["a", "b.c"].into_iter()), None);
    }
}
