//! Every byte counts: flips, cuts, splices and lies are refused, each lie by its own error.

use bytec_plan::reader::PlanIndex;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::assemble::{self, MANIFEST, PROGRAM, TOKENIZER, WEIGHTS, assemble, parts, seal};
use crate::sample;

#[test]
fn every_flipped_bit_is_refused() {
    let good = sample::plan();
    let mut file = good.clone();
    for at in 0..good.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            file[at] ^= flip;
            assert!(PlanIndex::read(&file).is_err(), "byte {at} xor {flip}");
            file[at] = good[at];
        }
    }
    assert!(PlanIndex::read(&file).is_ok());
}

#[test]
fn every_cut_and_every_growth_is_refused() {
    let good = sample::plan();
    for length in 0..good.len() {
        assert!(PlanIndex::read(&good[..length]).is_err(), "{length} bytes");
    }
    for more in 1..600 {
        let mut file = good.clone();
        file.resize(good.len() + more, 0);
        assert!(PlanIndex::read(&file).is_err(), "{more} more bytes");
    }
}

proptest! {
    #[test]
    fn splices_are_refused(from in any::<usize>(), to in any::<usize>(), length in 1usize..400) {
        let good = sample::plan();
        let (from, to) = (from % good.len(), to % good.len());
        let length = length.min(good.len() - from.max(to));
        let mut file = good.clone();
        file.copy_within(from..from + length, to);
        prop_assert_eq!(PlanIndex::read(&file).is_ok(), file == good);
        let mut shorter = good.clone();
        shorter.drain(from..from + length);
        prop_assert!(PlanIndex::read(&shorter).is_err());
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..512), keep in 0usize..300) {
        let mut file = sample::plan();
        file.truncate(keep);
        file.extend(noise);
        prop_assert!(PlanIndex::read(&file).is_err());
    }

    /// A header may say anything under a right hash: reading it neither panics nor takes memory for it.
    #[test]
    fn sealed_lies_do_not_panic(at in 8usize..344, bytes in any::<[u8; 8]>()) {
        let mut file = sample::plan();
        file[at..at + 8].copy_from_slice(&bytes);
        if assemble::u32_at(&file, assemble::COUNT_AT) < 16 {
            file = seal(file);
        }
        let _ = PlanIndex::read(&file);
    }
}

/// The file is refused with this message.
fn refused(file: &[u8], message: Expect) {
    let error = PlanIndex::read(file).expect_err("the file is wrong");
    message.assert_eq(&error.to_string());
}

/// The sample with a field of the header or table changed, under a right hash.
fn sealed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = sample::plan();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    seal(file)
}

/// Where a field of an entry of the table is.
fn entry(index: usize, field: usize) -> usize {
    assemble::TABLE_AT + index * assemble::ENTRY + field
}

#[test]
fn files_that_are_no_plans() {
    let plan = sample::plan();
    refused(&[], expect! {"expected a plan, whose header alone has 64 bytes, found a file of 0"});
    refused(
        &plan[..63],
        expect! {"expected a plan, whose header alone has 64 bytes, found a file of 63"},
    );
    let mut file = plan.clone();
    file[..8].copy_from_slice(b"%PDF-1.7");
    refused(
        &file,
        expect! {"expected a plan, which begins with 89 62 79 74 65 63 0d 0a, found 25 50 44 46 2d 31 2e 37"},
    );
    refused(&plan[..1000], expect! {"the plan is cut off: expected 7684 bytes, found 1000"});
    let mut file = plan;
    file.push(0);
    refused(&file, expect! {"expected the plan to end after 7684 bytes, found 7685"});
}

#[test]
fn versions() {
    let two = 2u32.to_le_bytes();
    refused(
        &sealed(assemble::MIN_READER_AT, &two),
        expect! {"the plan has format 1 and needs a reader of at least 2, this one reads up to 1: update bytec, or compile the plan again"},
    );
    refused(
        &sealed(assemble::MIN_READER_AT, &[0]),
        expect! {"expected a format from 1 and its oldest reader no newer than it, found format 1, reader 0"},
    );
    refused(
        &sealed(assemble::FORMAT_AT, &[0]),
        expect! {"expected a format from 1 and its oldest reader no newer than it, found format 0, reader 1"},
    );
    // A later format that this reader still understands.
    let later = PlanIndex::read(&sealed(assemble::FORMAT_AT, &two)).unwrap();
    assert_eq!(later.format, 2);
}

#[test]
fn headers_and_tables() {
    refused(
        &sealed(assemble::RESERVED_AT, &[7]),
        expect! {"expected zero in the header's reserved field, found 7"},
    );
    let mut file = sample::plan();
    file[assemble::COUNT_AT..assemble::COUNT_AT + 4].fill(0xff);
    refused(
        &file,
        expect! {"expected at most 136 sections in a file of this size, found 4294967295"},
    );
    let mut file = sample::plan();
    file[40] ^= 1;
    refused(
        &file,
        expect! {"the header is damaged: expected BLAKE3 f8e93c0164f088519faec760d03b24d4cab1d828ddae0efef33db7e2c5a5d51c, found f8e93c0164f088519eaec760d03b24d4cab1d828ddae0efef33db7e2c5a5d51c"},
    );

    refused(
        &sealed(entry(0, 0), &[9]),
        expect! {"entry 0 of the section table: expected a kind from 1 to 4, found 9"},
    );
    refused(
        &sealed(entry(1, 4), &[1]),
        expect! {"entry 1 of the section table: expected index 0, found 1"},
    );
    refused(
        &sealed(entry(2, 0), &[1]),
        expect! {"entry 2 of the section table: expected one section `manifest`, found a second"},
    );
    refused(
        &sealed(entry(0, 16), &(65u64 << 20).to_le_bytes()),
        expect! {"manifest: expected at most 67108864 bytes, found 68157440"},
    );
    refused(
        &sealed(entry(1, 8), &256u64.to_le_bytes()),
        expect! {"program 0: expected to begin at byte 1024, found 256"},
    );
    refused(
        &sealed(entry(3, 16), &u64::MAX.to_le_bytes()),
        expect! {"weights: expected to end by byte 7684, found 18446744073709551615 bytes from byte 6144"},
    );
    refused(
        &sealed(entry(3, 16), &256u64.to_le_bytes()),
        expect! {"expected the last section to end the file at byte 7684, found its end at byte 6400"},
    );
}

#[test]
fn padding_and_sections() {
    let mut file = sample::plan();
    assert_eq!(file[300], 0, "padding between the table and the manifest");
    file[300] = 1;
    refused(&file, expect! {"expected zeros between sections, found 0x01 at byte 300"});

    let mut file = sample::plan();
    *file.last_mut().unwrap() ^= 1;
    refused(
        &file,
        expect! {"weights is damaged: expected BLAKE3 f012cc196491a91a6537ed6cc678f3a5b066c7deaedb6f6c5bddccf12af7dfa5, found 75370cc0eec7d66efb2482bc1eae55a2078634daef59cdad567aa59108162092"},
    );

    for (kind, message) in [
        (MANIFEST, expect! {"expected a section `manifest`, found none"}),
        (PROGRAM, expect! {"expected a section `program 0`, found none"}),
        (
            TOKENIZER,
            expect! {"the manifest says how texts become inputs: expected a section `tokenizer`, found none"},
        ),
        (WEIGHTS, expect! {"expected a section `weights`, found none"}),
    ] {
        let mut parts = parts(&sample::plan());
        parts.retain(|part| part.0 != kind);
        refused(&assemble(&parts), message);
    }
}

#[test]
fn json_and_programs() {
    let good = parts(&sample::plan());
    assert_eq!(assemble(&good), sample::plan(), "the format as the tests know it");

    let edit = |kind: u32, from: &str, to: &str| {
        let mut parts = good.clone();
        let part = parts.iter_mut().find(|part| part.0 == kind).unwrap();
        let text = String::from_utf8(part.2.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        part.2 = text.replacen(from, to, 1).into_bytes();
        assemble(&parts)
    };
    refused(
        &edit(MANIFEST, "\"front\"", "\"back\""),
        expect! {"manifest: missing field `front` at line 1 column 413"},
    );
    refused(
        &edit(PROGRAM, "\"layer_norm\"", "\"batch_norm\""),
        expect! {"program 0: unknown variant `batch_norm`, expected one of `embed`, `linear`, `linear_layer_norm`, `attention`, `rotary`, `layer_norm`, `rms_norm`, `l2_normalize`, `softmax`, `pool`, `unfold`, `concat`, `permute`, `join`, `pointwise` at line 1 column 3330"},
    );
    refused(
        &edit(PROGRAM, "\"symbols\":[", "\"symbols\":[["),
        expect! {"program 0: invalid type: map, expected a string at line 1 column 60"},
    );
    refused(
        &edit(PROGRAM, "\"output\":1", "\"output\":99"),
        expect! {"program `forward` for `cpu`: step 1 `qkv`: expected an index of buffers below 9, found 99"},
    );
    let deep = format!("\"extents\":[{}", "{\"ceil_div\":[".repeat(100_000));
    refused(
        &edit(PROGRAM, "\"extents\":[", &deep),
        expect! {"program 0: recursion limit exceeded at line 1 column 919"},
    );

    let mut twice = good.clone();
    twice.insert(2, (PROGRAM, 1, good[1].2.clone()));
    refused(
        &assemble(&twice),
        expect! {"expected one program for each entry and target, found two for `forward` on `cpu`"},
    );

    let mut unaligned = edit(PROGRAM, "\"offset\":256", "\"offset\":257");
    refused(
        &unaligned,
        expect! {"program `forward` for `cpu`: weight 1 `positions`: expected an offset that is a multiple of 256, found 257"},
    );
    unaligned = edit(PROGRAM, "\"offset\":256", "\"offset\":18446744073709551360");
    refused(
        &unaligned,
        expect! {"program `forward` for `cpu`: weight 1 `positions`: expected to end inside its section of 1540 bytes, found 128 bytes from 18446744073709551360"},
    );
}
