//! Reshapes and transposes that undo one another leave nothing.

use bytec_ir::builder::Builder;
use bytec_ir::dim::Dim;
use bytec_ir::types::{DType, TensorType};

use super::super::view::{Step, View};
use crate::sketch::{n, s};

fn of(shape: &[Dim]) -> View {
    let mut builder = Builder::new();
    let id = builder.input("x", TensorType::new(DType::F32, shape.iter().cloned()), None);
    View::of(id, shape)
}

#[test]
fn heads_split_and_put_together_again_are_what_they_were() {
    let rows = of(&[s(), n(48)]);
    let split = rows.reshaped(&[s(), n(4), n(12)]).unwrap().transposed(&[1, 0, 2]);
    assert_eq!(split.shape(), [n(4), s(), n(12)]);
    let reshape = Step::Reshape(vec![s(), n(4), n(12)]);
    assert_eq!(split.steps(), [reshape, Step::Transpose(vec![1, 0, 2])]);
    let back = split.transposed(&[1, 0, 2]).reshaped(&[s(), n(48)]).unwrap();
    assert!(back.bare().is_some());
    let folded = rows.reshaped(&[n(1), s(), n(2), n(24)]).unwrap();
    assert!(folded.reshaped(&[s(), n(48)]).unwrap().bare().is_some());
}

#[test]
fn an_image_in_patches_is_one_transpose_whatever_the_way() {
    let image = of(&[n(3), n(40), n(40)]);
    let patches = image.reshaped(&[n(3), n(5), n(8), n(5), n(8)]).unwrap();
    let patches = patches.transposed(&[1, 3, 0, 2, 4]);
    let rows = patches.reshaped(&[n(25), n(192)]).unwrap();
    assert_eq!(rows.steps().len(), 3);
    // Cut at other places than the axes were: 25 rows of 192 as 75 of 64.
    assert_eq!(rows.reshaped(&[n(75), n(64)]).unwrap().shape(), [n(75), n(64)]);
    // 50 is no product of some of the extents beside each other.
    assert!(rows.reshaped(&[n(50), n(96)]).is_none());
}

#[test]
fn extents_that_are_sums_split_where_they_were_joined() {
    let rows = of(&[s() + n(1), n(6)]);
    let turned = rows.transposed(&[1, 0]);
    let flat = turned.reshaped(&[n(6) * s() + n(6)]).unwrap();
    let back = flat.reshaped(&[n(6), s() + n(1)]).unwrap().transposed(&[1, 0]);
    assert!(back.bare().is_some());
}
