use super::parse;

const SMALL: &str = "\
bytec 1
symbol L in 1..=512
input %input_ids: i64[L]
input %token_type_ids: i64[L] = 0
weight @words: f32[120, 48]
weight @types: f32[2, 48]
weight @\"odd name\": f32[48, 48]
const %scale = 0.25
%ids: i64[L] = iota() {extent = L, start = 2}
%w: f32[L, 48] = gather(@words, %input_ids)
%t: f32[L, 48] = gather(@types, %token_type_ids)
%sum: f32[L, 48] = binary(%w, %t) {f = add}
%scaled: f32[L, 48] = binary(%sum, %scale) {f = mul}
%dense: f32[L, 48] = linear(%scaled, @\"odd name\") {epilogue = [gelu_erf, tanh]}
%heads: f32[L, 4, 12] = reshape(%dense) {shape = [L, 4, 12]}
%fused: f32[L, 48] = pointwise(%dense, %sum) {expr = add(x0, mul(x1, -0.5))}
%row: f32[48] = pool(%fused) {kind = mean, normalize = 1e-12}
output heads = %heads
output embedding = %row
";

#[test]
fn prints_what_it_reads() {
    let graph = parse(SMALL).unwrap();
    assert_eq!(graph.to_string(), SMALL);
    crate::verify::verify(&graph).unwrap();
}
