//! Auricle cleans live signals on whatever processor a machine has: a compute graph on wgpu, whose kernels are portable
//! WGSL for any Vulkan, Metal or DX12 GPU, each with a fast native twin for the CPU.
//!
//! ```
//! use auricle::{CustomKernel, Engine, EngineOptions, FrameShape, Gate, Graph, PhiResolvent};
//!
//! // A kernel of your own, in WGSL and as a closure: it clips each live frame softly.
//! const SOFT_CLIP: &str = "
//!     struct Params { count: u32, frame_len: u32, drive: f32 }
//!     @group(0) @binding(0) var<uniform> params: Params;
//!     @group(0) @binding(1) var<storage, read> source: array<f32>;
//!     @group(0) @binding(2) var<storage, read_write> result: array<f32>;
//!     @compute @workgroup_size(64)
//!     fn soft_clip(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
//!                  @builtin(local_invocation_index) lane: u32) {
//!         let frame = flat_workgroup(id, count);
//!         if frame >= params.count { return; }
//!         for (var i = lane; i < params.frame_len; i += 64u) {
//!             let driven = params.drive * source[frame * params.frame_len + i];
//!             result[frame * params.frame_len + i] = driven / (1.0 + abs(driven));
//!         }
//!     }";
//! let drive = 2.0_f32;
//! let soft_clip = CustomKernel::new(SOFT_CLIP, move |sources, result| {
//!     for (y, x) in result.iter_mut().zip(sources[0]) {
//!         *y = drive * x / (1.0 + (drive * x).abs());
//!     }
//! });
//!
//! let graph = Graph::new()
//!     .input("samples", FrameShape::real(1024))
//!     .gate("gate", "samples", Gate::default())
//!     .filter("filter", "gate", PhiResolvent::default())
//!     .kernel("clip", &["filter"], soft_clip.param(drive))
//!     .output("clean", "clip");
//!
//! // A hardware GPU where there is one, else the CPU.
//! let engine = Engine::open(&EngineOptions::default())?;
//! let plan = engine.compile(&graph)?;
//!
//! // Two channels of eight frames each, the second one silent.
//! let mut samples: Vec<f32> = (0..8 * 1024).map(|n| (n as f32 * 0.05).sin()).collect();
//! samples.resize(2 * 8 * 1024, 0.0);
//! let output = plan.run(&[&samples], 2)?;
//! assert_eq!(output.counts().live, 8);
//! assert_eq!(output.dense("clean").map(<[f32]>::len), Some(2 * 8 * 1024));
//! # Ok::<(), auricle::Error>(())
//! ```
//!
//! For a signal that keeps coming, [`Plan::session`] takes it in pieces and gives back what the whole would have given.
//! Where several share a device, [`Engine::submit`] takes jobs of three levels of service ([`Qos`]), and keeps urgent ones
//! on time; [`Engine::suggest_batch`] says how large the next one should be. [`Engine::open_stream`] opens a live stream,
//! one of as many as there need be, which go through the device together.
//!
//! # How it is built
//!
//! ```text
//! data     source -> gate -> filter -> denoise -> sink
//! control  submit -> queue -> lane -> device
//! ```
//!
//! A [`Graph`] is checked as a whole and becomes a recording: plain data that either device runs, a GPU with the WGSL
//! kernels or the CPU with their twins. The gate's decisions are equal to the bit on every device; the filter's
//! output agrees with its definition in f64 within 1e-6 of a frame's level. A denoiser, which has a hop and a state of
//! its own, stands between two recordings; published networks give what their reference runtime gives, 60 dB and more
//! above the difference.
//!
//! ```text
//! cli                     arguments in, exit code out; the only user of `import`
//! train                   makes the built-in denoiser from data that it makes itself
//! dashboard               a window on an engine: figures, spectra, controls; the only user of egui
//! serve                   the engine over HTTP: hints, cleaning, live streams, metrics
//! picture                 spectrograms and their colours, for the command line and the dashboard
//!   chain                 gate, filter and denoiser as all three of them run them
//! quality, locate         beside the flow: measures of a cleaned signal; how much later a second receiver heard it, and
//!                         the training of the policy that says so
//!   engine                what embedders hold: open, compile, submit, snapshot, shut down
//!     stream              LIVE: rings, the observer, streams of one plan and level in one batch
//!     schedule            CONTROL: jobs of three levels, their queues, lanes and tickets; how large the next should be
//!       plan              a compiled graph: runs and sessions, and what pieces of them cost
//!     device              EXECUTION: adapter choice, gpu, cpu, host; a command queue for each level
//!       graph             nodes and edges, checked and planned into one recording
//!         stage           DATA: source, gate, filter, denoise, sink
//!           recording     a compiled graph as plain data; the batch on its way through it, and the results
//!           fft, simd     the filter's transform on the CPU; vectors on AVX-512, AVX2, NEON or plain Rust
//!           format        signal files: WAV, raw, SigMF
//!           tensors       weights with names, and their files
//!           resample      other sample rates than a network's
//!             isolation     cores for threads, memory that stays
//!             frame, memory, qos, telemetry, sync, error; random, regulariser
//! ```
//!
//! # When something fails
//!
//! | what fails | what you see | what is lost | test |
//! | --- | --- | --- | --- |
//! | a device is lost, does not answer for a minute or fails: before, in or after a run or a job | nothing but [`Health`]: it is done again on a new device, else on the CPU | nothing | `loss::jobs_are_done_on_another_device_as_if_nothing_had_happened`, `plain_runs_are_done_again_and_many_threads_replace_a_device_once`, `a_wgpu_device_that_is_gone_is_replaced` |
//! | no new device opens, or the new ones fail too | as above, on the CPU | nothing | `loss::when_no_new_device_opens_the_cpu_goes_on` |
//! | in compiling | as above | nothing | `loss::a_lost_device_is_no_reason_not_to_compile` |
//! | in a [`Session`] | an error; the next session has another device | the session | `loss::a_session_ends_with_its_device_and_the_next_one_has_another` |
//! | under a live stream | nothing | nothing; with a denoiser what it was working on is silence | `loss::streams_go_on_over_a_lost_device`, `a_stream_follows_its_level_to_the_new_device`, `a_denoised_stream_goes_on_in_time_with_a_gap_of_silence` |
//! | under a quiet stream with a denoiser, which is moved before it notices | [`Error::DeviceLost`] from [`Engine::move_stream`], and from the stream | that stream: what its network knew is gone | `loss::a_stream_that_moves_off_a_lost_device_ends_and_leaves_no_place_taken` |
//! | a device has no room | [`Error::OutOfMemory`]; [`Error::Stream`] from live streams that find none after [`Engine::sleep`] | what was asked for, which can be tried again; a session that failed half-way through a push; those streams | `memory::what_the_budget_does_not_allow_is_refused_and_harms_nothing`, `streams_that_have_no_room_are_refused_and_the_others_go_on`, `who_wakes_without_room_is_told_and_can_try_again` |
//! | a loop in a [`CustomKernel`] does not end | [`Error::CustomKernel`] with its node, [`Error::Stream`] from live streams | that run, that job; the streams of that plan and level, which share its batches | `custom::a_loop_that_does_not_end_is_ended_and_named` |
//! | a closure, on a lane or as a kernel's twin, does not return | its lane is busy: jobs expire, `shutdown` gives up after its grace | what waits for that lane | `jobs_ends::a_closure_that_does_not_return_holds_its_lane_only`, `a_drain_that_takes_too_long_gives_up_the_rest` |
//! | WGSL that is made to overflow a compiler's stack, or to keep it busy | [`Error::CustomKernel`] | nothing | `refusals::text_that_compilers_would_choke_on_is_refused` |
//! | a kernel's closure panics | the panic in [`Plan::run`]; [`Error::JobPanicked`] from a job; [`Error::Stream`] from live streams of that plan | that run, that job, those streams | `custom::a_closure_that_panics_costs_its_run`, `a_closure_that_panics_ends_the_streams_of_its_plan_and_no_others`, `jobs::a_panic_costs_its_job_and_nothing_else` |
//! | an app's code panics: on a lane, in a waker, in a callback, holding a lane | [`Error::JobPanicked`], [`Error::Stream`] | that job, that stream | `jobs::a_panic_costs_its_job_and_nothing_else`, `a_waker_that_panics_costs_no_lane`, `a_lane_can_be_possessed_and_comes_back_also_by_a_panic`, `streams_ends::a_callback_gets_everything_and_its_panic_ends_its_own_stream_only` |
//! | samples are no numbers | [`Error::FaultyFrame`] with the place, or silence where [`Faulty`] says so | that push, which can be mended | `faulty::a_rejected_push_changes_nothing`, `streams::a_nan_is_refused_with_its_place_and_nothing_of_its_push_is_taken` |
//! | nobody pulls a stream | what its [`BackPressure`] says, counted | as it says | `streams::what_has_no_room_is_dropped_as_asked_and_counted` |
//! | a queue is full, a job is late | [`Error::QueueFull`] with when to come back, [`Error::Expired`] | that job | `jobs::full_queues_refuse_and_say_when_to_come_back`, `jobs_ends::a_job_expires_on_time_though_the_device_is_busy` |
//! | an HTTP client is slow, silent or sends rubbish | it is let go; the others go on | its request or stream | `serve::whoever_is_slow_is_let_go`, `rubbish_is_survived`, `fuzzing` |
//! | a file, model, graph or kernel is damaged or hostile | an error that names what and where | nothing | `fuzzing`, `wav`, `model`, `refusals` |
//! | the disk fills up | an error with the file's name | the new file; an older one stays | `cli_ends::a_disk_that_fills_up_keeps_the_older_file` |
//! | `auricle run` is told to stop: SIGINT, SIGTERM | exit code 1 | the new file; an older one stays | `cli_ends::ctrl_c_leaves_nothing_behind` |
//! | it is killed: SIGKILL, power | a hidden `.auricle-` file stays | the new file; an older one stays | `cli_ends::a_kill_damages_no_older_file_and_is_in_nobodys_way` |
//! | the clock jumps | nothing: only dates that people read come from it | nothing | a lint forbids the rest |
//!
//! [`FaultPlan`] makes devices fail on purpose, for tests of your own.
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | sample | one `f32`; for IQ, one complex value stored as two |
//! | frame | consecutive samples of one channel: a power of two, 64 to 4096, 1024 unless said |
//! | channel | one continuous signal with its own state |
//! | batch | the frames that one run works on, from one channel or from many |
//! | stage | a role in the data flow: gate, filter, denoise |
//! | window, hop | what a denoiser looks at, and how far it moves on; not tied to frames |
//! | kernel | one WGSL entry point together with its CPU twin |
//! | job | one submission of a plan or of an app's own code; answered through a ticket |
//! | QoS | what a job is promised: `High`, `Default`, `Low` |
//! | stream | a long-lived signal that is pushed and pulled; the engine batches streams of the same plan |
//! | lane | an in-order command queue with its own thread; lanes belong to a QoS |
//! | plan | a compiled graph: pipelines, bind groups, buffers for each batch bucket |

// Tests that the library shares with those in `tests` call it by its name.
#[cfg(test)]
extern crate self as auricle;

#[cfg(feature = "cli")]
pub mod cli;

#[cfg(feature = "serve")]
pub mod serve;

#[cfg(feature = "dashboard")]
pub mod dashboard;

#[cfg(any(feature = "cli", feature = "serve", feature = "dashboard"))]
mod chain;

mod engine;

mod stream;

mod schedule;

mod plan;

mod device;

mod graph;

#[cfg(feature = "cli")]
pub mod import;

pub mod stage;

pub mod quality;

pub mod locate;

pub mod resample;

mod recording;

mod fft;

mod simd;

pub mod format;

mod tensors;

#[cfg(any(feature = "cli", feature = "dashboard"))]
pub mod picture;

#[cfg(feature = "train")]
pub mod train;

#[cfg(any(feature = "cli", feature = "train"))]
mod random;

#[cfg(any(feature = "cli", feature = "train"))]
mod regulariser;

mod memory;

mod isolation;

mod telemetry;

mod sync;

mod qos;

mod frame;

mod error;

pub use device::{
    CompileReport, DeviceChoice, Devices, Fault, FaultPlan, GatePlacement, PipelineCacheDir, PlanOptions,
};
pub use engine::{Engine, EngineOptions};
pub use error::{Error, Result};
pub use frame::{Domain, Faulty, FrameShape, FrameState, LONGEST_FRAME, Quiet, SHORTEST_FRAME};
pub use graph::{CustomKernel, Graph, ParamWord};
pub use isolation::{Cpu, IsolatedThread, IsolationOptions, IsolationReport, LockedMemory, Topology};
pub use memory::{HostBuffer, HugePages, MemoryTier};
pub use plan::{Plan, Session};
pub use qos::{PerQos, Qos};
pub use recording::results::{FrameCounts, Layout, LiveFrame, RunOutput};
pub use schedule::{
    BatchAction, BatchHint, BoundBy, JobOptions, Lane, LaneGuard, Samples, ScheduleOptions, ShutDown, Ticket,
    entropy_of_powers, qos_from_entropy, spectral_entropy,
};
pub use stage::denoise::{Denoise, Level, Precision};
pub use stage::filter::{FilterMode, FilterOutput, GOLDEN_RATIO, Measure, PhiResolvent, Wavenumber, measure};
pub use stage::fourier::{Fourier, Taper};
pub use stage::gate::{Gate, Threshold};
pub use stream::{BackPressure, Stream, StreamControl, StreamCounters, StreamInput, StreamOptions, StreamOutput};
pub use telemetry::{
    CompiledSnapshot, DeviceInfo, DeviceKind, Health, HealthState, LaneSnapshot, Latency, MemorySnapshot, NodeKind,
    NodeSnapshot, PlanSnapshot, QosSnapshot, Snapshot, Span, StageSnapshot, StreamsSnapshot, WorkSnapshot,
};
