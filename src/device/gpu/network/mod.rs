//! A denoiser on a wgpu device: the kernels of its program, and the memory that they work on.
//!
//! ```text
//! call -> pieces of some channels by some hops: upload -> kernels -> readback   (two in flight)
//! ```
//!
//! What is kept of the channels is in banks, each as large as a binding may be; what is made of rows is in memory that
//! all pieces share, and which grows with the largest one so far.

mod memory;

mod pieces;

mod resident;

mod run;

mod state;

mod tables;

#[cfg(test)]
mod tests;

#[cfg(test)]
#[cfg(feature = "cli")]
mod golden;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shared;
use super::pipeline::{Binding, Pipeline, PipelineRequest};
use crate::error::{Error, Result};
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Advance, Network, NetworkOptions, NetworkState, Precision};
use crate::stage::denoise::program::{DeviceTraits, Operation, Place, Program};
use crate::telemetry::DeviceKind;
use memory::{Bank, RowMemory, SavedBank};
use pieces::Piece;

pub(super) use resident::ResidentNetwork;
pub(super) use tables::TableCache;
use tables::Tables;

/// Rows of a piece: enough to fill a large GPU, few enough that a software one is done with them in seconds.
const MOST_ROWS: usize = 16_384;
const MOST_ROWS_IN_SOFTWARE: usize = 2048;
/// Rows that there is memory for from the start.
const FIRST_ROWS: usize = 64;
/// Bytes of the largest binding that is used, however much more an adapter offers.
const LARGEST_BINDING_BYTES: u64 = 1 << 30;

/// How far a network goes, for tests to set it lower.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) most_rows: usize,
    pub(super) binding_bytes: u64,
    pub(super) device: DeviceTraits,
}

impl Bounds {
    pub(super) fn of(device: &wgpu::Device, kind: DeviceKind) -> Self {
        let limits = device.limits();
        let binding_bytes = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let (most_rows, busy_workgroups) = match kind {
            DeviceKind::Gpu => (MOST_ROWS, 128),
            DeviceKind::SoftwareGpu | DeviceKind::Cpu => (MOST_ROWS_IN_SOFTWARE, 4),
        };
        let device = DeviceTraits { busy_workgroups };
        Self { most_rows, binding_bytes: binding_bytes.min(LARGEST_BINDING_BYTES), device }
    }
}

pub(super) struct GpuNetwork {
    shared: Arc<Shared>,
    program: Program,
    bounds: Bounds,
    channels: usize,
    /// For each operation, for each of its variants that was asked for.
    pipelines: Vec<Vec<Option<Pipeline>>>,
    model: Arc<Model>,
    precision: Precision,
    /// None while it sleeps.
    tables: Option<Arc<Tables>>,
    /// Channels in each bank but the last.
    bank_len: usize,
    /// None while it sleeps.
    banks: Vec<Bank>,
    /// What was in the banks when it went to sleep.
    asleep: Vec<SavedBank>,
    /// Rows that there was memory for then; 0 while it is awake.
    rows_before: usize,
    /// For each scaled layer, what its factors start with.
    factors: BTreeMap<usize, Vec<f32>>,
    rows: RowMemory,
    /// A failed call leaves submissions, mappings and state in disorder.
    broken: bool,
}

impl std::fmt::Debug for GpuNetwork {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GpuNetwork")
            .field("device", &self.shared.name)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

impl GpuNetwork {
    pub(super) fn open(
        shared: Arc<Shared>,
        model: &Arc<Model>,
        channels: usize,
        options: NetworkOptions,
        bounds: Bounds,
    ) -> Result<Self> {
        if channels == 0 || u32::try_from(channels).is_err() {
            return Err(Error::setting("the number of channels", channels, format!("1 to {} are allowed", u32::MAX)));
        }
        let program = Program::new(model, options)?;
        let tables = shared.tables.get(&shared, model, options.precision, &program)?;
        let largest = program.per_channel.values().max().copied().unwrap_or(1).max(1);
        let bank_len = words_within(bounds.binding_bytes, largest)?.min(channels);
        let banks = (0..channels).step_by(bank_len).map(|first| {
            let here = bank_len.min(channels - first);
            Bank::new(&shared, &program, model, here)
        });
        let banks = banks.collect::<Result<Vec<_>>>()?;
        let row_words = program.per_row.values().max().copied().unwrap_or(1).max(1);
        let most_rows = words_within(bounds.binding_bytes, row_words)?.min(bounds.most_rows);
        let bounds = Bounds { most_rows, ..bounds };
        let pipelines = program.operations.iter().map(|operation| vec![None; operation.work.variants().len()]);
        let pipelines: Vec<Vec<Option<Pipeline>>> = pipelines.collect();
        let rows = RowMemory::empty();
        let factors_of = |tensor: &String| model.tensor(tensor).map_or_else(Vec::new, |tensor| tensor.values.to_vec());
        let factors = program.scaled.iter().map(|(layer, tensor)| (*layer, factors_of(tensor))).collect();
        let broken = false;
        let mut network = Self {
            shared,
            program,
            bounds,
            channels,
            pipelines,
            model: Arc::clone(model),
            precision: options.precision,
            tables: Some(tables),
            bank_len,
            banks,
            asleep: Vec::new(),
            rows_before: 0,
            factors,
            rows,
            broken,
        };
        network.make_room_for(channels.clamp(FIRST_ROWS.min(most_rows), most_rows))?;
        Ok(network)
    }

    /// The pipeline of a variant, built when it is first asked for.
    fn pipeline(&mut self, operation: usize, variant: usize) -> Result<&Pipeline> {
        let built = &mut self.pipelines[operation][variant];
        match built {
            Some(pipeline) => Ok(pipeline),
            None => Ok(built.insert(build(&self.shared, &self.program.operations[operation], variant)?)),
        }
    }

    fn check_not_broken(&self) -> Result<()> {
        if self.broken {
            return Err(self.shared.error("running a denoiser", "an earlier call of it failed; open it again"));
        }
        Ok(())
    }
}

/// How many items of so many words fit into a binding.
fn words_within(bytes: u64, words: usize) -> Result<usize> {
    let fit = usize::try_from(bytes / 4).unwrap_or(usize::MAX) / words;
    match fit {
        0 => Err(Error::setting("the model's size", words, format!("a device's binding holds {} words", bytes / 4))),
        _ => Ok(fit),
    }
}

fn build(shared: &Shared, operation: &Operation, variant: usize) -> Result<Pipeline> {
    let mut constants = operation.constants.clone();
    constants.extend(operation.work.variants().swap_remove(variant));
    let constants: Vec<(String, f64)> =
        constants.into_iter().map(|(name, value)| (name.to_owned(), value as f64)).collect();
    let bound = operation.bound.iter().map(|(_, written)| if *written { Binding::ReadWrite } else { Binding::Read });
    let request = PipelineRequest {
        label: operation.entry,
        wgsl: &operation.wgsl.into(),
        entry: operation.entry,
        constants: &constants,
        bindings: std::iter::once(Binding::Uniform).chain(bound).collect(),
        checked: None,
    };
    Ok(shared.pipelines.get(shared, &request)?.0)
}

impl Network for GpuNetwork {
    /// Two pieces are in flight, so more than one has to be there.
    fn call_rows(&self) -> usize {
        4 * self.bounds.most_rows
    }

    fn advance(&mut self, call: &Advance<'_>, output: &mut [f32]) -> Result<()> {
        self.check_not_broken()?;
        self.check(call, output)?;
        // Nothing is in disorder when there is no room.
        let pieces = self.pieces(call);
        self.make_room_for(pieces.iter().map(Piece::rows).max().unwrap_or(0))?;
        let run = self.run(call, pieces, output);
        self.broken = run.is_err();
        run
    }

    fn save(&mut self, channels: &[u32]) -> Result<Vec<NetworkState>> {
        self.check_not_broken()?;
        self.save_channels(channels)
    }

    fn restore(&mut self, channel: u32, state: &NetworkState) -> Result<()> {
        self.check_not_broken()?;
        self.restore_channel(channel as usize, state)
    }

    fn clear(&mut self, channels: &[u32]) -> Result<()> {
        self.check_not_broken()?;
        self.clear_channels(channels)
    }

    fn set_scale(&mut self, channel: u32, layer: usize, scale: &[f32]) -> Result<()> {
        self.check_not_broken()?;
        let channel = channel as usize;
        let expected = self.program.per_channel.get(&Place::Scales(layer)).copied();
        if channel >= self.channels || expected != Some(scale.len()) || scale.iter().any(|factor| !factor.is_finite()) {
            let actual = format!("{} for layer {layer} of channel {channel}", scale.len());
            let expected = match expected {
                Some(outputs) => format!("{outputs} finite factors are needed, for a channel below {}", self.channels),
                None => "that layer is not scaled".to_owned(),
            };
            return Err(Error::setting("the number of factors", actual, expected));
        }
        let bank = &self.banks[channel / self.bank_len];
        if let Some(buffer) = bank.buffers.get(&Place::Scales(layer)) {
            let at = (channel % self.bank_len * scale.len() * size_of::<f32>()) as u64;
            let write = || self.shared.queue.write_buffer(buffer, at, bytemuck::cast_slice(scale));
            self.shared.create("changing a layer's factors", write)?;
        }
        Ok(())
    }
}

type Buffers = BTreeMap<Place, wgpu::Buffer>;
