//! Mutants of PTX: the text with one statement taken out or changed.

use std::collections::BTreeMap;

/// A change of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mutant {
    /// The kind of change.
    pub(crate) class: &'static str,
    /// The line, counted from one.
    pub(crate) line: usize,
    /// What the line becomes; empty if it is taken out.
    pub(crate) text: String,
}

/// Every class, in the order of the table, and whether all mutants of it are made even where there are very many.
pub(crate) const CLASSES: [(&str, bool); 26] = [
    ("barrier removed", true),
    ("fence removed", true),
    ("wait or commit removed", true),
    ("wait lets one group more in flight", true),
    ("asynchronous copy removed", true),
    ("parity of a phase changed", true),
    ("arrival or mbarrier removed", true),
    ("count of arrivals or bytes changed", true),
    ("another mbarrier", true),
    ("product removed", true),
    ("descriptor changed", true),
    ("coordinates of a box swapped", true),
    ("rank changed", true),
    ("blocks of a multicast changed", true),
    (LAUNCHES, true),
    ("predicate dropped", true),
    ("predicate negated", false),
    ("selection made unconditional", false),
    ("bound off by one", false),
    ("offset of an access changed", false),
    ("registers of a fragment swapped", false),
    ("lanes or mask of a shuffle changed", false),
    ("integer constant off by one", false),
    ("fma made a product or a sum", false),
    ("store to shared memory removed", false),
    ("store to global memory removed", false),
];

/// The class of what lets a launch overlap with those before it.
pub(crate) const LAUNCHES: &str = "wait for launches removed";

/// What lets asynchronous work end, or makes a group of it.
const WAITS: [&str; 6] = [
    "cp.async.wait",
    "cp.async.commit",
    "cp.async.bulk.wait",
    "cp.async.bulk.commit",
    "wgmma.wait",
    "wgmma.commit",
];

/// All mutants of a text.
pub(crate) fn mutants(ptx: &str) -> Vec<Mutant> {
    let mut found = Vec::new();
    let mut constants = BTreeMap::new();
    for (number, line) in ptx.lines().enumerate() {
        if let Some(statement) = Statement::parse(line) {
            if let ("mov.u32" | "mov.b32", [register, constant]) =
                (statement.op, &statement.operands()[..])
            {
                constants.insert(*register, *constant);
            }
            statement.mutate(&constants, &mut |class, text| {
                found.push(Mutant { class, line: number + 1, text });
            });
        }
    }
    found
}

/// The text with a mutant's line in the place of its own.
pub(crate) fn apply(ptx: &str, mutant: &Mutant) -> String {
    let lines = ptx
        .lines()
        .enumerate()
        .map(|(number, line)| if number + 1 == mutant.line { mutant.text.as_str() } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// A line of one statement.
pub(crate) struct Statement<'p> {
    /// `@%p1` or `@!%p1`, or nothing.
    pub(crate) guard: &'p str,
    /// The instruction with all its qualifiers.
    pub(crate) op: &'p str,
    /// The operands.
    pub(crate) rest: &'p str,
}

impl<'p> Statement<'p> {
    /// `None` if the line is not one statement.
    pub(crate) fn parse(line: &'p str) -> Option<Self> {
        let line = line.trim().strip_suffix(';')?;
        if line.starts_with(['.', '/', '{', '}', '$']) || line.contains(';') {
            return None;
        }
        let (guard, line) = match line.strip_prefix('@') {
            Some(_) => line.split_once(char::is_whitespace)?,
            None => ("", line),
        };
        let line = line.trim();
        let (op, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Some(Self { guard, op, rest: rest.trim() })
    }

    fn with(&self, guard: &str, op: &str, rest: &str) -> String {
        format!("\t{guard} {op} {rest};")
    }

    fn operands(&self) -> Vec<&'p str> {
        self.rest.split(',').map(str::trim).collect()
    }

    fn mutate(&self, constants: &BTreeMap<&str, &str>, made: &mut dyn FnMut(&'static str, String)) {
        let op = self.op;
        if let Some(register) = self.guard.strip_prefix('@') {
            made("predicate dropped", self.with("", op, self.rest));
            let negated = match register.strip_prefix('!') {
                Some(register) => format!("@{register}"),
                None => format!("@!{register}"),
            };
            made("predicate negated", self.with(&negated, op, self.rest));
        }
        self.hopper(made);
        if op.starts_with("bar.") || op.starts_with("barrier.") {
            made("barrier removed", String::new());
        } else if op.starts_with("membar") || op.starts_with("fence") || op.starts_with("wgmma.f") {
            made("fence removed", String::new());
        } else if WAITS.iter().any(|wait| op.starts_with(wait)) {
            made("wait or commit removed", String::new());
            if let Ok(groups) = self.rest.parse::<u32>()
                && op.contains("wait_group")
            {
                let more = self.with(self.guard, op, &(groups + 1).to_string());
                made("wait lets one group more in flight", more);
            }
        } else if op == "griddepcontrol.wait" {
            made(LAUNCHES, String::new());
        } else if op.starts_with("cp.async") {
            made("asynchronous copy removed", String::new());
        } else if op.starts_with("st.shared") {
            made("store to shared memory removed", String::new());
        } else if op.starts_with("st.global") {
            made("store to global memory removed", String::new());
        } else if op.starts_with("selp.") {
            self.selection(made);
        } else if op.starts_with("setp.") {
            self.comparison(made);
        } else if op.starts_with("mma.") {
            self.fragments(made);
        } else if op.starts_with("shfl.") {
            self.shuffle(constants, made);
        } else if let Some(kind) = op.strip_prefix("fma.") {
            let (operands, class) = (self.operands(), "fma made a product or a sum");
            if let [d, a, b, c] = operands[..] {
                let product = format!("{d}, {a}, {b}");
                made(class, self.with(self.guard, &format!("mul.{kind}"), &product));
                let sum = format!("{d}, {a}, {c}");
                made(class, self.with(self.guard, &format!("add.{kind}"), &sum));
            }
        }
        let accesses = ["ld.global", "ld.shared", "st.", "cp.async", "ldmatrix", "red.", "atom."];
        if accesses.iter().any(|access| op.starts_with(access)) {
            self.offsets(made);
        }
        let integer =
            ["mul.lo", "mul.wide", "mad.lo", "mad.wide", "shl.b", "shr.", "and.b", "or.b"];
        let sums = ["add.s", "add.u", "sub.s", "sub.u"];
        if integer.iter().chain(&sums).any(|start| op.starts_with(start)) {
            let operands = self.operands();
            for (nth, operand) in operands.iter().enumerate().skip(1) {
                let Ok(constant) = operand.parse::<i64>() else { continue };
                let (mut changed, more) = (operands.clone(), (constant + 1).to_string());
                changed[nth] = &more;
                let text = self.with(self.guard, op, &changed.join(", "));
                made("integer constant off by one", text);
            }
        }
    }

    /// What `sm_90a` brought.
    fn hopper(&self, made: &mut dyn FnMut(&'static str, String)) {
        let op = self.op;
        // A statement with one operand replaced by what another statement makes of it.
        let with_changed = |kind: &str, change: &str, operand: &str| {
            let at = self.rest.rfind(operand)?;
            let rest = format!("{}%mutant{}", &self.rest[..at], &self.rest[at + operand.len()..]);
            let own = self.with(self.guard, op, &rest);
            let change = change.replace("OPERAND", operand);
            Some(format!("{{ .reg .{kind} %mutant; {change}; {own} }}"))
        };
        let operands = self.operands();
        let last = operands.last().copied().unwrap_or_default();
        if op.starts_with("mbarrier.try_wait") {
            let class = "parity of a phase changed";
            for change in
                ["xor.b32 %mutant, OPERAND, 1", "mov.b32 %mutant, 0", "mov.b32 %mutant, 1"]
            {
                made(class, with_changed("b32", change, last).unwrap_or_default());
            }
        } else if op.starts_with("mbarrier.") {
            made("arrival or mbarrier removed", String::new());
            let changes: &[&str] = match op {
                op if op.contains("expect_tx") => &["16", "-16", "128"],
                op if op.contains("init") => &["1", "-1"],
                _ => &[],
            };
            for change in changes {
                let change = format!("add.s32 %mutant, OPERAND, {change}");
                let text = with_changed("b32", &change, last).unwrap_or_default();
                made("count of arrivals or bytes changed", text);
            }
        }
        if op.starts_with("mbarrier.")
            && let Some((before, after)) = self.rest.split_once(']')
        {
            for offset in ["8", "-8"] {
                let rest = format!("{before}+{offset}]{after}");
                made("another mbarrier", self.with(self.guard, op, &rest));
            }
        }
        if op.starts_with("wgmma.mma_async") {
            made("product removed", String::new());
            // The start by 32 and 1024 bytes, the distance of eight rows by 16 bytes, the swizzle and the base offset.
            // The distance along rows means nothing with a swizzle.
            for bit in [1, 6, 32, 49, 62, 63] {
                for operand in operands.iter().filter(|operand| operand.starts_with("%rd")) {
                    let change = format!("xor.b64 %mutant, OPERAND, {}", 1u64 << bit);
                    let text = with_changed("b64", &change, operand).unwrap_or_default();
                    made("descriptor changed", text);
                }
            }
        }
        if op.starts_with("cp.async.bulk.tensor")
            && let Some((before, inner, after)) =
                self.rest.split_once('{').and_then(|(before, rest)| {
                    let (inner, after) = rest.split_once('}')?;
                    Some((before, inner, after))
                })
            && let Some((x, y)) = inner.split_once(',')
        {
            let rest = format!("{before}{{{}, {}}}{after}", y.trim(), x.trim());
            made("coordinates of a box swapped", self.with(self.guard, op, &rest));
        }
        if op.starts_with("cp.async.bulk.global") {
            for change in ["16", "-16"] {
                let change = format!("add.s32 %mutant, OPERAND, {change}");
                let text = with_changed("b32", &change, last).unwrap_or_default();
                made("count of arrivals or bytes changed", text);
            }
        }
        if op.starts_with("mapa.") {
            for change in ["mov.b32 %mutant, 0", "add.u32 %mutant, OPERAND, 1"] {
                made("rank changed", with_changed("b32", change, last).unwrap_or_default());
            }
        }
        if op.contains("multicast") {
            for bit in [1, 2] {
                let change = format!("xor.b16 %mutant, OPERAND, {bit}");
                let text = with_changed("b16", &change, last).unwrap_or_default();
                made("blocks of a multicast changed", text);
            }
        }
    }

    fn selection(&self, made: &mut dyn FnMut(&'static str, String)) {
        let operands = self.operands();
        let kind = self.op.trim_start_matches("selp.");
        if let [d, a, b, _] = operands[..] {
            for chosen in [a, b] {
                let text = self.with(self.guard, &format!("mov.{kind}"), &format!("{d}, {chosen}"));
                made("selection made unconditional", text);
            }
        }
    }

    fn comparison(&self, made: &mut dyn FnMut(&'static str, String)) {
        let float = self.op.contains(".f") || self.op.contains(".bf");
        let others =
            [("lt", "le"), ("le", "lt"), ("gt", "ge"), ("ge", "gt"), ("eq", "ne"), ("ne", "eq")];
        let unsigned = [("lo", "ls"), ("ls", "lo"), ("hi", "hs"), ("hs", "hi")];
        let words: Vec<_> = self.op.split('.').collect();
        for (from, to) in others.iter().chain(&unsigned) {
            if words.get(1) == Some(from) && !float && !self.op.contains("pred") {
                let mut words = words.clone();
                words[1] = to;
                made("bound off by one", self.with(self.guard, &words.join("."), self.rest));
            }
        }
    }

    fn offsets(&self, made: &mut dyn FnMut(&'static str, String)) {
        let mut from = 0;
        while let Some(open) = self.rest[from..].find('[').map(|at| at + from) {
            let Some(close) = self.rest[open..].find(']').map(|at| at + open) else { return };
            let inner = &self.rest[open + 1..close];
            let (base, offset) = match inner.split_once('+') {
                Some((base, offset)) => (base, offset.parse::<i64>().ok()),
                None => (inner, Some(0)),
            };
            for change in [16, -16, 4, -4] {
                let Some(offset) = offset else { continue };
                let (before, after) = (&self.rest[..open], &self.rest[close + 1..]);
                let rest = format!("{before}[{base}+{}]{after}", offset + change);
                made("offset of an access changed", self.with(self.guard, self.op, &rest));
            }
            from = close;
        }
    }

    fn fragments(&self, made: &mut dyn FnMut(&'static str, String)) {
        let groups: Vec<_> = self.rest.split('{').skip(1).collect();
        for nth in 0..groups.len() {
            let inner = groups[nth].split('}').next().unwrap_or_default();
            let registers: Vec<_> = inner.split(',').map(str::trim).collect();
            if registers.len() < 2 || registers[0] == registers[1] {
                continue;
            }
            let mut swapped = registers.clone();
            swapped.swap(0, 1);
            let mut changed: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            changed[nth] = groups[nth].replacen(inner, &swapped.join(", "), 1);
            let text = self.with(self.guard, self.op, &format!("{{{}", changed.join("{")));
            made("registers of a fragment swapped", text);
        }
    }

    /// Other lanes, and fewer members.
    fn shuffle(
        &self,
        constants: &BTreeMap<&str, &str>,
        made: &mut dyn FnMut(&'static str, String),
    ) {
        let operands = self.operands();
        let [d, a, lanes, clamp, mask] = operands[..] else { return };
        let mut changed = |lanes: &str, mask: &str| {
            let rest = [d, a, lanes, clamp, mask].join(", ");
            made("lanes or mask of a shuffle changed", self.with(self.guard, self.op, &rest));
        };
        changed(lanes, "65535");
        // NVRTC keeps the number in a register.
        let number = constants.get(lanes).copied().unwrap_or(lanes);
        if let Ok(number) = number.parse::<u32>() {
            changed(&(number ^ 3).to_string(), mask);
            changed(&(number / 2).to_string(), mask);
        }
    }
}
