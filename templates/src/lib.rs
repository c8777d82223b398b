//! The CUDA templates, as text: one for each kernel, and the library that they include.
//!
//! This crate only carries the files; the compiler's `render` stage fills them in. `README.md` beside it says how they
//! are written.

/// A file of the template tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path below `templates/`, such as `kernels/softmax.cu.tera`; includes name it so.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! files {
    ($($name:literal,)*) => {
        &[$(File { name: $name, text: include_str!(concat!("../", $name)) }),*]
    };
}

/// One template for each kernel.
pub const KERNELS: &[File] = files! {
    "kernels/attention.cu.tera",
    "kernels/attention_f32.cu.tera",
    "kernels/attention_wgmma.cu.tera",
    "kernels/concat.cu.tera",
    "kernels/embed.cu.tera",
    "kernels/feed_forward.cu.tera",
    "kernels/join.cu.tera",
    "kernels/l2_normalize.cu.tera",
    "kernels/layer_norm.cu.tera",
    "kernels/linear.cu.tera",
    "kernels/linear_layer_norm.cu.tera",
    "kernels/linear_wgmma.cu.tera",
    "kernels/permute.cu.tera",
    "kernels/pointwise.cu.tera",
    "kernels/pool.cu.tera",
    "kernels/rms_norm.cu.tera",
    "kernels/rotary.cu.tera",
    "kernels/softmax.cu.tera",
    "kernels/unfold.cu.tera",
};

/// Plain CUDA that the templates include.
pub const LIBRARY: &[File] = files! {
    "lib/types.cuh",
    "lib/overlap.cuh",
    "lib/math.cuh",
    "lib/reduce.cuh",
    "lib/row.cuh",
    "lib/shared.cuh",
    "lib/copy.cuh",
    "lib/tile.cuh",
    "lib/mma.cuh",
    "lib/warp_tile.cuh",
    "lib/softmax.cuh",
    "lib/weights.cuh",
    "lib/distance.cuh",
    "lib/rotary.cuh",
    "lib/mbarrier.cuh",
    "lib/ring.cuh",
    "lib/cluster.cuh",
    "lib/split_rows.cuh",
    "lib/tensor_copy.cuh",
    "lib/bulk_store.cuh",
    "lib/warpgroup.cuh",
    "lib/panels.cuh",
    "lib/diagonals.cuh",
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{KERNELS, LIBRARY};

    #[test]
    fn every_file_is_in_the_tables() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut on_disk = BTreeSet::new();
        for folder in ["kernels", "lib"] {
            for entry in std::fs::read_dir(root.join(folder)).expect("the folder can be listed") {
                let name = entry.expect("the entry can be read").file_name();
                on_disk.insert(format!("{folder}/{}", name.to_string_lossy()));
            }
        }
        let listed = KERNELS.iter().chain(LIBRARY).map(|file| file.name.to_owned()).collect();
        assert_eq!(on_disk, listed);
    }

    #[test]
    fn every_kernel_waits_for_the_launches_before_it() {
        for file in KERNELS {
            let calls = |call: &str| file.text.matches(call).count();
            let both = calls("overlap_launches();");
            let apart = (calls("let_next_begin();"), calls("wait_for_launches_before();"));
            assert!(both == 1 || apart.0 == 1 && apart.1 > 0, "{}", file.name);
        }
    }

    #[test]
    fn the_library_is_plain_cuda() {
        for file in LIBRARY {
            for tag in ["<%", "%>", "<$", "$>", "<#", "#>"] {
                assert!(!file.text.contains(tag), "{} holds {tag}", file.name);
            }
        }
    }

    #[test]
    fn files_begin_with_prose_end_with_a_newline_and_stay_short() {
        for file in KERNELS.iter().chain(LIBRARY) {
            assert!(file.text.starts_with("// "), "{} begins without prose", file.name);
            assert!(file.text.ends_with('\n'), "{} ends without a newline", file.name);
            for (at, line) in file.text.lines().enumerate() {
                assert!(line.len() <= 120, "{}:{}: longer than 120", file.name, at + 1);
            }
        }
    }
}
