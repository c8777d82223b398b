//! Edits of an input, byte by byte and piece by piece.

use bytec_ir::sample::Random;

/// Makes one to four edits: bytes left out, overwritten, copied elsewhere, or one of `pieces` put in.
pub(super) fn edit(bytes: &mut Vec<u8>, pieces: &[&str], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len().max(1));
        let part = |most: usize, random: &mut Random| {
            at..(at + 1 + random.below(most)).min(bytes.len()).max(at)
        };
        match random.below(4) {
            0 => {
                let part = part(8, random);
                bytes.drain(part);
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 32 + random.below(95) as u8;
                }
            }
            2 => {
                let piece = random.pick(pieces);
                bytes.splice(at..at, piece.bytes());
            }
            _ => {
                let copy = bytes[part(40, random)].to_vec();
                let to = random.below(bytes.len().max(1));
                bytes.splice(to..to, copy);
            }
        }
    }
}
