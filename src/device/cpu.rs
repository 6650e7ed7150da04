//! The `cpu` device: runs a recording with the CPU twins of its kernels, and needs no driver.
//!
//! A worker takes a chunk of frames and goes through it in short spans, all stages for one span before the next, so
//! that a sample comes from memory once and its results leave from the cache:
//!
//! ```text
//! chunk   | span: gate, filter, ... | span: gate, filter, ... | ...
//! ```
//!
//! A span ends when enough live frames have come together to fill the vectors; in a sparse signal it is long.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cpu_network::PackedModels;
use super::gating::{Gating, LiveRow};
use super::host::HostPool;
use super::{CompileReport, Device, PlanOptions, PreparedPlan};
use crate::error::Result;
use crate::frame::{FrameShape, FrameState, LONGEST_FRAME};
use crate::qos::Qos;
use crate::recording::batch::Batch;
use crate::recording::results::{Chunk, RunOutput};
use crate::recording::{FrameRef, Operand, Place, Recording, TwinCall, TwinOperand, TwinWorker};
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Network, NetworkOptions};
use crate::telemetry::{DeviceInfo, DeviceKind, MemorySnapshot};

/// Floats that are gated before the stages run on what is live: with the results, they fit the L2 cache of one core.
const SPAN_FLOATS: usize = 64 * 1024;
/// The vectors of the widest instruction set work on 16 frames at once.
const SHORTEST_SPAN: usize = 16;
/// Floats of the longest frame of this crate's own stages. Spans of longer ones are as short as one frame, since their
/// results take memory for all frames of a span.
const LONGEST_OWN_FRAME: usize = 2 * LONGEST_FRAME;
/// Floats of a chunk: long enough that even a sparse one fills the vectors.
const CHUNK_FLOATS: usize = 16 * SPAN_FLOATS;

#[derive(Debug)]
pub(crate) struct CpuDevice {
    host: HostPool,
    info: DeviceInfo,
    models: PackedModels,
}

impl CpuDevice {
    pub(crate) fn new(host: HostPool) -> Self {
        Self { info: cpu_info(&host), host, models: PackedModels::default() }
    }
}

/// What is known about the device that is a pool.
pub(super) fn cpu_info(host: &HostPool) -> DeviceInfo {
    DeviceInfo {
        name: "cpu".to_owned(),
        kind: DeviceKind::Cpu,
        backend: "native".to_owned(),
        driver: format!("{} on {} threads", host.level, host.threads),
        features: Vec::new(),
    }
}

impl Device for CpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn another(&self, _qos: Qos) -> Result<Option<Arc<dyn Device>>> {
        Ok(None)
    }

    fn fallback(&self) -> Option<Arc<dyn Device>> {
        None
    }

    fn has_fallback(&self) -> bool {
        false
    }

    fn memory(&self) -> Option<MemorySnapshot> {
        None
    }

    fn handles(&self) -> Option<(&wgpu::Device, &wgpu::Queue)> {
        None
    }

    fn prepare(&self, recording: Arc<Recording>, _options: &PlanOptions) -> Result<Box<dyn PreparedPlan>> {
        let start = Instant::now();
        let span = span_frames(&recording);
        let workers = (0..self.host.threads).map(|_| Mutex::new(Worker::new(&recording, &self.host, span))).collect();
        let shared_floats: usize = recording.shared_memory.iter().sum();
        let buffer_bytes = (self.host.threads * 2 * span * shared_floats * size_of::<f32>()) as u64;
        let report = CompileReport { buffer_bytes, time: start.elapsed(), ..CompileReport::default() };
        Ok(Box::new(CpuPlan { recording, host: self.host.clone(), span, workers, report }))
    }

    fn open_network(&self, model: &Arc<Model>, channels: usize, options: &NetworkOptions) -> Result<Box<dyn Network>> {
        Ok(self.models.open(&self.host, model, channels, options))
    }
}

/// Floats of a frame where they are most: of all inputs together, or of one result.
fn most_floats(recording: &Recording) -> usize {
    let inputs: usize = recording.inputs.iter().map(|(_, shape)| shape.floats()).sum();
    let results = recording.buffers.iter().map(|spec| spec.shape.floats()).max().unwrap_or(0);
    inputs.max(results).max(1)
}

/// Frames that a worker gates at once.
fn span_frames(recording: &Recording) -> usize {
    let results = recording.buffers.iter().map(|spec| spec.shape);
    let longest = recording.inputs.iter().map(|(_, shape)| *shape).chain(results).map(FrameShape::floats).max();
    let shortest = if longest.unwrap_or(0) <= LONGEST_OWN_FRAME { SHORTEST_SPAN } else { 1 };
    (SPAN_FLOATS / most_floats(recording)).max(shortest)
}

struct CpuPlan {
    recording: Arc<Recording>,
    host: HostPool,
    span: usize,
    workers: Vec<Mutex<Worker>>,
    report: CompileReport,
}

impl std::fmt::Debug for CpuPlan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CpuPlan").field("span", &self.span).finish_non_exhaustive()
    }
}

impl PreparedPlan for CpuPlan {
    fn run(&mut self, batch: &Batch<'_>, output: &mut RunOutput) -> Result<()> {
        let start = Instant::now();
        output.prepare(&self.recording, batch, self.chunk_frames(batch));
        let gating = Gating::new(&self.host, &self.recording, batch)?;
        let (workers, span) = (&self.workers, self.span);
        self.host.for_each(output.chunks(), |index, chunk| {
            let mut worker = workers[index].lock().unwrap_or_else(PoisonError::into_inner);
            worker.chunk(&gating, chunk, span)
        })?;
        output.ran(self.stage_times(start.elapsed()));
        Ok(())
    }

    fn report(&self) -> &CompileReport {
        &self.report
    }
}

impl CpuPlan {
    /// Long chunks for long batches; for short ones, enough chunks that every worker has some.
    fn chunk_frames(&self, batch: &Batch<'_>) -> usize {
        let longest = (CHUNK_FLOATS / most_floats(&self.recording)).max(self.span);
        let fair = batch.emitted().div_ceil(4 * self.host.threads);
        fair.clamp(SHORTEST_SPAN.min(self.span), longest)
    }

    /// Each stage's share of `wall`, by the time that the workers were busy with it.
    fn stage_times(&self, wall: Duration) -> Vec<(String, Duration)> {
        let mut busy = vec![Duration::ZERO; self.recording.steps.len() + 2];
        for worker in &self.workers {
            let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
            busy.iter_mut().zip(&mut worker.busy).for_each(|(sum, time)| *sum += std::mem::take(time));
        }
        let total: Duration = busy.iter().sum();
        let share = |time: Duration| wall.mul_f64(time.as_secs_f64() / total.as_secs_f64().max(1e-9));
        let gate = self.recording.gate.as_ref().map_or("frames", |step| &step.node);
        let names = std::iter::once(gate).chain(self.recording.steps.iter().map(|step| step.node.as_str()));
        names.chain(["collect"]).map(str::to_owned).zip(busy.into_iter().map(share)).collect()
    }
}

/// One thread's memory.
struct Worker {
    twins: Vec<Box<dyn TwinWorker>>,
    shared: Vec<Vec<f32>>,
    /// Live frames that a span has at most.
    most_live: usize,
    scratch: Vec<FrameState>,
    live: Vec<LiveRow>,
    /// Time with the gate, with each step, and with putting results into their places.
    busy: Vec<Duration>,
}

impl Worker {
    fn new(recording: &Recording, host: &HostPool, span: usize) -> Self {
        Self {
            twins: recording.steps.iter().map(|step| step.kernel.twin.worker(host.level)).collect(),
            shared: vec![Vec::new(); recording.shared_memory.len()],
            most_live: 2 * span,
            scratch: Vec::new(),
            live: Vec::new(),
            busy: vec![Duration::ZERO; recording.steps.len() + 2],
        }
    }

    fn chunk(&mut self, gating: &Gating<'_, '_>, mut chunk: Chunk<'_>, span: usize) -> Result<()> {
        let frames = chunk.frames.clone();
        let mut begin = frames.start;
        let mut at = frames.start;
        self.live.clear();
        while at < frames.end {
            let end = (at + span).min(frames.end);
            self.gate(gating, &mut chunk, at..end)?;
            at = end;
            if self.live.len() >= span || at == frames.end {
                self.stages(gating, &mut chunk, &(begin..at))?;
                begin = at;
                self.live.clear();
            }
        }
        Ok(())
    }

    fn gate(&mut self, gating: &Gating<'_, '_>, chunk: &mut Chunk<'_>, frames: Range<usize>) -> Result<()> {
        let start = Instant::now();
        let local = frames.start - chunk.frames.start..frames.end - chunk.frames.start;
        let states = &mut chunk.states[local];
        let decided = gating.span(frames, &mut self.scratch, states, &mut self.live);
        self.busy[0] += start.elapsed();
        decided
    }

    fn stages(&mut self, gating: &Gating<'_, '_>, chunk: &mut Chunk<'_>, span: &Range<usize>) -> Result<()> {
        let (recording, batch) = (gating.recording, gating.batch);
        let mut start = Instant::now();
        let live = self.live.len();
        if live > 0 {
            let inputs: Vec<Vec<FrameRef<'_>>> = (0..recording.inputs.len())
                .map(|input| self.live.iter().map(|row| row.frames(batch, input)).collect())
                .collect();
            let mut room: Vec<Option<&mut [f32]>> = chunk.room(span, live).into_iter().map(Some).collect();
            for index in 0..recording.steps.len() {
                self.step(recording, index, &inputs, &mut room, live)?;
                self.busy[1 + index] += start.elapsed();
                start = Instant::now();
            }
        }
        chunk.finish(recording, batch, span);
        let collect = self.busy.len() - 1;
        self.busy[collect] += start.elapsed();
        Ok(())
    }

    /// Memory for a result.
    fn take<'r>(&mut self, recording: &Recording, result: usize, room: &mut [Option<&'r mut [f32]>]) -> Taken<'r> {
        match recording.buffers[result].place {
            Place::Shared(piece) => {
                // It is empty at first, and after an error of a twin. After a panic of one, nobody uses the plan again.
                let mut memory = std::mem::take(&mut self.shared[piece]);
                memory.resize(self.most_live * recording.shared_memory[piece], 0.0);
                Taken::Shared(piece, memory)
            }
            Place::Output(place) => Taken::Output(place, room[place].take().unwrap_or_default()),
        }
    }

    fn step(
        &mut self,
        recording: &Recording,
        index: usize,
        inputs: &[Vec<FrameRef<'_>>],
        room: &mut [Option<&mut [f32]>],
        live: usize,
    ) -> Result<()> {
        let step = &recording.steps[index];
        // Results are taken out while operands are looked at: the two never share a place.
        let mut taken: Vec<Taken<'_>> = step.results.iter().map(|result| self.take(recording, *result, room)).collect();
        let operands: Vec<TwinOperand<'_, '_>> = step
            .operands
            .iter()
            .map(|operand| match *operand {
                Operand::Input(input) => TwinOperand::Frames(&inputs[input]),
                Operand::Buffer(buffer) => TwinOperand::Buffer(floats(recording, buffer, live, &self.shared, room)),
            })
            .collect();
        let mut results: Vec<&mut [f32]> = taken
            .iter_mut()
            .zip(&step.results)
            .map(|(taken, result)| &mut taken.floats()[..live * recording.buffers[*result].shape.floats()])
            .collect();
        self.twins[index].run(&mut TwinCall { frames: live, operands: &operands, results: &mut results })?;
        drop((operands, results));
        for taken in taken {
            match taken {
                Taken::Shared(piece, memory) => self.shared[piece] = memory,
                Taken::Output(place, memory) => room[place] = Some(memory),
            }
        }
        Ok(())
    }
}

/// Memory of a result, taken out of its place.
enum Taken<'a> {
    Shared(usize, Vec<f32>),
    Output(usize, &'a mut [f32]),
}

impl Taken<'_> {
    fn floats(&mut self) -> &mut [f32] {
        match self {
            Self::Shared(_, memory) => memory,
            Self::Output(_, memory) => memory,
        }
    }
}

/// The live frames in a buffer that was written before.
fn floats<'a>(
    recording: &Recording,
    buffer: usize,
    live: usize,
    shared: &'a [Vec<f32>],
    room: &'a [Option<&mut [f32]>],
) -> &'a [f32] {
    let spec = &recording.buffers[buffer];
    let floats = match spec.place {
        Place::Shared(piece) => shared[piece].as_slice(),
        Place::Output(place) => room[place].as_deref().unwrap_or(&[]),
    };
    &floats[..live * spec.shape.floats()]
}
