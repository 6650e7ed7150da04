//! The filter as a kernel: tables and parameters for `shaders/filter.wgsl`, and its CPU twin on `fft`.
//!
//! All scaling of the device's transform is in the response table; it is computed in f64 and rounded once.

use std::f64::consts::TAU;
use std::sync::Arc;

use super::super::tile::{LARGEST_TILE, USUAL_TILE, VALUES_PER_INVOCATION, in_software, table, tile_wgsl, twiddles};
use super::{Measure, PhiResolvent, WindowLayout};
use crate::error::Result;
use crate::fft::{Power, Scratch, SpectralFilter, WindowShape, reverse_bits};
use crate::frame::{Domain, FrameShape};
use crate::recording::{FrameRef, Kernel, Operand, Table, Twin, TwinCall, TwinOperand, TwinWorker, word};
use crate::simd::SimdLevel;

/// The filter kernel with all the source it includes, for values of one window or of two; but for its leaves.
const ONE_WINDOW_WGSL: &str = tile_wgsl!("one_window.wgsl", "filter_windows.wgsl", "filter.wgsl");
const TWO_WINDOWS_WGSL: &str = tile_wgsl!("two_windows.wgsl", "filter_windows.wgsl", "filter.wgsl");

/// log2 of the values of an innermost pass: what passes of radix 8 leave.
fn leaf_log2(len: usize) -> u32 {
    match len.trailing_zeros() % 3 {
        0 => 3,
        left => left,
    }
}

/// The kernel's source, for such innermost passes, and for one window in a value or for two.
pub(crate) fn wgsl(leaf_log2: u32, paired: bool) -> String {
    let rest = if paired { TWO_WINDOWS_WGSL } else { ONE_WINDOW_WGSL };
    let leaf_len = 1 << leaf_log2;
    format!(
        "const LEAF_LOG2: u32 = {leaf_log2}u;\n\
         fn transform_leaf(x: array<Value, LEAF_LEN>) -> array<Value, LEAF_LEN> {{ return butterfly_{leaf_len}(x); }}\n\
         {rest}"
    )
}

/// The uniform struct `FilterParams` of the shader, which its Rust side writes as words.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct FilterParams {
    pub(crate) count: u32,
    pub(crate) windows_per_frame: u32,
    pub(crate) frame_len: u32,
    pub(crate) hop: u32,
    pub(crate) margin: u32,
}

/// A window as the device transforms it: `rows x columns` complex values, in halves when they are too many.
#[derive(Clone, Copy)]
struct DeviceTransform {
    domain: Domain,
    rows: usize,
    columns: usize,
    split: bool,
}

impl DeviceTransform {
    fn new(shape: FrameShape, layout: WindowLayout) -> Self {
        let rows = shape.rows();
        let samples = layout.window_len / rows;
        let columns = match shape.domain() {
            Domain::Real => samples / 2,
            Domain::Complex => samples,
        };
        Self { domain: shape.domain(), rows, columns, split: rows * columns > LARGEST_TILE }
    }

    fn values(&self) -> usize {
        self.rows * self.columns
    }

    /// Values in the tile at once, of one window.
    fn tile_part(&self) -> usize {
        self.values() >> u32::from(self.split)
    }

    /// Rows and columns of that part: the axis with the longer strides is the one that is split.
    fn part_shape(&self) -> (usize, usize) {
        match (self.split, self.rows) {
            (false, rows) => (rows, self.columns),
            (true, 1) => (1, self.columns / 2),
            (true, rows) => (rows / 2, self.columns),
        }
    }

    /// For each bin, in the order of the tables: its row and column.
    fn bins(self) -> impl Iterator<Item = (usize, usize)> {
        let (rows, columns) = self.part_shape();
        let (rows_log2, columns_log2) = (rows.ilog2(), columns.ilog2());
        let halves = 1 + usize::from(self.split);
        (0..halves).flat_map(move |half| {
            (0..rows * columns).map(move |position| {
                let (row, column) = (position / columns, position % columns);
                let (row, column) = (reverse_bits(row, rows_log2), reverse_bits(column, columns_log2));
                match (self.split, self.rows) {
                    (false, _) => (row, column),
                    (true, 1) => (0, 2 * column + half),
                    (true, _) => (2 * row + half, column),
                }
            })
        })
    }

    /// Frequencies of a bin, in cycles per sample, without sign: (row, column).
    fn frequency(&self, row: usize, column: usize) -> (f64, f64) {
        let samples = match self.domain {
            Domain::Real => 2 * self.columns,
            Domain::Complex => self.columns,
        };
        let folded = |bin: usize, len: usize| bin.min(len - bin) as f64 / len as f64;
        (folded(row, self.rows), folded(column, samples))
    }
}

/// (H, 0, 0, 0) for complex windows; (S, D, w.re, w.im) for real ones: see `filter_mirrored` in the shader.
fn response(filter: &PhiResolvent, transform: DeviceTransform) -> Table {
    let scale = 1.0 / transform.values() as f64;
    let entries = transform.bins().flat_map(|(row, column)| {
        let (row_frequency, column_frequency) = transform.frequency(row, column);
        let lower = scale * filter.multiplier(row_frequency, column_frequency);
        if transform.domain == Domain::Complex {
            return [lower, 0.0, 0.0, 0.0];
        }
        let (row_frequency, column_frequency) = transform.frequency(row, column + transform.columns);
        let upper = scale * filter.multiplier(row_frequency, column_frequency);
        let (sin, cos) = (-TAU * column as f64 / (2 * transform.columns) as f64).sin_cos();
        [0.5 * (lower + upper), 0.5 * (lower - upper), cos, sin]
    });
    table("response", entries)
}

fn weights(filter: &PhiResolvent, transform: DeviceTransform) -> Table {
    let entries = transform.bins().flat_map(|(row, column)| {
        let weight = |column| {
            let (row_frequency, column_frequency) = transform.frequency(row, column);
            filter.weight(row_frequency, column_frequency)
        };
        match transform.domain {
            Domain::Complex => [weight(column), 0.0],
            Domain::Real => [weight(column), weight(column + transform.columns)],
        }
    });
    table("weights", entries)
}

/// The kernel for frames of this shape; `filter` has been checked against it. `operand` is what it reads.
pub(crate) fn filter_kernel(
    filter: &PhiResolvent,
    shape: FrameShape,
    layout: WindowLayout,
    operand: Operand,
) -> Kernel {
    let transform = DeviceTransform::new(shape, layout);
    let measures = filter.measure != Measure::Nothing;
    let part = transform.tile_part();
    // Two windows share each value's address and twiddles wherever both fit.
    let paired = 2 * part <= LARGEST_TILE;
    // The windows of one value fill a tile when they are measured: the workgroup's sum is theirs.
    let tile = if measures { part } else { part.max(USUAL_TILE) };
    let windows = tile / part * (1 + usize::from(paired));
    let (part_rows, part_columns) = transform.part_shape();
    let split_mask = if transform.rows == 1 { u32::MAX } else { !(word(part_columns) - 1) };
    let leaf_log2 = leaf_log2(part);
    let is_line = transform.rows == 1 && !transform.split;
    let constants = [
        ("WORKGROUP_SIZE", word(tile / VALUES_PER_INVOCATION)),
        ("TILE_LEN", word(tile)),
        ("LEN_LOG2", part.trailing_zeros()),
        ("ROWS_LOG2", part_rows.trailing_zeros()),
        ("TWIDDLE_LOG2", transform.values().trailing_zeros()),
        ("COMPLEX_SAMPLES", u32::from(transform.domain == Domain::Complex)),
        ("MEASURE", u32::from(measures)),
        ("LEAVES_TOGETHER", u32::from(is_line && part.trailing_zeros() >= leaf_log2 + 3)),
        ("SPLIT", u32::from(transform.split)),
        ("SPLIT_MASK", split_mask),
        ("SEAMLESS", u32::from(layout.margin > 0)),
        ("SIDE_BY_SIDE", u32::from(matches!(operand, Operand::Buffer(_)))),
    ];
    let pairs = |samples: usize| word(samples * shape.domain().floats_per_sample() / 2);
    Kernel {
        name: "phi_resolvent".to_owned(),
        wgsl: wgsl(leaf_log2, paired).into(),
        entry: "phi_resolvent".to_owned(),
        constants: constants.map(|(name, value)| (name.to_owned(), f64::from(value))).to_vec(),
        constants_in_software: if transform.split { Vec::new() } else { in_software(tile) },
        params: vec![word(layout.windows_per_frame), pairs(shape.len()), pairs(layout.hop), pairs(layout.margin)],
        reads_units: true,
        tables: vec![twiddles(transform.values()), response(filter, transform), weights(filter, transform)],
        checked: None,
        items_per_frame: word(layout.windows_per_frame),
        items_per_workgroup: word(windows),
        twin: Arc::new(FilterTwin { filter: *filter, shape, layout }),
    }
}

#[derive(Clone, Copy, Debug)]
struct FilterTwin {
    filter: PhiResolvent,
    shape: FrameShape,
    layout: WindowLayout,
}

impl Twin for FilterTwin {
    fn worker(&self, level: SimdLevel) -> Box<dyn TwinWorker> {
        let rows = self.shape.rows();
        let window = WindowShape { rows, cols: self.layout.window_len / rows, domain: self.shape.domain() };
        let filter = self.filter;
        let weight = move |row, column| filter.weight(row, column);
        let weight: Option<&dyn Fn(f64, f64) -> f64> = match filter.measure {
            Measure::Nothing => None,
            Measure::Coherence | Measure::DampedEnergy => Some(&weight),
        };
        let spectral = SpectralFilter::new(window, level, |row, column| filter.multiplier(row, column), weight);
        let floats = self.shape.domain().floats_per_sample();
        Box::new(FilterWorker {
            scratch: spectral.scratch(),
            spectral,
            layout: self.layout,
            frame_floats: self.shape.floats(),
            sample_floats: floats,
            windows: Vec::new(),
            powers: Vec::new(),
            measures: filter.measure != Measure::Nothing,
        })
    }
}

struct FilterWorker {
    spectral: SpectralFilter,
    scratch: Scratch,
    layout: WindowLayout,
    frame_floats: usize,
    sample_floats: usize,
    /// Windows that reach over their frame, put together.
    windows: Vec<f32>,
    powers: Vec<Power>,
    measures: bool,
}

/// Frames whose windows are put together at once: few enough to stay in the cache.
const FRAMES_AT_ONCE: usize = 16;

impl TwinWorker for FilterWorker {
    fn run(&mut self, call: &mut TwinCall<'_, '_>) -> Result<()> {
        let (cleaned, powers) = call.results.split_at_mut(1);
        let (cleaned, powers) = (&mut *cleaned[0], &mut *powers[0]);
        match &call.operands[0] {
            TwinOperand::Frames(frames) if self.layout.margin > 0 => self.seamless(frames, cleaned, powers),
            operand => self.block(operand, call.frames, cleaned, powers),
        }
        Ok(())
    }
}

impl FilterWorker {
    fn block(&mut self, operand: &TwinOperand<'_, '_>, frames: usize, cleaned: &mut [f32], powers: &mut [f32]) {
        let len = self.frame_floats;
        let windows: Vec<&[f32]> = (0..frames).map(|index| operand.frame(index, len)).collect();
        Self::process(&mut self.powers, self.measures, frames, powers, |measured| {
            self.spectral.process(&mut self.scratch, &windows, 0..len, cleaned, measured);
        });
    }

    fn seamless(&mut self, frames: &[FrameRef<'_>], cleaned: &mut [f32], powers: &mut [f32]) {
        let per_frame = self.layout.windows_per_frame;
        let window_len = self.layout.window_len * self.sample_floats;
        let (hop, margin) = (self.layout.hop * self.sample_floats, self.layout.margin * self.sample_floats);
        self.windows.resize(FRAMES_AT_ONCE * per_frame * window_len, 0.0);
        let chunks = frames.chunks(FRAMES_AT_ONCE);
        let cleaned = cleaned.chunks_mut(FRAMES_AT_ONCE * self.frame_floats);
        let powers = powers.chunks_mut(FRAMES_AT_ONCE * per_frame * 2);
        for ((frames, cleaned), powers) in chunks.zip(cleaned).zip(powers) {
            let count = frames.len() * per_frame;
            for (index, window) in self.windows.chunks_exact_mut(window_len).take(count).enumerate() {
                fill_window(&frames[index / per_frame], (index % per_frame) * hop, margin, window);
            }
            let windows: Vec<&[f32]> = self.windows.chunks_exact(window_len).take(count).collect();
            Self::process(&mut self.powers, self.measures, count, powers, |measured| {
                self.spectral.process(&mut self.scratch, &windows, margin..margin + hop, cleaned, measured);
            });
        }
    }

    /// Runs `filter` with or without room for powers, and writes those out as (weighted, total).
    fn process(
        room: &mut Vec<Power>,
        measures: bool,
        windows: usize,
        powers: &mut [f32],
        filter: impl FnOnce(Option<&mut [Power]>),
    ) {
        if !measures {
            return filter(None);
        }
        room.clear();
        room.resize(windows, Power::default());
        filter(Some(room));
        for (pair, power) in powers.chunks_exact_mut(2).zip(&*room) {
            pair.copy_from_slice(&[power.weighted, power.total]);
        }
    }
}

/// Floats of the window that starts `margin` before `begin` in the frame; what is not there is zero.
fn fill_window(frame: &FrameRef<'_>, begin: usize, margin: usize, window: &mut [f32]) {
    let len = frame.frame.len();
    let mut from_start = margin.saturating_sub(begin);
    // Before the neighbour lies only padding of a window that is longer than it needs to be.
    let padding = from_start.saturating_sub(len);
    let (before, window) = window.split_at_mut(from_start);
    before[..padding].fill(0.0);
    from_start -= padding;
    copy_or_silence(frame.previous.map(|previous| &previous[len - from_start..]), &mut before[padding..]);
    let inside = begin.saturating_sub(margin);
    let (middle, after) = window.split_at_mut(window.len().min(len - inside));
    middle.copy_from_slice(&frame.frame[inside..inside + middle.len()]);
    let (after, padding) = after.split_at_mut(after.len().min(len));
    let after_len = after.len();
    copy_or_silence(frame.next.map(|next| &next[..after_len]), after);
    padding.fill(0.0);
}

fn copy_or_silence(source: Option<&[f32]>, target: &mut [f32]) {
    match source {
        Some(source) => target.copy_from_slice(source),
        None => target.fill(0.0),
    }
}
