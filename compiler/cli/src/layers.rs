//! How many steps a layer of a model takes: each is a launch on a GPU.

use std::collections::BTreeMap;

use bytec_plan::program::Program;

/// Such as `16 steps, 7 in each of 2 layers`, and how many launches overlap with the one before.
pub(crate) fn steps(program: &Program) -> String {
    let names = program.steps.iter().map(|step| step.name.as_str());
    let total = program.steps.len();
    let mut text = match in_each(names) {
        Some((layers, each)) => format!("{total} steps, {each} in each of {layers} layers"),
        None => format!("{total} steps"),
    };
    let launches = program.device.iter().flat_map(|code| &code.launches);
    // The first of a run has nothing to overlap with.
    let overlap = launches.skip(1).filter(|launch| launch.overlaps).count();
    if overlap > 0 {
        text += &format!("; {overlap} begin while the step before still runs");
    }
    text
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
