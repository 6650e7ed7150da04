//! Where results go that come back from the device: live frames side by side, into the chunks that they belong to.

use std::ops::Range;

use crate::recording::results::Chunk;
use crate::recording::{Place, Recording};

/// Where the results of all live frames go: a run of live frames for each chunk.
pub(super) struct ResultPlaces<'a> {
    /// Live frames before each chunk, then all of them.
    starts: Vec<usize>,
    /// For each chunk, for each place.
    places: Vec<Vec<&'a mut [f32]>>,
    /// Floats per frame of each place.
    floats: Vec<usize>,
}

impl<'a> ResultPlaces<'a> {
    pub(super) fn new(recording: &Recording, chunks: &'a mut [Chunk<'_>], live: impl Iterator<Item = usize>) -> Self {
        let mut starts = vec![0];
        let mut places = Vec::new();
        for (chunk, live) in chunks.iter_mut().zip(live) {
            starts.push(starts[starts.len() - 1] + live);
            let span = chunk.frames.clone();
            places.push(chunk.room(&span, live));
        }
        let mut floats: Vec<(usize, usize)> = recording
            .buffers
            .iter()
            .filter_map(|spec| match spec.place {
                Place::Output(place) => Some((place, spec.shape.floats())),
                Place::Shared(_) => None,
            })
            .collect();
        floats.sort_unstable();
        Self { starts, places, floats: floats.into_iter().map(|(_, floats)| floats).collect() }
    }

    /// Puts the results of `units`, which lie side by side in `source`, where they go.
    pub(super) fn fill(&mut self, place: usize, units: Range<usize>, source: &[f32]) {
        let len = self.floats[place];
        let mut chunk = self.starts.partition_point(|start| *start <= units.start) - 1;
        let mut unit = units.start;
        while unit < units.end {
            let end = units.end.min(self.starts[chunk + 1]);
            let (from, to) = (unit - self.starts[chunk], end - self.starts[chunk]);
            let piece = &source[(unit - units.start) * len..(end - units.start) * len];
            self.places[chunk][place][from * len..to * len].copy_from_slice(piece);
            unit = end;
            chunk += 1;
        }
    }
}
