//! Machine code, looked at before the library gets it.

/// Whether bytes are an ELF file whose table of sections, the last thing that a cubin holds, lies within them. The
/// library takes an address without a length.
pub(super) fn is_whole_elf(bytes: &[u8]) -> bool {
    let number = |at: usize, size: usize| {
        let field = bytes.get(at..at + size)?;
        Some(field.iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte)))
    };
    let end = || {
        let (offset, size, count) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?);
        offset.checked_add(size * count)
    };
    bytes.starts_with(b"\x7fELF\x02\x01") && end().is_some_and(|end| end <= bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::is_whole_elf;

    #[test]
    fn machine_code_that_was_cut_is_not_given_to_the_library() {
        let mut elf = vec![0; 128];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[0x28], elf[0x3a], elf[0x3c]) = (64, 32, 2);
        assert!(is_whole_elf(&elf));
        for end in 0..elf.len() {
            assert!(!is_whole_elf(&elf[..end]), "{end}");
        }
        elf[0x28..0x30].fill(0xff);
        assert!(!is_whole_elf(&elf));
    }
}
