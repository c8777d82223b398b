//! Attention with what it may be asked for: masks, biases by distance, rotation by position.

use bytec_compiler::render::Float;
use bytec_models::tiny::SplitMix64;
use bytec_plan::attention::{Band, Bias, Pairs, Rotary};

use super::attention::{Case, HEADS, dot};
use super::device::Device;
use super::numbers::{encode, normal, round};

/// The longest sample of these tests.
const POSITIONS: usize = 132;

/// What is asked for.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) mask: Band,
    pub(super) bias: Bias,
    pub(super) rotary: Option<Rotary>,
    /// Two heads of queries share each of keys and values.
    pub(super) shared: bool,
}

fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect()
}

impl Options {
    /// Heads of queries.
    pub(super) fn heads(&self) -> u32 {
        if self.shared { 2 * HEADS } else { HEADS }
    }

    /// The bytes of the operands after v.
    pub(super) fn tables(&self, dtype: Float, size: usize) -> Vec<Vec<u8>> {
        let mut tables = Vec::new();
        if let Bias::Disentangled { reach, c2p, p2c } = self.bias {
            let distances = -i64::from(reach)..=i64::from(reach);
            let rows = distances.flat_map(|distance| (row(distance, reach) as i32).to_le_bytes());
            tables.push(rows.collect());
            let table = |term| encode(dtype, &rows_of(term, reach, dtype, size));
            tables.extend(
                [c2p, p2c].iter().zip(0..).filter(|(there, _)| **there).map(|(_, t)| table(t)),
            );
        }
        if let Bias::Relative { reach } = self.bias {
            let numbers: Vec<_> = (0..HEADS * (2 * reach + 1)).map(element).collect();
            tables.push(bytes(&numbers));
        }
        if let Some(rotary) = self.rotary {
            let pairs = 0..rotary.dims as usize / 2;
            let row = |position| {
                let turns = pairs.clone().map(move |pair| turn(rotary, position, pair));
                let (sines, cosines): (Vec<f64>, Vec<f64>) = turns.unzip();
                [cosines, sines].concat()
            };
            let table: Vec<f64> = (0..POSITIONS).flat_map(row).collect();
            tables.push(bytes(&table));
        }
        tables
    }

    pub(super) fn sees(&self, query: usize, key: usize) -> bool {
        let within = |limit: Option<u64>, far: usize| limit.is_none_or(|most| far as u64 <= most);
        within(self.mask.before, query.saturating_sub(key))
            && within(self.mask.after, key.saturating_sub(query))
    }

    /// Rows of heads turned by their positions, in f32 as the table has it.
    pub(super) fn turned(
        &self,
        x: &[f64],
        [heads, size]: [usize; 2],
        round: &dyn Fn(f64) -> f64,
    ) -> Vec<f64> {
        let mut out = x.to_vec();
        let Some(rotary) = self.rotary else { return out };
        let half = rotary.dims as usize / 2;
        for (row, x) in out.chunks_exact_mut(heads * size).enumerate() {
            for head in x.chunks_exact_mut(size) {
                for pair in 0..half {
                    let (sine, cosine) = turn(rotary, row, pair);
                    let (a, b) = match rotary.pairs {
                        Pairs::Half => (pair, pair + half),
                        Pairs::Interleaved => (2 * pair, 2 * pair + 1),
                    };
                    let (left, right) = (head[a], head[b]);
                    head[a] = left * cosine - right * sine;
                    head[b] = right * cosine + left * sine;
                }
                head.iter_mut().for_each(|x| *x = round(*x));
            }
        }
        out
    }

    /// What is added before the scale: the tables' rows, as [`rows_of`] gives them, times the query and the key.
    pub(super) fn terms(
        &self,
        product: f64,
        head: usize,
        distance: i64,
        sides: [&[f64]; 2],
        tables: &[Vec<f64>; 2],
        round: &dyn Fn(f64) -> f64,
    ) -> f64 {
        let Bias::Disentangled { reach, c2p, p2c } = self.bias else { return product };
        let mut sum = product;
        for ((there, side), table) in [c2p, p2c].into_iter().zip(sides).zip(tables) {
            if there {
                let first = (row(distance, reach) * HEADS as usize + head) * side.len();
                sum = round(sum + round(dot(side, &table[first..][..side.len()])));
            }
        }
        sum
    }

    /// Both tables of a disentangled bias.
    pub(super) fn rows(&self, dtype: Float, size: usize) -> [Vec<f64>; 2] {
        let Bias::Disentangled { reach, .. } = self.bias else { return Default::default() };
        [0, 1].map(|term| rows_of(term, reach, dtype, size))
    }

    /// What is added after the scale.
    pub(super) fn biased(
        &self,
        score: f64,
        head: usize,
        distance: i64,
        round: &dyn Fn(f64) -> f64,
    ) -> f64 {
        match &self.bias {
            Bias::None | Bias::Disentangled { .. } => score,
            Bias::Alibi { slopes } => {
                round(score - round(f64::from(slopes[head]) * distance.abs() as f64))
            }
            Bias::Relative { reach } => {
                let reach = i64::from(*reach);
                let at = head as i64 * (2 * reach + 1) + distance.clamp(-reach, reach) + reach;
                round(score + element(at as u32))
            }
        }
    }
}

/// The row of a distance: some distances have one together.
fn row(distance: i64, reach: u32) -> usize {
    let reach = i64::from(reach);
    ((distance.clamp(-reach, reach) + reach) / 2) as usize
}

/// A table of a disentangled bias.
fn rows_of(term: u64, reach: u32, dtype: Float, size: usize) -> Vec<f64> {
    normal(dtype, &mut SplitMix64(40 + term), (reach as usize + 1) * HEADS as usize * size)
}

/// An element of the table of a relative bias, whose rows are those of the heads.
fn element(at: u32) -> f64 {
    f64::from(SplitMix64(u64::from(at)).normal())
}

/// Sine and cosine, as f32.
pub(super) fn turn(rotary: Rotary, position: usize, pair: usize) -> (f64, f64) {
    let angle = position as f64 * 100f64.powf(-2.0 * pair as f64 / f64::from(rotary.dims));
    (round(Float::F32, angle.sin()), round(Float::F32, angle.cos()))
}

/// All lengths at one size, some of them at others.
fn check(dtype: Float, options: &Options) {
    let Some(device) = Device::get() else { return };
    let same = |lengths: &[u32]| lengths.iter().map(|l| (*l, *l)).collect::<Vec<_>>();
    let case = |size: u32, scale| Case::with(size, scale, dtype, true, options.clone());
    case(12, 0.3).check(device, &same(&[1, 7, 8, 9, 63, 64, 65, 127, 128, 129]));
    for size in [64, 136] {
        case(size, (size as f32).sqrt().recip()).check(device, &same(&[17, 1, 65, 33]));
    }
    case(12, -0.3).check(device, &same(&[9, 66]));
}

fn check_all(options: &Options) {
    for dtype in [Float::F32, Float::F16, Float::Bf16] {
        check(dtype, options);
    }
}

fn band(before: Option<u64>, after: Option<u64>) -> Options {
    Options { mask: Band { before, after }, ..Options::default() }
}

#[test]
fn causal() {
    check_all(&band(None, Some(0)));
}

#[test]
fn bands() {
    for (before, after) in [(Some(0), Some(0)), (Some(3), None), (Some(20), Some(5))] {
        check(Float::F16, &band(before, after));
        check(Float::F32, &band(before, after));
    }
    check(Float::Bf16, &band(Some(64), Some(64)));
}

#[test]
fn slopes() {
    check_all(&Options { bias: Bias::Alibi { slopes: vec![0.5, 0.0625] }, ..Options::default() });
}

#[test]
fn biases_by_distance() {
    let biased = |reach| Options { bias: Bias::Relative { reach }, ..Options::default() };
    check_all(&biased(20));
    check(Float::F16, &biased(0));
    check(Float::F32, &biased(128));
}

#[test]
fn rotations() {
    for pairs in [Pairs::Half, Pairs::Interleaved] {
        check_all(&Options { rotary: Some(Rotary { pairs, dims: 12 }), ..Options::default() });
        // More pairs than a warp has lanes.
        let Some(device) = Device::get() else { return };
        for dtype in [Float::F32, Float::F16, Float::Bf16] {
            let options =
                Options { rotary: Some(Rotary { pairs, dims: 70 }), ..Options::default() };
            Case::with(80, 0.1, dtype, true, options).check(device, &[(33, 33), (70, 70)]);
        }
    }
}

#[test]
fn shared_heads() {
    let rotary = Some(Rotary { pairs: Pairs::Half, dims: 8 });
    let mask = Band { before: None, after: Some(0) };
    check_all(&Options { mask, rotary, shared: true, ..Options::default() });
}

#[test]
fn all_together() {
    let mask = Band { before: Some(30), after: Some(0) };
    let rotary = Some(Rotary { pairs: Pairs::Half, dims: 8 });
    for bias in [Bias::Relative { reach: 10 }, Bias::Alibi { slopes: vec![0.25, 1.0] }] {
        check_all(&Options { mask, bias, rotary, shared: false });
    }
}

/// The kernel for Hopper: masks under which a warpgroup sees fewer tiles than its block, biases, and turned heads.
#[test]
fn options_on_warpgroups() {
    let Some(device) = Device::get() else { return };
    let turned = |pairs, dims| Some(Rotary { pairs, dims });
    let (slopes, relative) =
        (Bias::Alibi { slopes: vec![0.5, 0.0625] }, Bias::Relative { reach: 20 });
    let biased = |bias: &Bias| Options { bias: bias.clone(), ..Options::default() };
    let rotary = |pairs, dims| Options { rotary: turned(pairs, dims), ..Options::default() };
    let all = |before, after, bias, rotary| Options {
        mask: Band { before, after },
        bias,
        rotary,
        shared: false,
    };
    let (f16, half) = (Float::F16, turned(Pairs::Half, 32));
    for (size, dtype, options, long) in [
        (64, f16, band(None, Some(0)), 300),
        (32, Float::Bf16, band(Some(30), Some(0)), 300),
        (32, f16, band(Some(0), Some(0)), 130),
        (32, f16, band(Some(5), Some(70)), 200),
        (64, f16, biased(&slopes), 130),
        (32, Float::Bf16, biased(&relative), 130),
        (64, Float::Bf16, rotary(Pairs::Half, 64), 130),
        (48, f16, rotary(Pairs::Interleaved, 12), 130),
        (96, f16, all(Some(30), Some(0), relative, turned(Pairs::Half, 96)), 132),
        (16, f16, all(Some(64), Some(64), slopes, turned(Pairs::Interleaved, 16)), 132),
        (64, f16, Options { shared: true, ..Options::default() }, 130),
        (32, Float::Bf16, Options { shared: true, ..all(None, Some(0), Bias::None, half) }, 132),
    ] {
        let case = super::attention::on_warpgroups(size, dtype, true, options);
        case.check(device, &[(long, long), (7, 7), (66, 66)]);
    }
}

/// Tiles of 128 keys and warpgroups that take turns, where one sees tiles that the other doesn't.
#[test]
fn options_on_warpgroups_by_turns() {
    let Some(device) = Device::get() else { return };
    let rotary = Some(Rotary { pairs: Pairs::Half, dims: 64 });
    let (f16, bf16) = (Float::F16, Float::Bf16);
    for (size, dtype, options, longest, keys, long) in [
        (64, f16, band(None, Some(0)), 8192, 128, 400),
        (64, bf16, Options { rotary, ..band(None, Some(0)) }, 8192, 128, 132),
        (128, f16, band(Some(5), Some(70)), 8192, 128, 200),
        (128, f16, band(Some(30), Some(0)), 512, 64, 300),
        (80, bf16, band(Some(64), Some(64)), 512, 64, 300),
    ] {
        let tile = format!("128 queries x {keys} keys by turns");
        let case = super::attention::with_tile(size, dtype, true, options, longest, &tile);
        case.check(device, &[(long, long), (7, 7), (66, 66)]);
    }
}

/// Rows by distance on warpgroups: one and two of them, either term, masks, and samples that end anywhere.
#[test]
fn rows_by_distance_on_warpgroups() {
    let Some(device) = Device::get() else { return };
    let same = |lengths: &[u32]| lengths.iter().map(|l| (*l, *l)).collect::<Vec<_>>();
    let rows = |reach, c2p, p2c| {
        let bias = Bias::Disentangled { reach, c2p, p2c };
        Options { bias, ..Options::default() }
    };
    let within = |before, after, options| Options { mask: Band { before, after }, ..options };
    let (f16, bf16) = (Float::F16, Float::Bf16);
    let every = same(&[1, 7, 63, 64, 65, 127, 128, 129]);
    let turned =
        Options { rotary: Some(Rotary { pairs: Pairs::Half, dims: 16 }), ..rows(12, true, true) };
    for (size, dtype, options, longest, lengths) in [
        (16, f16, rows(20, true, true), 64, &every),
        (64, bf16, rows(100, true, true), 8192, &same(&[130, 1, 65])),
        (48, f16, rows(511, true, true), 64, &same(&[66, 17])),
        (8, f16, rows(0, true, false), 8192, &same(&[200, 3, 64])),
        (32, bf16, rows(7, false, true), 8192, &same(&[200, 3, 64])),
        (128, f16, rows(40, true, true), 512, &same(&[66, 3])),
        (112, bf16, rows(9, true, true), 512, &same(&[17, 3])),
        (16, f16, within(Some(40), Some(0), rows(31, true, true)), 8192, &same(&[300, 3])),
        (16, bf16, within(Some(5), Some(70), rows(31, true, false)), 8192, &same(&[200, 66])),
        (24, f16, within(Some(30), Some(30), rows(31, false, true)), 64, &same(&[200, 66])),
        (16, bf16, turned, 8192, &same(&[132, 66])),
    ] {
        let case = super::attention::with_tile(size, dtype, true, options, longest, "");
        case.check(device, lengths);
    }
    let case = super::attention::on_warpgroups(32, f16, false, rows(50, true, true));
    case.check(device, &[(70, 200), (3, 5), (130, 64)]);
}

#[test]
fn rows_by_distance() {
    let Some(device) = Device::get() else { return };
    let lengths = |lengths: &[u32]| lengths.iter().map(|l| (*l, *l)).collect::<Vec<_>>();
    for dtype in [Float::F32, Float::F16, Float::Bf16] {
        let case = |size: u32, reach, c2p, p2c, mask| {
            let bias = Bias::Disentangled { reach, c2p, p2c };
            let options = Options { mask, bias, ..Options::default() };
            Case::with(size, (3.0 * size as f32).sqrt().recip(), dtype, true, options)
        };
        let all = Band::default();
        let every = lengths(&[1, 7, 8, 9, 63, 64, 65, 127, 128, 129]);
        case(12, 20, true, true, all).check(device, &every);
        case(64, 128, true, true, all).check(device, &lengths(&[17, 1, 65, 33]));
        case(5, 0, true, false, all).check(device, &lengths(&[66, 3]));
        case(96, 7, false, true, all).check(device, &lengths(&[34, 3]));
        // Smaller tiles for wider heads.
        for size in [136, 256] {
            case(size, 9, true, true, all).check(device, &lengths(&[17, 1, 34]));
        }
        let causal = Band { before: Some(40), after: Some(0) };
        case(24, 31, true, true, causal).check(device, &lengths(&[100, 3]));
    }
}
