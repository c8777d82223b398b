//! The operations. Every variant says what it takes; the formulas are in `exec`.

use super::hopper::{MbarrierOp, PeerCopy, StoreAsync, Transfer, Wgmma};
use super::{Col, Guard, Ty};

/// Rounding of a result that has no exact value in its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// To nearest, ties to even (`.rn`, `.rni`).
    Nearest,
    /// To nearest, ties away from zero (`.rna`).
    Away,
    /// Toward zero (`.rz`, `.rzi`).
    Zero,
    /// Toward negative infinity (`.rm`, `.rmi`).
    Down,
    /// Toward positive infinity (`.rp`, `.rpi`).
    Up,
}

/// What the modifiers of a floating-point instruction say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloatMode {
    pub(crate) round: Round,
    /// Subnormal inputs and results become zeros of the same sign.
    pub(crate) ftz: bool,
    /// The result is clamped to [0, 1] and NaN becomes 0.
    pub(crate) sat: bool,
    /// Negative results and NaN become 0 (`.relu`, half types).
    pub(crate) relu: bool,
    /// min and max give NaN if either input is NaN.
    pub(crate) nan: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int1 {
    Neg,
    Abs,
    Not,
    Popc,
    Clz,
    Brev,
    Bfind { shift_amount: bool },
    Cnot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int2 {
    Add,
    AddSat,
    Sub,
    SubSat,
    MulLo,
    MulHi,
    MulWide,
    Div,
    Rem,
    Min,
    Max,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int3 {
    MadLo,
    MadHi,
    MadWide,
    Sad,
    Bfe,
    /// Three-input logic by table.
    Lop3(u8),
    Prmt(PrmtMode),
    /// Funnel shift: left or right, wrapping or clamping the amount.
    Shf {
        left: bool,
        wrap: bool,
    },
    Dp4a {
        a_signed: bool,
        b_signed: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrmtMode {
    Default,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float1 {
    Neg,
    Abs,
    /// Correctly rounded.
    Rcp,
    RcpApprox,
    /// Correctly rounded.
    Sqrt,
    SqrtApprox,
    RsqrtApprox,
    Ex2Approx,
    Lg2Approx,
    TanhApprox,
    SinApprox,
    CosApprox,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float2 {
    Add,
    Sub,
    Mul,
    /// Correctly rounded.
    Div,
    DivApprox,
    DivFull,
    Min,
    Max,
    Copysign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Unordered forms: true if either input is NaN.
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    /// Neither is NaN.
    Num,
    /// Either is NaN.
    Nan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bool {
    And,
    Or,
    Xor,
}

/// A predicate that a comparison's result is combined with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Combine {
    pub(crate) op: Bool,
    pub(crate) pred: Col,
    pub(crate) negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// `cvt` of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Convert {
    pub(crate) to: Ty,
    pub(crate) from: Ty,
    pub(crate) round: Option<Round>,
    pub(crate) ftz: bool,
    pub(crate) sat: bool,
    pub(crate) relu: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    /// The block's own shared memory.
    Shared,
    /// That of all blocks of its cluster.
    Cluster,
    Local,
    Param,
    Const,
}

/// `[base + offset]`; the base column is 32 or 64 bits wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) base: Col,
    pub(crate) wide: bool,
    pub(crate) offset: i64,
}

/// One element of a load's or a store's vector; `None` where a load throws it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) col: Option<Col>,
    pub(crate) wide: bool,
}

/// A load or a store.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) space: Space,
    /// Type of one element in memory.
    pub(crate) ty: Ty,
    pub(crate) elements: Box<[Element]>,
    pub(crate) address: Address,
    /// `.nc`: a load of what nothing writes while the kernel runs.
    pub(crate) constant: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Inc,
    Dec,
    Cas,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Atom {
    pub(crate) op: AtomOp,
    pub(crate) space: Space,
    pub(crate) ty: Ty,
    /// None for `red`.
    pub(crate) target: Option<Col>,
    pub(crate) address: Address,
    pub(crate) b: Col,
    /// The new value of `cas`.
    pub(crate) c: Col,
}

/// `cp.async`: bytes from global to shared memory, the rest of the piece zero-filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpAsync {
    pub(crate) shared: Address,
    pub(crate) global: Address,
    /// Size of the piece: 4, 8 or 16.
    pub(crate) bytes: u32,
    /// How many bytes are read, if not all.
    pub(crate) source_bytes: Option<Col>,
    /// Where set nothing is read and the piece is zeroed.
    pub(crate) ignore: Option<Guard>,
}

/// A tensor-core product with f32 accumulators: `d[16][8] = a[16][k] b[k][8] + c[16][8]`.
#[derive(Clone, Debug)]
pub(crate) struct Mma {
    /// F16, Bf16 or Tf32.
    pub(crate) ty: Ty,
    pub(crate) k: u32,
    pub(crate) d: [Col; 4],
    pub(crate) a: Box<[Col]>,
    pub(crate) b: Box<[Col]>,
    pub(crate) c: [Col; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShflMode {
    Up,
    Down,
    Bfly,
    Idx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uni,
    Ballot,
}

/// A shuffle within a warp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shfl {
    pub(crate) mode: ShflMode,
    pub(crate) d: Col,
    /// Gets whether the source lane was in range.
    pub(crate) in_range: Option<Col>,
    pub(crate) a: Col,
    pub(crate) b: Col,
    pub(crate) c: Col,
    pub(crate) members: Col,
}

/// What an instruction does.
#[derive(Debug)]
pub(crate) enum Op {
    /// Has no effect on values: hints, fences (blocks don't run side by side in time), the number of registers, and the
    /// order of launches, which run one after the other.
    Nop,
    Mov {
        wide: bool,
        d: Col,
        a: Col,
    },
    /// Registers of `bits` each into one of 32 or 64, the first one lowest.
    Pack {
        wide: bool,
        bits: u32,
        d: Col,
        parts: Box<[Col]>,
    },
    Unpack {
        wide: bool,
        bits: u32,
        parts: Box<[Option<Col>]>,
        a: Col,
    },
    PredSet {
        d: Col,
        value: bool,
    },
    PredMov {
        d: Col,
        a: Col,
    },
    PredNot {
        d: Col,
        a: Col,
    },
    PredLogic {
        op: Bool,
        d: Col,
        a: Col,
        b: Col,
    },
    Int1 {
        op: Int1,
        ty: Ty,
        d: Col,
        a: Col,
    },
    Int2 {
        op: Int2,
        ty: Ty,
        d: Col,
        a: Col,
        b: Col,
    },
    Int3 {
        op: Int3,
        ty: Ty,
        d: Col,
        a: Col,
        b: Col,
        c: Col,
    },
    Bfi {
        wide: bool,
        d: Col,
        a: Col,
        b: Col,
        at: Col,
        len: Col,
    },
    Float1 {
        op: Float1,
        ty: Ty,
        mode: FloatMode,
        d: Col,
        a: Col,
    },
    Float2 {
        op: Float2,
        ty: Ty,
        mode: FloatMode,
        d: Col,
        a: Col,
        b: Col,
    },
    Fma {
        ty: Ty,
        mode: FloatMode,
        d: Col,
        a: Col,
        b: Col,
        c: Col,
    },
    Setp {
        compare: Compare,
        ty: Ty,
        ftz: bool,
        combine: Option<Combine>,
        d: Col,
        other: Option<Col>,
        a: Col,
        b: Col,
    },
    Set {
        compare: Compare,
        to: Ty,
        ty: Ty,
        ftz: bool,
        d: Col,
        a: Col,
        b: Col,
    },
    Selp {
        wide: bool,
        d: Col,
        a: Col,
        b: Col,
        p: Col,
        negated: bool,
    },
    Slct {
        wide: bool,
        float: bool,
        ftz: bool,
        d: Col,
        a: Col,
        b: Col,
        c: Col,
    },
    Testp {
        test: Test,
        wide: bool,
        d: Col,
        a: Col,
    },
    Convert {
        convert: Convert,
        d: Col,
        a: Col,
    },
    /// Two f32 into one packed register; `a` goes to the upper half.
    ConvertPair {
        convert: Convert,
        d: Col,
        a: Col,
        b: Col,
    },
    /// Adds the base of a space's window in generic addresses.
    ToGeneric {
        space: Space,
        d: Col,
        a: Col,
    },
    /// Takes it away.
    FromGeneric {
        space: Space,
        wide: bool,
        d: Col,
        a: Col,
    },
    Load(Access),
    Store(Access),
    Atom(Atom),
    CpAsync(CpAsync),
    CpCommit,
    /// Waits until at most so many of the newest groups are in flight.
    CpWait {
        pending: u32,
    },
    CpWaitAll,
    Transfer(Transfer),
    PeerCopy(PeerCopy),
    StoreAsync(Box<StoreAsync>),
    TransferCommit,
    /// Waits until at most so many of the newest groups of bulk copies are in flight, or still read their sources.
    TransferWait {
        pending: u32,
        reads: bool,
    },
    LdMatrix {
        d: Box<[Col]>,
        transposed: bool,
        address: Address,
    },
    /// Stores 8x8 matrices of 16 bits whose rows' addresses the lanes give.
    StMatrix {
        from: Box<[Col]>,
        transposed: bool,
        address: Address,
    },
    MovMatrix {
        d: Col,
        a: Col,
    },
    Mma(Mma),
    Wgmma(Box<Wgmma>),
    WgmmaFence,
    WgmmaCommit,
    /// Waits until at most so many of the newest groups of products are under way.
    WgmmaWait {
        pending: u32,
    },
    Shfl(Shfl),
    Vote {
        mode: VoteMode,
        d: Col,
        p: Col,
        negated: bool,
        members: Col,
    },
    MatchAny {
        wide: bool,
        d: Col,
        a: Col,
        members: Col,
    },
    MatchAll {
        wide: bool,
        d: Col,
        all: Option<Col>,
        a: Col,
        members: Col,
    },
    Redux {
        op: AtomOp,
        ty: Ty,
        d: Col,
        a: Col,
        members: Col,
    },
    ActiveMask {
        d: Col,
    },
    BarSync {
        id: Col,
        count: Option<Col>,
    },
    BarArrive {
        id: Col,
        count: Col,
    },
    BarWarp {
        members: Col,
    },
    Mbarrier(MbarrierOp),
    /// Makes writes visible to the async proxy; or only that mbarriers were initialised.
    ProxyFence {
        mbarriers: bool,
    },
    /// Waits for the launches that this one overlaps with.
    WaitForLaunches,
    /// Arrives at the barrier of the cluster; a relaxed arrival orders nothing.
    ClusterArrive {
        release: bool,
        aligned: bool,
    },
    ClusterWait {
        aligned: bool,
    },
    /// The address, in the shared memory of the block of a rank, of what lies there in the own block's.
    MapAddress {
        wide: bool,
        d: Col,
        a: Col,
        rank: Col,
    },
    /// The rank of the block in whose shared memory an address lies.
    RankOf {
        wide: bool,
        d: Col,
        a: Col,
    },
    Elect {
        d: Option<Col>,
        leader: Col,
        members: Col,
    },
    Bra {
        target: u32,
    },
    Exit,
    Trap,
}
