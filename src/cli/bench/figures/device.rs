//! The same on a GPU: what its memory can do, whole runs with what goes there and comes back, and kernels by themselves.

use anyhow::{Context as _, Result};

use super::turns::Member;
use super::work::{Denoising, FRAME_BYTES, FRAME_LEN, Work, engine, filter_graph, pipeline_graph, signal};
use super::{Bench, cpu};
use crate::cli::bench::cpu_time;
use crate::stage::denoise::model::Model;
use crate::{DeviceChoice, DeviceInfo, DeviceKind, Devices, Engine, FilterMode, Layout, Precision};

/// How much of it is asked of a device.
struct Amount {
    /// What figures begin with.
    name: &'static str,
    /// Bytes of a buffer for the limits.
    buffer_bytes: u64,
    frames: usize,
    channels: &'static [usize],
}

impl Amount {
    fn of(device: &DeviceInfo) -> Self {
        match device.kind {
            DeviceKind::Gpu => {
                Self { name: "gpu", buffer_bytes: 256 << 20, frames: 64 * 1024, channels: &[64, 1024, 16_384] }
            }
            DeviceKind::SoftwareGpu | DeviceKind::Cpu => {
                Self { name: "software", buffer_bytes: 64 << 20, frames: 2048, channels: &[16] }
            }
        }
    }
}

pub(super) fn device(bench: &mut Bench) -> Result<()> {
    let Some(device) = &bench.adapter().cloned() else {
        bench.skipped.insert("device".to_owned(), "no adapter was found, or `--device cpu` was asked for".to_owned());
        return Ok(());
    };
    let amount = Amount::of(device);
    let choice = DeviceChoice::Named(format!("{} {} {}", device.name, device.driver, device.backend));
    let engine = engine(choice, bench.cores)?;
    filters(bench, &engine, &Gpu::open(device, amount.buffer_bytes)?, &amount)?;
    denoisers(bench, &engine, &amount)
}

fn filters(bench: &mut Bench, engine: &Engine, gpu: &Gpu, amount: &Amount) -> Result<()> {
    let (frames, bytes) = (amount.frames as f64, amount.buffer_bytes as f64);
    let limit = |what: &str| format!("{}.{what}", amount.name);
    let (copy, upload) = (limit("copy"), limit("upload"));
    let data = vec![1_u8; usize::try_from(amount.buffer_bytes)?];
    let mut back = data.clone();
    for sparse in cpu::SPARSE {
        let samples = signal(amount.frames, sparse);
        let mut whole = Work::new(engine, &pipeline_graph(FilterMode::Block), Layout::Packed)?;
        let mut inside = Work::new(engine, &pipeline_graph(FilterMode::Block), Layout::Packed)?;
        let name = amount.name;
        // The gate looks on the host: only what is live goes there, is read, written, and comes back.
        let live_bytes = FRAME_BYTES * (1.0 - f64::from(sparse) / 100.0);
        bench.group(vec![
            Member::limit(copy.clone(), "bytes/s", 2.0 * bytes * f64::from(COPIES), || gpu.copy()),
            Member::limit(upload.clone(), "bytes/s", bytes, || gpu.upload(&data)),
            Member::limit(limit("readback"), "bytes/s", bytes, || gpu.read_back(&mut back)),
            Member::own(format!("{name}.pipeline.sparse{sparse}"), "frames/s", frames, || whole.run(&samples))
                .of(&upload, live_bytes),
            // What its nodes take of that, as the device's clock has it where it has one.
            Member::own_turn(format!("{name}.kernels.sparse{sparse}"), "frames/s", |_| {
                inside.run(&samples)?;
                Ok(frames / inside.node_time().as_secs_f64())
            })
            .of(&copy, 2.0 * live_bytes),
        ])?;
    }
    let samples = signal(amount.frames, 0);
    let mut filter = Work::new(engine, &filter_graph(FRAME_LEN, FilterMode::Block), Layout::Dense)?;
    let cpu_per_frame = Member::own_turn(format!("{}.filter.cpu", amount.name), "us", |_| {
        let before = cpu_time().context("this system does not tell processor time")?;
        filter.run(&samples)?;
        let after = cpu_time().context("this system does not tell processor time")?;
        Ok(1e6 * (after - before).as_secs_f64() / frames)
    });
    bench.group(vec![cpu_per_frame])
}

fn denoisers(bench: &mut Bench, engine: &Engine, amount: &Amount) -> Result<()> {
    let models = [("dtln", bench.dtln()?), ("builtin", Model::builtin())];
    for &channels in amount.channels {
        let mut group = Vec::new();
        for (model_name, model) in &models {
            let mut work = Denoising::new(engine, model, Precision::F32, channels, 1)?;
            let name = format!("{}.denoise.{model_name}.{channels}ch", amount.name);
            group.push(Member::own(name, "channels", work.seconds, move || work.run()));
        }
        bench.group(group)?;
    }
    Ok(())
}

/// Copies within one submission.
const COPIES: u32 = 8;

/// An adapter by itself, without the engine.
struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    from: wgpu::Buffer,
    to: wgpu::Buffer,
    host: wgpu::Buffer,
    bytes: u64,
}

impl Gpu {
    fn open(info: &DeviceInfo, bytes: u64) -> Result<Self> {
        let devices = Devices::find(1)?;
        let adapter = devices.adapter(info).context("the device is gone")?;
        let limits = wgpu::Limits { max_buffer_size: bytes.max(256 << 20), ..wgpu::Limits::default() };
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..wgpu::DeviceDescriptor::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false })
        };
        let (source, target) = (wgpu::BufferUsages::COPY_SRC, wgpu::BufferUsages::COPY_DST);
        let from = buffer(source | target | wgpu::BufferUsages::STORAGE);
        let to = buffer(source | target | wgpu::BufferUsages::STORAGE);
        let host = buffer(target | wgpu::BufferUsages::MAP_READ);
        Ok(Self { device, queue, from, to, host, bytes })
    }

    fn submit(&self, encode: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<()> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encode(&mut encoder);
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }

    fn copy(&self) -> Result<()> {
        self.submit(|encoder| {
            for _ in 0..COPIES {
                encoder.copy_buffer_to_buffer(&self.from, 0, &self.to, 0, self.bytes);
            }
        })
    }

    fn upload(&self, data: &[u8]) -> Result<()> {
        self.queue.write_buffer(&self.from, 0, data);
        self.submit(|_| ())
    }

    fn read_back(&self, into: &mut [u8]) -> Result<()> {
        self.submit(|encoder| encoder.copy_buffer_to_buffer(&self.from, 0, &self.host, 0, self.bytes))?;
        let (send, receive) = crossbeam::channel::bounded(1);
        self.host.slice(..).map_async(wgpu::MapMode::Read, move |mapped| {
            send.send(mapped).ok();
        });
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        receive.recv()??;
        let mapped = self.host.slice(..).get_mapped_range()?;
        into.copy_from_slice(&mapped);
        drop(mapped);
        self.host.unmap();
        Ok(())
    }
}
