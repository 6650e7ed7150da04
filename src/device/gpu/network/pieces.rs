//! How a call is cut into pieces that fit: some channels of one bank, by some hops.

use std::ops::Range;

use crate::stage::denoise::kernel::Extent;

/// A part of a call that is submitted at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bank: usize,
    /// Indices into the channels of the call.
    pub(super) slots: Range<usize>,
    pub(super) hops: Range<usize>,
}

impl Piece {
    pub(super) fn rows(&self) -> usize {
        self.slots.len() * self.hops.len()
    }

    pub(super) fn extent(&self) -> Extent {
        extent(self.slots.len(), self.hops.len())
    }
}

/// So many channels by so many hops.
pub(super) fn extent(channels: usize, hops: usize) -> Extent {
    let word = |value| u32::try_from(value).unwrap_or(u32::MAX);
    Extent { rows: word(channels * hops), channels: word(channels), hops: word(hops) }
}

/// Pieces of at most `most_rows` rows and `most_hops` hops; those of the same channels come in the order of their hops.
pub(super) fn cut(
    channels: &[u32],
    hops: usize,
    bank_len: usize,
    most_rows: usize,
    most_hops: usize,
) -> impl Iterator<Item = Piece> {
    let bank_of = move |slot: usize| channels[slot] as usize / bank_len;
    let mut groups: Vec<(usize, Range<usize>)> = Vec::new();
    for slot in 0..channels.len() {
        let bank = bank_of(slot);
        match groups.last_mut() {
            Some((last, slots)) if *last == bank && slots.len() < most_rows => slots.end = slot + 1,
            _ => groups.push((bank, slot..slot + 1)),
        }
    }
    groups.into_iter().flat_map(move |(bank, slots)| {
        let at_once = (most_rows / slots.len()).clamp(1, most_hops);
        let starts = (0..hops).step_by(at_once);
        starts.map(move |first| Piece { bank, slots: slots.clone(), hops: first..(first + at_once).min(hops) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_and_cover_the_call_in_order() {
        let piece = |bank, slots, hops| Piece { bank, slots, hops };
        let cut = |channels: &[u32], hops, bank_len, most_rows, most_hops| {
            cut(channels, hops, bank_len, most_rows, most_hops).collect::<Vec<_>>()
        };
        assert_eq!(cut(&[], 5, 4, 8, 8), [], "no channels");
        assert_eq!(cut(&[1, 3], 0, 4, 8, 8), [], "no hops");
        assert_eq!(cut(&[1, 3], 4, 4, 8, 8), [piece(0, 0..2, 0..4)]);
        assert_eq!(cut(&[1, 3], 5, 4, 8, 8), [piece(0, 0..2, 0..4), piece(0, 0..2, 4..5)]);
        assert_eq!(cut(&[1, 3], 3, 4, 8, 2), [piece(0, 0..2, 0..2), piece(0, 0..2, 2..3)]);
        assert_eq!(cut(&[1, 3, 4, 9], 1, 4, 8, 8), [piece(0, 0..2, 0..1), piece(1, 2..3, 0..1), piece(2, 3..4, 0..1)]);
        let many: Vec<u32> = (0..10).collect();
        let pieces = cut(&many, 2, 100, 4, 8);
        assert_eq!(pieces[..3], [piece(0, 0..4, 0..1), piece(0, 0..4, 1..2), piece(0, 4..8, 0..1)]);
        assert_eq!(pieces.iter().map(Piece::rows).sum::<usize>(), 20);
    }
}
