//! The memory of a network: what is kept of channels, and what is made of rows.

use wgpu::BufferUsages as Usage;

use super::super::Shared;
use super::super::memory::{Allocator, Reservation};
use super::super::plan::IN_FLIGHT;
use super::{Buffers, GpuNetwork};
use crate::error::Result;
use crate::stage::denoise::kernel::Extent;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::program::{Place, Program};

/// From one uniform to the next; the alignment that every adapter takes.
pub(super) const PARAMS_BYTES: u64 = 256;

/// Bytes of so many words.
pub(super) fn bytes_of(words: usize) -> u64 {
    (words * size_of::<u32>()) as u64
}

/// What is kept of some channels. A new one is all silence: wgpu gives zeroed memory.
#[derive(Debug)]
pub(super) struct Bank {
    pub(super) buffers: Buffers,
    _reservation: Reservation,
}

impl Bank {
    pub(super) fn new(shared: &Shared, program: &Program, model: &Model, channels: usize) -> Result<Self> {
        let usage = Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC;
        let make = |allocator: &Allocator<'_>, place: &Place, len: usize| match place {
            Place::Scales(layer) => {
                let tensor = program.scaled.get(layer).and_then(|tensor| model.tensor(tensor));
                let factors = tensor.map_or(&[][..], |tensor| &tensor.values);
                let all = factors.repeat(channels);
                allocator.filled("denoise.scales", bytemuck::cast_slice(&all), usage)
            }
            _ => allocator.buffer(&format!("denoise.{place:?}"), bytes_of(len * channels), usage),
        };
        let (buffers, reservation) = shared.allocate("allocating the state of a denoiser", |allocator| {
            program.per_channel.iter().map(|(place, len)| (*place, make(allocator, place, *len))).collect()
        })?;
        Ok(Self { buffers, _reservation: reservation })
    }
}

/// What a bank held, place after place in the order of its buffers.
#[derive(Debug)]
pub(super) struct SavedBank {
    channels: usize,
    bytes: Vec<u8>,
}

/// Bytes that are read back at once: a sleep is for want of room, and must not need much.
pub(super) const READ_AT_ONCE: usize = 8 << 20;

impl Bank {
    fn copy(&self, channels: usize, network: &GpuNetwork) -> Result<SavedBank> {
        let mut saved = Vec::new();
        for (place, len) in &network.program.per_channel {
            let bytes = bytes_of(len * channels);
            let Some(buffer) = self.buffers.get(place).filter(|_| bytes > 0) else { continue };
            for from in (0..bytes).step_by(READ_AT_ONCE) {
                let part = (bytes - from).min(READ_AT_ONCE as u64);
                saved.extend(network.read_back(part, |encoder, readback| {
                    encoder.copy_buffer_to_buffer(buffer, from, readback, 0, part);
                })?);
            }
        }
        Ok(SavedBank { channels, bytes: saved })
    }

    fn from_saved(shared: &Shared, program: &Program, saved: &SavedBank) -> Result<Self> {
        let usage = Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC;
        let (buffers, reservation) = shared.allocate("allocating the state of a denoiser", |allocator| {
            let mut rest = saved.bytes.as_slice();
            let places = program.per_channel.iter().map(|(place, len)| {
                let (here, after) = rest.split_at(len * saved.channels * size_of::<f32>());
                rest = after;
                (*place, allocator.filled(&format!("denoise.{place:?}"), here, usage))
            });
            places.collect()
        })?;
        Ok(Self { buffers, _reservation: reservation })
    }
}

/// What goes up and comes back with one submission.
#[derive(Debug)]
pub(super) struct Staging {
    /// The parameters of all operations, the channels, then the steps.
    pub(super) control: wgpu::Buffer,
    pub(super) samples: wgpu::Buffer,
    pub(super) finished: wgpu::Buffer,
}

/// Memory for so many rows. What is in it past the rows of a piece is garbage from earlier ones.
#[derive(Debug)]
pub(super) struct RowMemory {
    pub(super) capacity: usize,
    pub(super) params: Option<wgpu::Buffer>,
    pub(super) buffers: Buffers,
    pub(super) staging: Vec<Staging>,
    /// For each bank, for each operation.
    pub(super) bind_groups: Vec<Vec<wgpu::BindGroup>>,
    reservation: Reservation,
}

impl RowMemory {
    pub(super) fn empty() -> Self {
        let (buffers, staging, bind_groups) = (Buffers::new(), Vec::new(), Vec::new());
        let reservation = Reservation::default();
        Self { capacity: 0, params: None, buffers, staging, bind_groups, reservation }
    }
}

/// Where the channels and the steps of a piece stand in its control buffer.
pub(super) struct ControlLayout {
    pub(super) params_bytes: u64,
    pub(super) steps_at: u64,
    pub(super) bytes: u64,
}

impl ControlLayout {
    pub(super) fn new(operations: usize, rows: usize) -> Self {
        let params_bytes = operations as u64 * PARAMS_BYTES;
        let steps_at = params_bytes + bytes_of(rows).next_multiple_of(PARAMS_BYTES);
        Self { params_bytes, steps_at, bytes: steps_at + bytes_of(2 * rows) }
    }
}

impl GpuNetwork {
    /// Gives up everything: the device is lost, and nothing can be saved.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
        self.rows = RowMemory::empty();
        self.banks.clear();
        self.tables = None;
    }

    /// Copies the state of all channels to the host, and gives up everything on the device.
    pub(super) fn sleep(&mut self) -> Result<()> {
        if self.broken || self.banks.is_empty() || self.shared.is_lost() {
            return Ok(());
        }
        self.rows_before = self.rows.capacity;
        self.rows = RowMemory::empty();
        let saved: Result<Vec<SavedBank>> = self
            .banks
            .iter()
            .enumerate()
            .map(|(index, bank)| bank.copy(self.bank_len.min(self.channels - index * self.bank_len), self))
            .collect();
        self.asleep = saved?;
        self.banks.clear();
        self.tables = None;
        Ok(())
    }

    /// Brings everything back to the device; nothing where it was awake.
    pub(super) fn wake(&mut self) -> Result<()> {
        self.check_not_broken()?;
        if self.tables.is_none() {
            self.tables = Some(self.shared.tables.get(&self.shared, &self.model, self.precision, &self.program)?);
        }
        if !self.asleep.is_empty() {
            let banks = self.asleep.iter().map(|saved| Bank::from_saved(&self.shared, &self.program, saved));
            self.banks = banks.collect::<Result<Vec<_>>>()?;
            self.asleep.clear();
        }
        self.make_room_for(self.rows_before)?;
        self.rows_before = 0;
        Ok(())
    }

    /// Makes room for that many rows, and warms up the pipelines that pieces of up to that size take.
    pub(super) fn make_room_for(&mut self, rows: usize) -> Result<()> {
        if rows <= self.rows.capacity {
            return Ok(());
        }
        let capacity = rows.next_power_of_two().min(self.bounds.most_rows);
        // The old memory goes first: the two together may be more than there is.
        self.rows = RowMemory::empty();
        let (mut made, reservation) = self
            .shared
            .allocate("allocating the buffers of a denoiser", |allocator| self.make_rows(allocator, capacity))?;
        made.reservation = reservation;
        // Any variant will do: their bindings are the same.
        let mut layouts = Vec::new();
        for operation in 0..self.program.operations.len() {
            layouts.push(self.pipeline(operation, 0)?.layout.clone());
        }
        made.bind_groups =
            self.shared.create("binding the buffers of a denoiser", || self.bind_groups(&made, &layouts))?;
        self.rows = made;
        self.warm_up()
    }

    fn make_rows(&self, allocator: &Allocator<'_>, capacity: usize) -> RowMemory {
        let usage = |place: &Place| match place {
            Place::Channels | Place::Steps | Place::Samples => Usage::STORAGE | Usage::COPY_DST,
            Place::Finished => Usage::STORAGE | Usage::COPY_SRC,
            _ => Usage::STORAGE,
        };
        let make = |place: &Place, len: usize| {
            allocator.buffer(&format!("denoise.{place:?}"), bytes_of(len * capacity), usage(place))
        };
        let mut buffers: Buffers =
            self.program.per_row.iter().map(|(place, len)| (*place, make(place, *len))).collect();
        buffers.insert(Place::Nothing, allocator.buffer("denoise.nothing", 16, Usage::STORAGE));
        let control = ControlLayout::new(self.program.operations.len(), capacity);
        let sample_bytes = bytes_of(self.program.hop * capacity);
        let staging = (0..IN_FLIGHT).map(|_| Staging {
            control: allocator.buffer("denoise.control.staging", control.bytes, Usage::MAP_WRITE | Usage::COPY_SRC),
            samples: allocator.buffer("denoise.samples.staging", sample_bytes, Usage::MAP_WRITE | Usage::COPY_SRC),
            finished: allocator.buffer("denoise.finished.readback", sample_bytes, Usage::MAP_READ | Usage::COPY_DST),
        });
        let params = allocator.buffer("denoise.params", control.params_bytes, Usage::UNIFORM | Usage::COPY_DST);
        let staging = staging.collect();
        RowMemory {
            capacity,
            params: Some(params),
            buffers,
            staging,
            bind_groups: Vec::new(),
            reservation: Reservation::default(),
        }
    }

    fn bind_groups(&self, rows: &RowMemory, layouts: &[wgpu::BindGroupLayout]) -> Vec<Vec<wgpu::BindGroup>> {
        let of_bank = |bank: &Bank| {
            let groups = self.program.operations.iter().zip(layouts).enumerate();
            groups
                .filter_map(|(index, (operation, layout))| {
                    let find = |place: &Place| match place {
                        Place::Table(table) => self.tables.as_ref().and_then(|tables| tables.buffers.get(*table)),
                        _ => bank.buffers.get(place).or_else(|| rows.buffers.get(place)),
                    };
                    let bound: Vec<&wgpu::Buffer> =
                        operation.bound.iter().filter_map(|(place, _)| find(place)).collect();
                    let params = rows.params.as_ref()?;
                    Some(bind(&self.shared.device, &operation.label, layout, (params, index), &bound))
                })
                .collect()
        };
        self.banks.iter().map(of_bank).collect()
    }

    /// Drivers compile when a pipeline first runs: so each runs once, for no rows.
    fn warm_up(&mut self) -> Result<()> {
        let before = self.built();
        let used = self.variants_up_to(self.rows.capacity);
        for (operation, variant) in &used {
            self.pipeline(*operation, *variant)?;
        }
        let faults_before = self.shared.faults.count();
        let mut encoder = self.shared.encoder("denoise");
        if let Some(params) = &self.rows.params {
            encoder.clear_buffer(params, 0, None);
        }
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (operation, variant) in used {
                let (Some(pipeline), Some(groups)) =
                    (&self.pipelines[operation][variant], self.rows.bind_groups.first())
                else {
                    continue;
                };
                pass.set_pipeline(&pipeline.pipeline);
                pass.set_bind_group(0, &groups[operation], &[]);
                pass.dispatch_workgroups(1, 1, 1);
            }
        }
        let submission = self.shared.queue.submit([encoder.finish()]);
        self.shared.wait(&submission, faults_before, "the first run of a denoiser's kernels")?;
        if self.built() > before {
            self.shared.pipelines.store();
        }
        Ok(())
    }

    fn built(&self) -> usize {
        self.pipelines.iter().flatten().flatten().count()
    }

    /// (operation, variant) that pieces of up to so many rows take.
    fn variants_up_to(&self, rows: usize) -> Vec<(usize, usize)> {
        let most_channels = self.channels.min(rows);
        let sizes = |most: usize| (0..=most.ilog2()).map(|log2| 1_usize << log2).chain([most]);
        let mut used = Vec::new();
        for (index, operation) in self.program.operations.iter().enumerate() {
            let by_rows = sizes(rows).map(|rows| super::pieces::extent(rows, 1));
            let by_channels = sizes(most_channels).map(|channels| super::pieces::extent(channels, 1));
            let lone = [super::pieces::extent(1, rows)];
            let mut variants: Vec<usize> = by_rows
                .filter(|extent: &Extent| extent.channels as usize <= most_channels)
                .chain(by_channels)
                .chain(lone)
                .map(|extent| operation.work.choose(extent, self.bounds.device).0)
                .collect();
            variants.sort_unstable();
            variants.dedup();
            used.extend(variants.into_iter().map(|variant| (index, variant)));
        }
        used
    }
}

fn bind(
    device: &wgpu::Device,
    label: &str,
    layout: &wgpu::BindGroupLayout,
    (params, operation): (&wgpu::Buffer, usize),
    bound: &[&wgpu::Buffer],
) -> wgpu::BindGroup {
    let params = wgpu::BufferBinding {
        buffer: params,
        offset: operation as u64 * PARAMS_BYTES,
        size: wgpu::BufferSize::new(PARAMS_BYTES),
    };
    let bound = bound.iter().map(|buffer| buffer.as_entire_binding());
    let resources = std::iter::once(wgpu::BindingResource::Buffer(params)).chain(bound);
    let entries: Vec<_> =
        (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries })
}
