//! Recording: while it is on for a thread, every op of that thread keeps its operands, and what an op graph can't hold
//! (writes in place, values read by the host) is listed as events. Tensors that no op made are listed too, in the order
//! in which they were made.
//!
//! Of an operand that an op made only the record is kept, not the elements: a run takes as much memory as it does where
//! nothing is recorded.
use crate::{op::CmpOp, Result, Shape, Tensor};
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::panic::Location;

/// Something that the op graph can't hold.
#[derive(Clone)]
pub struct Event {
    /// The tensor that was read or written.
    pub tensor: Tensor,
    /// The method that did it.
    pub method: &'static str,
    /// True if elements were overwritten, false if they were read by the host.
    pub writes: bool,
    /// Where the method was called.
    pub place: &'static Location<'static>,
}

/// An op without backward support.
#[derive(Clone)]
pub struct Opaque {
    /// The operands in order.
    pub args: Vec<Tensor>,
    /// What the op calls itself.
    pub name: &'static str,
    /// The type that implements it, with its path.
    pub type_name: &'static str,
    params: Vec<MaybeUninit<u8>>,
}

impl Opaque {
    pub(crate) fn new<C>(args: Vec<Tensor>, name: &'static str, op: &C) -> Self {
        let start = std::ptr::from_ref(op).cast::<MaybeUninit<u8>>();
        // SAFETY: any value may be read as bytes that may be uninitialised.
        let bytes = unsafe { std::slice::from_raw_parts(start, size_of::<C>()) };
        Self { args, name, type_name: std::any::type_name::<C>(), params: bytes.to_vec() }
    }

    pub(crate) fn compare(args: Vec<Tensor>, op: CmpOp) -> Self {
        let name = match op {
            CmpOp::Eq => "eq",
            CmpOp::Ne => "ne",
            CmpOp::Le => "le",
            CmpOp::Ge => "ge",
            CmpOp::Lt => "lt",
            CmpOp::Gt => "gt",
        };
        Self { args, name, type_name: "compare", params: Vec::new() }
    }

    pub(crate) fn index_of(arg: Tensor, name: &'static str, dim: usize) -> Self {
        let params = dim.to_ne_bytes().map(MaybeUninit::new).to_vec();
        Self { args: vec![arg], name, type_name: "index", params }
    }

    /// The eps of candle-nn's norms, which is the only field of their ops; `None` for any other op.
    pub fn eps(&self) -> Option<f32> {
        if !matches!(self.type_name, "candle_nn::ops::LayerNorm" | "candle_nn::ops::RmsNorm") {
            return None;
        }
        let bytes: [MaybeUninit<u8>; 4] = self.params.as_slice().try_into().ok()?;
        // SAFETY: these types are one f32, so all four bytes are initialised.
        Some(f32::from_ne_bytes(bytes.map(|byte| unsafe { byte.assume_init() })))
    }
}

/// What happened while a thread recorded.
#[derive(Default)]
pub struct Record {
    /// Writes and reads.
    pub events: Vec<Event>,
    /// Tensors that no op made.
    pub made: Vec<Tensor>,
    /// The shape of a product that was larger than allowed. The run ended there.
    pub too_large: Option<Shape>,
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static MOST: Cell<usize> = const { Cell::new(usize::MAX) };
    static RECORD: RefCell<Record> = const { RefCell::new(Record { events: Vec::new(), made: Vec::new(), too_large: None }) };
}

/// Starts recording on this thread. A matrix product of more than `most` elements is an error.
pub fn start(most: usize) {
    RECORD.take();
    MOST.set(most);
    ON.set(true);
}

/// Ends recording on this thread, and gives what happened since its start.
pub fn stop() -> Record {
    ON.set(false);
    RECORD.take()
}

/// Whether this thread records.
pub fn is_on() -> bool {
    ON.get()
}

#[track_caller]
pub(crate) fn event(tensor: &Tensor, method: &'static str, writes: bool) {
    if is_on() {
        let place = Location::caller();
        let event = Event { tensor: operand(tensor), method, writes, place };
        RECORD.with_borrow_mut(|record| record.events.push(event));
    }
}

/// Lists a tensor that no op made.
pub(crate) fn made(tensor: &Tensor) {
    if is_on() && tensor.op().is_none() {
        RECORD.with_borrow_mut(|record| record.made.push(tensor.clone()));
    }
}

/// A tensor as the ops that take it keep it.
pub(crate) fn operand(tensor: &Tensor) -> Tensor {
    match is_on() && tensor.op().is_some() {
        true => tensor.without_elements(),
        false => tensor.clone(),
    }
}

/// Refuses a product of this shape if it is too large.
pub(crate) fn product(shape: &Shape) -> Result<()> {
    if is_on() && shape.elem_count() > MOST.get() {
        RECORD.with_borrow_mut(|record| record.too_large = Some(shape.clone()));
        crate::bail!("a product {shape:?} is larger than this run may make")
    }
    Ok(())
}
