//! Spectral filtering on the CPU: forward transform, multiply by a real response, inverse.
//!
//! ```text
//! windows --load, transpose, first pass--> passes --> response --> passes back --last pass,
//! transpose, store--> out
//! ```
//!
//! As many windows as a vector has lanes are transformed at once, window i in lane i. No operation
//! crosses lanes, so a window's result does not depend on its neighbours, to the bit. Decimation in
//! frequency forward and in time back: the bins need never be put in order. The first pass is done
//! tile by tile while loading and the last one while storing; after the wide passes the rest runs
//! in leaves that fit the L1 cache, each leaf with the one that holds its bins' mirror images.
//!
//! All scaling happens here: a response of 1 everywhere gives the windows back.

mod butterfly;

mod pass;

mod response;

#[cfg(test)]
mod tests;

use crate::frame::Domain;
use crate::memory::HostBuffer;
use crate::simd::{Simd, SimdLevel, Vector, Work};
use butterfly::Bin;
use pass::Pass;
pub(crate) use pass::reverse_bits;
use response::{Functions, Layout, LeafPair, Response};
use std::ops::Range;

/// The size of a window: `rows * cols` samples in row-major order.
///
/// Both are powers of two, `cols >= 2`, and their product is 64 to 4096. A window of a
/// one-dimensional signal has one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowShape {
    /// Rows; 1 for a one-dimensional signal.
    pub rows: usize,
    /// Samples per row.
    pub cols: usize,
    /// Real or complex samples.
    pub domain: Domain,
}

/// The grid of complex numbers that a window is read as.
#[derive(Clone, Copy, Debug)]
struct Axes {
    rows: usize,
    columns: usize,
}

/// The spectral powers of a window, of its plain sum transform `X[k] = sum x[n] exp(-2 pi i k n/N)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Power {
    /// Sum of `weight * |X|^2` over all N bins.
    pub weighted: f32,
    /// Sum of `|X|^2` over all N bins: N times the sum of `|x|^2`.
    pub total: f32,
}

/// Filters windows of one shape with one response.
///
/// Immutable and shared between threads; each thread brings its own [`Scratch`].
#[derive(Debug)]
pub(crate) struct SpectralFilter {
    shape: WindowShape,
    level: SimdLevel,
    /// All passes. The first one runs while loading, its inverse while storing.
    passes: Vec<Pass>,
    /// What is done in between.
    steps: Vec<Step>,
    response: Response,
}

/// A step on a stretch of positions. A list of steps instead of nested loops: each kind of pass is
/// then compiled once per instruction set, not once per loop.
#[derive(Debug)]
enum Step {
    Forward(Stretch),
    Respond(LeafPair),
    Inverse(Stretch),
}

/// Some passes on some positions.
#[derive(Debug)]
struct Stretch {
    passes: Range<usize>,
    positions: Range<usize>,
}

/// Working memory of one thread. Holds rubbish between calls; suits any filter.
#[derive(Debug)]
pub(crate) struct Scratch {
    floats: HostBuffer,
}

impl WindowShape {
    /// Samples per window.
    pub(crate) fn samples(self) -> usize {
        self.rows * self.cols
    }

    /// Floats per window.
    pub(crate) fn floats(self) -> usize {
        match self.domain {
            Domain::Real => self.samples(),
            Domain::Complex => 2 * self.samples(),
        }
    }

    /// Whether a [`SpectralFilter`] can be made for it.
    pub(crate) fn is_supported(self) -> bool {
        let powers_of_two = self.rows.is_power_of_two() && self.cols.is_power_of_two();
        let samples = self.rows.checked_mul(self.cols);
        powers_of_two && self.cols >= 2 && samples.is_some_and(|samples| (64..=4096).contains(&samples))
    }

    fn axes(self) -> Axes {
        let columns = match self.domain {
            Domain::Real => self.cols / 2,
            Domain::Complex => self.cols,
        };
        Axes { rows: self.rows, columns }
    }
}

/// Bytes of a leaf: two of them, and their tables, fit the smallest L1 cache (32 KiB).
const LEAF_BYTES: usize = 8 << 10;

impl SpectralFilter {
    /// A filter that multiplies each bin by `response(row frequency, column frequency)`.
    ///
    /// Frequencies are absolute, in cycles per sample: 0 to 0.5. `weight` is that of
    /// [`Power::weighted`]; without it, the response is its own weight.
    ///
    /// # Panics
    /// If `shape` is not supported; see [`WindowShape::is_supported`].
    pub(crate) fn new(
        shape: WindowShape,
        level: SimdLevel,
        response: impl Fn(f64, f64) -> f64,
        weight: Option<&dyn Fn(f64, f64) -> f64>,
    ) -> Self {
        assert!(shape.is_supported(), "unsupported window: {shape:?}");
        let axes = shape.axes();
        let lanes = level.lanes();
        let mut passes = pass::plan(axes.rows, axes.columns, level.max_radix(), lanes / 2);
        // Without padding, equal places of the legs fall into the same few sets of the L1 cache.
        passes[0].pad_legs(lanes / 2);
        let max_leaf = LEAF_BYTES / (lanes * size_of::<[f32; 2]>());
        let wide = passes[1..].iter();
        let wide = 1 + wide.take_while(|pass| pass.block_len() > max_leaf).count();
        let layout = Layout { first_pass: &passes[0], leaf_len: passes.get(wide).map_or(1, Pass::block_len) };
        let functions = Functions { response: &response, weight: weight.unwrap_or(&response) };
        let (response, leaves) = Response::plan(shape, &layout, &functions);
        Self { shape, level, steps: plan_steps(&passes, wide, leaves), passes, response }
    }

    /// The shape of the windows.
    #[cfg(test)]
    pub(crate) fn shape(&self) -> WindowShape {
        self.shape
    }

    /// Working memory for one thread.
    pub(crate) fn scratch(&self) -> Scratch {
        Scratch { floats: HostBuffer::zeroed(self.scratch_len()) }
    }

    fn scratch_len(&self) -> usize {
        self.passes[0].block_len() * 2 * self.level.lanes()
    }

    /// Filters each window and writes the floats `keep` of each result to `out`, one after another.
    ///
    /// A window's result and powers are the same to the bit whatever the other windows are.
    /// Relative error (L2, per window): about 2e-7. A NaN or an infinity spoils its own window only.
    ///
    /// # Panics
    /// If a window is not `shape().floats()` long, `keep` is not an even-aligned range inside a
    /// window, `out.len() != windows.len() * keep.len()`, or `powers` has another length than
    /// `windows`.
    pub(crate) fn process(
        &self,
        scratch: &mut Scratch,
        windows: &[&[f32]],
        keep: Range<usize>,
        out: &mut [f32],
        powers: Option<&mut [Power]>,
    ) {
        self.check(windows, &keep, out, powers.as_deref());
        if scratch.floats.len() < self.scratch_len() {
            scratch.floats.resize(self.scratch_len());
        }
        let run = Run { filter: self, floats: &mut scratch.floats[..self.scratch_len()], windows, keep, out, powers };
        self.level.run(run);
    }

    fn check(&self, windows: &[&[f32]], keep: &Range<usize>, out: &[f32], powers: Option<&[Power]>) {
        let floats = self.shape.floats();
        let right_len = windows.iter().all(|window| window.len() == floats);
        assert!(right_len, "each window should have {floats} floats");
        let inside = keep.start <= keep.end && keep.end <= floats;
        let even = keep.start.is_multiple_of(2) && keep.end.is_multiple_of(2);
        assert!(inside && even, "keep should be whole pairs: {keep:?}");
        let expected = windows.len() * keep.len();
        assert_eq!(out.len(), expected, "out should hold what is kept");
        if let Some(powers) = powers {
            assert_eq!(powers.len(), windows.len(), "one power per window");
        }
    }
}

/// The steps between loading and storing: the wide passes, leaf by leaf the others, and back.
fn plan_steps(passes: &[Pass], wide: usize, leaves: Vec<LeafPair>) -> Vec<Step> {
    let (first_pass, all) = (&passes[0], passes.len());
    let stretch = |passes: Range<usize>, start: usize, len: usize| Stretch { passes, positions: start..start + len };
    let legs = if wide > 1 { first_pass.radix() } else { 0 };
    let legs = (0..legs).map(|leg| leg * first_pass.leg_stride());
    let over_leg = |start| stretch(1..wide, start, first_pass.span());
    let over_leaf = |start, len| stretch(wide..all, start, len);
    let mut steps: Vec<Step> = legs.clone().map(|start| Step::Forward(over_leg(start))).collect();
    for leaf in leaves {
        let starts = [leaf.first, leaf.second];
        let starts = &starts[usize::from(leaf.first == leaf.second)..];
        let len = leaf.len;
        steps.extend(starts.iter().map(|start| Step::Forward(over_leaf(*start, len))));
        steps.push(Step::Respond(leaf));
        steps.extend(starts.iter().map(|start| Step::Inverse(over_leaf(*start, len))));
    }
    steps.extend(legs.map(|start| Step::Inverse(over_leg(start))));
    steps
}

/// One call of [`SpectralFilter::process`].
struct Run<'a> {
    filter: &'a SpectralFilter,
    floats: &'a mut [f32],
    windows: &'a [&'a [f32]],
    keep: Range<usize>,
    out: &'a mut [f32],
    powers: Option<&'a mut [Power]>,
}

impl Work for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { filter, floats, windows, keep, out, mut powers } = self;
        let work = simd.vectors_mut(floats).as_chunks_mut::<2>().0;
        for first in (0..windows.len()).step_by(S::LANES) {
            let count = S::LANES.min(windows.len() - first);
            let group = &windows[first..first + count];
            filter.load(simd, group, work);
            let kept = &mut out[first * keep.len()..(first + count) * keep.len()];
            let sums = filter.transform(simd, work, kept, powers.is_some());
            filter.store(simd, work, &keep, kept);
            if let Some(powers) = &mut powers {
                write_powers(sums, &mut powers[first..first + count]);
            }
        }
    }
}

impl SpectralFilter {
    /// Loads a group of windows, window i into lane i, and runs the first pass.
    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, group: &[&[f32]], work: &mut [Bin<S::Vector>]) {
        let first_pass = &self.passes[0];
        let part_len = S::LANES / 2;
        for part in (0..first_pass.span()).step_by(part_len) {
            for leg in 0..first_pass.radix() {
                let to = &mut work[leg * first_pass.leg_stride() + part..][..part_len];
                load_tile(simd, group, 2 * (leg * first_pass.span() + part), to);
            }
            first_pass.run_part::<S, false>(simd, work, part..part + part_len);
        }
    }

    /// All that is done between [`Self::load`] and [`Self::store`]; `soon` is where the latter writes.
    #[inline(always)]
    fn transform<S: Simd>(
        &self,
        simd: S,
        work: &mut [Bin<S::Vector>],
        soon: &[f32],
        measure: bool,
    ) -> response::Sums<S::Vector> {
        let mut sums = [simd.splat(0.0); 2];
        for (i, step) in self.steps.iter().enumerate() {
            prefetch_share(simd, soon, i, self.steps.len());
            match step {
                Step::Forward(on) => {
                    for pass in &self.passes[on.passes.clone()] {
                        pass.run::<S, false>(simd, &mut work[on.positions.clone()]);
                    }
                }
                Step::Respond(leaf) if measure => {
                    self.response.apply::<S, true>(simd, work, leaf, &mut sums);
                }
                Step::Respond(leaf) => {
                    self.response.apply::<S, false>(simd, work, leaf, &mut sums);
                }
                Step::Inverse(on) => {
                    for pass in self.passes[on.passes.clone()].iter().rev() {
                        pass.run::<S, true>(simd, &mut work[on.positions.clone()]);
                    }
                }
            }
        }
        sums
    }

    /// Runs the last inverse pass and stores what is kept of each window.
    #[inline(always)]
    fn store<S: Simd>(&self, simd: S, work: &mut [Bin<S::Vector>], keep: &Range<usize>, out: &mut [f32]) {
        let last_pass = &self.passes[0];
        let part_len = S::LANES / 2;
        for part in (0..last_pass.span()).step_by(part_len) {
            last_pass.run_part::<S, true>(simd, work, part..part + part_len);
            for leg in 0..last_pass.radix() {
                let from = &work[leg * last_pass.leg_stride() + part..][..part_len];
                let start = 2 * (leg * last_pass.span() + part);
                store_tile(simd, from, start, keep, out);
            }
        }
    }
}

/// Asks for the `part`-th of `parts` of what will be written, a line at a time.
///
/// Writing cold memory reads it first. Asked for during the passes, that costs a fifth less time in
/// all; for memory already in the cache it costs 5 % more. (The same for the next windows to be
/// read gains nothing: the CPU foresees those by itself.)
#[inline(always)]
fn prefetch_share<S: Simd>(simd: S, soon: &[f32], part: usize, parts: usize) {
    const LINE: usize = 16;
    let share = soon.len().div_ceil(parts);
    for line in (part * share..(part + 1) * share).step_by(LINE) {
        simd.prefetch(soon, line);
    }
}

/// Loads the floats from `start` of each window; a missing window is replaced by the last one.
#[inline(always)]
fn load_tile<S: Simd>(simd: S, group: &[&[f32]], start: usize, to: &mut [Bin<S::Vector>]) {
    let mut tile = simd.zero_tile();
    for lane in 0..S::LANES {
        let window = group[lane.min(group.len() - 1)];
        tile[lane] = simd.load(&window[start..]);
    }
    let tile = simd.transpose(tile);
    for (i, bin) in to.iter_mut().enumerate() {
        *bin = [tile[2 * i], tile[2 * i + 1]];
    }
}

/// Stores what lies in `keep` of the floats from `start` of each window.
#[inline(always)]
fn store_tile<S: Simd>(simd: S, from: &[Bin<S::Vector>], start: usize, keep: &Range<usize>, out: &mut [f32]) {
    let wanted = keep.start.max(start)..keep.end.min(start + S::LANES);
    if wanted.is_empty() {
        return;
    }
    let mut tile = simd.zero_tile();
    for (i, bin) in from.iter().enumerate() {
        tile[2 * i] = bin[0];
        tile[2 * i + 1] = bin[1];
    }
    let tile = simd.transpose(tile);
    for (lane, kept) in out.chunks_exact_mut(keep.len()).enumerate() {
        let to = &mut kept[wanted.start - keep.start..wanted.end - keep.start];
        if wanted.len() == S::LANES {
            tile[lane].store(to);
        } else {
            let mut whole = [0.0; 16];
            tile[lane].store(&mut whole);
            to.copy_from_slice(&whole[wanted.start - start..wanted.end - start]);
        }
    }
}

#[inline(always)]
fn write_powers<V: Vector>(sums: response::Sums<V>, powers: &mut [Power]) {
    let (mut weighted, mut total) = ([0.0; 16], [0.0; 16]);
    sums[0].store(&mut weighted);
    sums[1].store(&mut total);
    for (i, power) in powers.iter_mut().enumerate() {
        *power = Power { weighted: weighted[i], total: total[i] };
    }
}
