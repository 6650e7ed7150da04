//! The only test binary.

#![expect(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may stop at a surprise; Clippy's own exception leaves out what tests share"
)]

/// Counts what is in use, for those who look for leaks.
#[global_allocator]
static HEAP: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// Picks the test adapters, and compiles graphs for all of them.
mod adapter;

/// Signals to test with.
mod signals;

/// Signals pushed through a session, piece by piece.
mod pieces;

/// Slow definitions in f64.
mod oracle;

/// Tolerances, and tests that they reject a wrong answer.
mod compare;

/// The gate's decisions: thresholds, special values, every length.
mod gate;

/// The gate over time: hold, sessions, channels.
mod hold;

/// Numbers at the ends of what an `f32` holds.
mod extremes;

/// Hours in a process of somebody else's.
mod soak;

/// Doors that take bytes from outside, given any bytes.
#[cfg(feature = "serve")]
mod fuzzing;

/// Frames that are not finite.
mod faulty;

/// Batches of every size: buckets, layouts, the same bits again.
mod batches;

/// The phi-resolvent filter, frame by frame.
mod filter;

/// The transform as a node of a graph.
mod fourier;

/// Results whose memory is used again.
mod reuse;

/// The phi-resolvent filter across frames.
mod seamless;

/// Coherence, and the damped energy with its gradient.
mod measure;

/// Kernels that users bring.
mod custom;

/// Custom kernels that are refused, and why.
mod refusals;

/// Graphs that are refused, and the node that is named.
mod graph;

/// Small models to test the denoiser with.
mod denoise_models;

/// What a denoiser computes, in f64.
mod denoise_oracle;

/// Denoisers through the door that embedders come in by.
#[cfg(feature = "cli")]
mod denoise;

/// How good denoised speech is.
#[cfg(feature = "cli")]
mod denoise_quality;

/// Jobs of every level: answers, order.
mod jobs;

/// Jobs that expire, are cancelled, or are given up.
mod jobs_ends;

/// How large the next batch should be.
mod hints;

/// The dashboard: its controls, its pictures, its window.
#[cfg(all(feature = "dashboard", feature = "cli"))]
mod dashboard;

/// The dashboard as a program: pictures, a real window, mistakes.
#[cfg(all(feature = "dashboard", feature = "cli"))]
mod dashboard_window;

/// A server for tests of the HTTP service.
#[cfg(feature = "serve")]
mod server;

/// The HTTP service.
#[cfg(feature = "serve")]
mod serve;

/// Its WebSocket.
#[cfg(feature = "serve")]
mod serve_stream;

/// The HTTP service, as a process.
#[cfg(all(feature = "serve", feature = "cli"))]
mod cli_serve;

/// Live streams: what comes out, what is counted.
mod streams;

/// How they end, and what they leave to others.
mod streams_ends;

/// Devices that fail, and what goes on all the same.
mod loss;

/// Device memory: used, given back, refused.
mod memory;

/// Threads on cores of their own, and memory that stays.
mod isolation;

/// What a snapshot says of plans.
mod snapshot;

/// How uncertain a signal is.
mod entropy;

/// Which device is opened.
mod devices;

/// Pipelines that are built once: in memory, and on disk.
mod compile;

/// Delays between two receivers, and the policy that weights bins for them.
#[cfg(feature = "cli")]
mod locate;

/// Files to read, files to write, and recordings that do not come with the sources.
mod files;

/// WAV files.
mod wav;

/// Raw files, pipes and hints.
mod raw;

/// SigMF pairs.
mod sigmf;

/// Every format, there and back.
mod round_trip;

/// What a sink leaves behind.
mod sink;

/// Other sample rates, there and back.
mod resample;

/// Model files.
mod model;

/// The measures, against published implementations; the baselines.
mod quality;

/// Published networks.
#[cfg(feature = "cli")]
mod import;

/// The command line.
#[cfg(feature = "cli")]
mod cli;

/// Runs that are told to stop, are killed, or have no room: what stays, and what is said.
#[cfg(all(feature = "cli", unix))]
mod cli_ends;

/// Figures that a user measures.
#[cfg(feature = "cli")]
mod bench_cli;

/// `auricle run` with a denoiser.
#[cfg(feature = "cli")]
mod denoise_cli;

/// `auricle eval`.
#[cfg(feature = "cli")]
mod eval;

/// `auricle model`.
#[cfg(feature = "cli")]
mod model_cli;

/// The package itself.
mod package;
