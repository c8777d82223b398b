//! The CUDA kernels, run on the simulated GPU with every check on, against formulas in f64.
//!
//! Each case runs a ragged batch three ways: whole; each sample alone, which must give the same bits; and whole again
//! beside a sample of NaNs, which must change no other sample's bits. Rows past the count hold NaN and are marked, so
//! that a kernel that let them reach its output would be caught.

mod chains;
mod device;
mod numbers;
mod rows;
mod traffic;

use bytec_compiler::render::{Float, Matrix, Renderer, Site, Source};
use bytec_plan::kernel::Kernel;

use device::Device;
use numbers::Numbers;

/// The three element types.
const DTYPES: [Float; 3] = [Float::F32, Float::F16, Float::Bf16];

/// Rows of the samples: none, one, a block's worth, and more.
const LENGTHS: [usize; 6] = [5, 1, 0, 13, 4, 33];

/// An operand of a kernel, for a batch.
enum Operand {
    /// One row for each packed row; `matrix` says where a row's columns lie in its buffer.
    Rows(Vec<f64>, Matrix),
    /// One row a sample, dense.
    Samples(Vec<f64>),
    /// A weight.
    Weight(Vec<f64>),
    /// One id for each packed row.
    Ids(Vec<i32>),
}

/// A kernel and what it is given. All rows have `width` columns.
struct Case {
    kernel: Kernel,
    width: usize,
    operands: Vec<Operand>,
    /// Whether the output has one row a sample, and not one for each packed row.
    pooled: bool,
}

impl Case {
    fn source(&self, dtype: Float) -> Source {
        let dense = Matrix::dense(self.width as u32);
        let lie = |operand: &Operand| match operand {
            Operand::Rows(_, matrix) => *matrix,
            _ => dense,
        };
        let operands: Vec<_> = self.operands.iter().map(lie).collect();
        let site = Site { kernel: &self.kernel, dtype, operands: &operands, output: dense };
        let mut renderer = Renderer::new().unwrap();
        renderer.render(&site).unwrap();
        renderer.into_sources().remove(0)
    }

    /// The operands of some of the samples.
    fn of(&self, lengths: &[usize], samples: &[usize]) -> Self {
        let take = |data: &[f64], rows: &dyn Fn(usize) -> std::ops::Range<usize>| {
            let columns =
                |sample| rows(sample).flat_map(|row| row * self.width..(row + 1) * self.width);
            samples.iter().flat_map(|sample| columns(*sample)).map(|at| data[at]).collect()
        };
        let rows = |sample: usize| {
            let first: usize = lengths[..sample].iter().sum();
            first..first + lengths[sample]
        };
        let operands = self.operands.iter().map(|operand| match operand {
            Operand::Rows(data, matrix) => Operand::Rows(take(data, &rows), *matrix),
            Operand::Samples(data) => Operand::Samples(take(data, &|sample| sample..sample + 1)),
            Operand::Weight(data) => Operand::Weight(data.clone()),
            Operand::Ids(ids) => {
                Operand::Ids(samples.iter().flat_map(|s| rows(*s)).map(|row| ids[row]).collect())
            }
        });
        Self {
            kernel: self.kernel.clone(),
            width: self.width,
            operands: operands.collect(),
            pooled: self.pooled,
        }
    }

    /// The operands, with every number of one sample NaN.
    fn beside_nan(&self, lengths: &[usize], sample: usize) -> Self {
        let mut case = self.of(lengths, &(0..lengths.len()).collect::<Vec<_>>());
        let first: usize = lengths[..sample].iter().sum();
        for operand in &mut case.operands {
            let (data, rows) = match operand {
                Operand::Rows(data, _) => (data, first..first + lengths[sample]),
                Operand::Samples(data) => (data, sample..sample + 1),
                Operand::Weight(_) | Operand::Ids(_) => continue,
            };
            data[rows.start * case.width..rows.end * case.width].fill(f64::NAN);
        }
        case
    }

    /// Runs the case every way, and compares with `expected`, which gets the operands as the kernel sees them: rounded
    /// to the element type, in packed order.
    fn check(&self, dtype: Float, expected: impl Fn(&Case) -> Vec<f64>) {
        let source = self.source(dtype);
        let Some(device) = Device::new(&source) else { return };
        let label = format!("{} {:?}", source.symbol, self.kernel);
        let whole = device.run(self, &LENGTHS, dtype).out;

        let rounded = self.rounded(dtype);
        let expected = expected(&rounded);
        numbers::assert_near(&whole, &expected, dtype, &label);

        let samples: Vec<usize> = (0..LENGTHS.len()).collect();
        let rows = |sample: usize| match self.pooled {
            true => sample..sample + 1,
            false => {
                let first: usize = LENGTHS[..sample].iter().sum();
                first..first + LENGTHS[sample]
            }
        };
        let part = |sample| rows(sample).start * self.width..rows(sample).end * self.width;
        for sample in samples {
            let alone = device.run(&self.of(&LENGTHS, &[sample]), &[LENGTHS[sample]], dtype).out;
            assert_eq!(alone.bits(), whole.bits_of(part(sample)), "{label}: sample {sample} alone");
        }
        let poisoned = 3;
        let beside = device.run(&self.beside_nan(&LENGTHS, poisoned), &LENGTHS, dtype).out;
        for sample in (0..LENGTHS.len()).filter(|sample| *sample != poisoned) {
            let part = part(sample);
            let same = beside.bits_of(part.clone()) == whole.bits_of(part);
            assert!(same, "{label}: sample {sample} beside NaN");
        }
    }

    fn rounded(&self, dtype: Float) -> Self {
        let mut case = self.of(&LENGTHS, &(0..LENGTHS.len()).collect::<Vec<_>>());
        for operand in &mut case.operands {
            if let Operand::Rows(data, _) | Operand::Samples(data) | Operand::Weight(data) = operand
            {
                *data = Numbers::of(data, dtype).floats();
            }
        }
        case
    }

    /// Bytes of operand `n`.
    fn bytes(&self, n: usize, dtype: Float) -> u64 {
        match &self.operands[n] {
            Operand::Rows(data, _) | Operand::Samples(data) | Operand::Weight(data) => {
                data.len() as u64 * u64::from(dtype.bytes())
            }
            Operand::Ids(ids) => ids.len() as u64 * 4,
        }
    }

    /// Operand `n`'s numbers.
    fn numbers(&self, n: usize) -> &[f64] {
        match &self.operands[n] {
            Operand::Rows(data, _) | Operand::Samples(data) | Operand::Weight(data) => data,
            Operand::Ids(_) => panic!("operand {n} holds ids"),
        }
    }
}

/// How many packed rows the batch has.
fn packed() -> usize {
    LENGTHS.iter().sum()
}

/// Dense rows.
fn dense(data: Vec<f64>, width: usize) -> Operand {
    Operand::Rows(data, Matrix::dense(width as u32))
}
