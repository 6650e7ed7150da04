//! `auricle bench gate|filter|pipeline|denoise|start|all`: rates beside what limits them, and beside what else one
//! could use.

mod cpu;

mod curves;

mod device;

mod document;

mod limits;

mod outside;

mod picture;

mod rust_peers;

mod start;

mod turns;

mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use self::document::{Document, Machine};
use self::outside::Outside;
use self::turns::{Effort, FigureResult, Member, measure};
use super::{Place, give};
use crate::cli::{Misuse, print};
use crate::stage::denoise::model::Model;
use crate::{DeviceChoice, DeviceInfo, DeviceKind, Devices, Engine, EngineOptions};

/// The long help.
pub(super) const DETAILS: &str = "\
Members of a group take turns, round after round; a figure is the median of its
rounds, a ratio the median of the ratios within a round. On a machine that
others use, ratios hold where rates do not.

Parts of `all`, of which gate, filter, pipeline, denoise and start can be asked
for alone:

  limits      what this machine does at most: reading and copying memory,
              multiply-adds in registers, and a device's copies, uploads and
              readbacks; each figure is given as a part of what limits it
  gate        looking at 512 MiB, nothing of which is live
  filter      frames of 1024 samples from and to a cache
  pipeline    gate and filter over 512 MiB, 0, 50, 90 and 99 % of it quiet
  ingest      one live stream as fast as it takes samples in, out of a cache,
              and gives them back
  denoise     channels in real time, a hop at a time (1ch to 256ch) and a
              recording (file); f32, f16 and int8
  curves      the filter over batches, threads and lengths of frames
  start       `auricle run` on a second of sound, from start to end
  qos         urgent jobs beside endless background work; `auricle bench qos`
              has more of it
  device      the same on an adapter, and its kernels by themselves

Frames are 1024 samples of f32. `1t` is one thread, `2t` are two. Where --device
is an adapter, or `auto` finds a hardware GPU, `all` measures the same there;
else, unless it is `cpu`, on a software adapter where there is one.

Peers: what is written in Rust is measured beside ours (with the feature
`peers`, nnnoiseless too); others join with --peer, a command that takes turns
when it is told to. `benches/peers/run`, in the source, does all of this with
numpy, scipy, mkl_fft, residue-protocol, onnxruntime and torch beside it.

Examples:
  auricle bench all --quick               everything, in less than three minutes
  auricle bench all --json new.json \\
    --compare benches/results/2026-11-22-xeon-6-207.json
  auricle bench pipeline --rounds 51
  auricle bench table benches/results/2026-11-22-xeon-6-207.json";

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct FigureArguments {
    #[command(flatten)]
    place: Place,

    /// 5 rounds instead of 21, for a first look.
    #[arg(long)]
    quick: bool,

    /// Rounds, of which the median counts [default: 21, with --quick 5].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,

    /// Hold the figures against those of this file too.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,

    /// Draw the scaling curves as SVG.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// A command that measures something else beside ours, in turns; more than once if you like.
    #[arg(long, value_name = "COMMAND")]
    peer: Vec<String>,

    /// DTLN's weights, as `auricle model import dtln` makes them; else random ones of the same shape, which take as long.
    #[arg(long, value_name = "FILE")]
    dtln: Option<PathBuf>,
}

/// One kind of figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gate,
    Filter,
    Pipeline,
    Denoise,
    Start,
    All,
}

impl Kind {
    fn check(self, arguments: &FigureArguments) -> Result<()> {
        if arguments.compare.is_some() && arguments.place.is_json_out() {
            bail!(Misuse("--compare prints a table: give --json the name of a file".to_owned()));
        }
        let has_curves = matches!(self, Self::All | Self::Pipeline | Self::Denoise);
        if arguments.picture.is_some() && !has_curves {
            bail!(Misuse("--picture: there is no curve in this part; `auricle bench all` has them".to_owned()));
        }
        let has_device = matches!(self, Self::All | Self::Start);
        if !has_device && !matches!(arguments.place.device.choice, DeviceChoice::Auto | DeviceChoice::Cpu) {
            bail!(Misuse(
                "--device: this part is measured on the CPU; `auricle bench all --device ...` measures adapters"
                    .to_owned()
            ));
        }
        Ok(())
    }
}

/// What is being measured, and what came of it so far.
pub(super) struct Bench {
    cores: usize,
    effort: Effort,
    outside: Outside,
    /// Where figures of a device are taken.
    adapter: Option<DeviceInfo>,
    dtln: Option<Arc<Model>>,
    quick: bool,
    progress: indicatif::ProgressBar,
    /// Parts that could not be measured to their end.
    failed: Vec<&'static str>,
    skipped: BTreeMap<String, String>,
    limits: Vec<FigureResult>,
    results: Vec<FigureResult>,
}

pub(super) fn bench(kind: Kind, arguments: &FigureArguments) -> Result<()> {
    // What can fail fails before minutes have gone by.
    kind.check(arguments)?;
    let before = arguments.compare.as_deref().map(Document::read).transpose()?;
    let load_before = document::load_average();
    let mut bench = Bench::new(kind, arguments)?;
    type Part = (&'static str, fn(&mut Bench) -> Result<()>);
    let parts: &[Part] = match kind {
        Kind::Gate => &[("gate", cpu::gate)],
        Kind::Filter => &[("filter", cpu::filter)],
        Kind::Pipeline => &[("pipeline", cpu::pipeline)],
        Kind::Denoise => &[("denoise", cpu::denoise)],
        Kind::Start => &[("start", start::start)],
        Kind::All => &[
            ("limits", cpu::limits),
            ("gate", cpu::gate),
            ("filter", cpu::filter),
            ("pipeline", cpu::pipeline),
            ("ingest", cpu::ingest),
            ("denoise", cpu::denoise),
            ("curves", curves::curves),
            ("start", start::start),
            ("qos", qos),
            ("device", device::device),
        ],
    };
    for (name, part) in parts {
        bench.part(name, part);
    }
    bench.progress.finish_and_clear();
    let failed = std::mem::take(&mut bench.failed);
    let document = bench.document(kind, arguments, load_before);
    give(&document, &document.table(), arguments.place.json.as_deref())?;
    if let Some(path) = &arguments.picture {
        picture::draw(&document, path)?;
    }
    if let (Some(before), Some(path)) = (before, &arguments.compare) {
        print(&format!("\n{}", document.compared(&before, path)?))?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("measuring {} failed; the figures of the rest are there", failed.join(", "))
}

/// Prints the README's table of a result file, and draws its picture.
pub(super) fn table(path: &Path, picture: Option<&Path>) -> Result<()> {
    let document = Document::read(path)?;
    if let Some(picture) = picture {
        picture::draw(&document, picture)?;
    }
    print(document.markdown(&path.display().to_string().replace('\\', "/")).trim_end())
}

impl Bench {
    fn new(kind: Kind, arguments: &FigureArguments) -> Result<Self> {
        let cores = match arguments.place.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        };
        let choice = &arguments.place.device.choice;
        let rounds = arguments.rounds.unwrap_or(if arguments.quick { 5 } else { 21 });
        let dtln = match &arguments.dtln {
            None => None,
            Some(path) => {
                let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                Some(Arc::new(Model::from_bytes(&bytes).with_context(|| format!("--dtln {}", path.display()))?))
            }
        };
        let progress = indicatif::ProgressBar::new_spinner();
        progress.enable_steady_tick(std::time::Duration::from_millis(200));
        Ok(Self {
            cores,
            effort: Effort { rounds: rounds as usize, turn_s: 0.02 },
            outside: Outside::start(&arguments.peer, cores)?,
            adapter: if matches!(kind, Kind::All | Kind::Start) { adapter_of(choice)? } else { None },
            dtln,
            quick: arguments.quick,
            progress,
            failed: Vec::new(),
            skipped: BTreeMap::new(),
            limits: Vec::new(),
            results: Vec::new(),
        })
    }

    /// One thread, and as many as there are cores.
    fn thread_counts(&self) -> Vec<usize> {
        if self.cores > 1 { vec![1, self.cores] } else { vec![1] }
    }

    fn adapter(&self) -> Option<&DeviceInfo> {
        self.adapter.as_ref()
    }

    fn dtln(&self) -> Result<Arc<Model>> {
        self.dtln.clone().map_or_else(work::dtln_shape, Ok)
    }

    /// Measures one part. Where that fails, what was measured before is not lost for it.
    fn part(&mut self, name: &'static str, measure: &dyn Fn(&mut Self) -> Result<()>) {
        self.progress.set_message(format!("measuring {name}"));
        if let Err(error) = measure(self) {
            self.skipped.insert(name.to_owned(), format!("{error:#}"));
            self.failed.push(name);
        }
    }

    /// Notes a figure that was measured elsewhere, once.
    fn note(&mut self, name: &str, unit: &str, value: f64) {
        let value = turns::significant(value);
        self.results.push(FigureResult {
            name: name.to_owned(),
            unit: unit.to_owned(),
            median: value,
            min: value,
            max: value,
            limit: None,
            of_limit: None,
            vs: BTreeMap::new(),
        });
    }

    /// Measures members in turns, with the peers from outside that belong to them.
    fn group(&mut self, members: Vec<Member<'_>>) -> Result<()> {
        let measured = measure(self.outside.join(members), self.effort)?;
        // A limit is measured with each group that is held against it; the first time is kept.
        for limit in measured.limits {
            if self.limits.iter().all(|known| known.name != limit.name) {
                self.limits.push(limit);
            }
        }
        self.results.extend(measured.results);
        self.skipped.extend(measured.failed);
        Ok(())
    }

    fn document(self, kind: Kind, arguments: &FigureArguments, load_before: Option<f64>) -> Document {
        let idle = if kind == Kind::All { self.outside.idle(&self.results) } else { Vec::new() };
        let mut versions = self.outside.versions;
        versions.insert("auricle".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let mut skipped = self.skipped;
        skipped.extend(idle);
        skipped.extend(self.outside.skipped);
        Document {
            machine: Machine::this(self.cores),
            adapter: self.adapter.as_ref().map_or_else(|| "cpu".to_owned(), |adapter| adapter.name.clone()),
            driver: self.adapter.map_or_else(String::new, |adapter| adapter.driver),
            versions,
            date: document::today(),
            quick: arguments.quick,
            load_before,
            limits: self.limits,
            results: self.results,
            skipped,
        }
    }
}

/// Urgent jobs beside endless background work, as `auricle bench qos` has them.
fn qos(bench: &mut Bench) -> Result<()> {
    let figures = super::qos::short(bench.cores, bench.quick)?;
    bench.note("qos.high.p99", "ms", figures.high_p99_ms);
    bench.note("qos.high.p99.alone", "ms", figures.high_p99_control_ms);
    bench.note("qos.low.share", "of all frames", figures.low_share);
    bench.note("qos.total", "of background work alone", figures.total_vs_low_only);
    if let Some(cpu_us) = figures.scheduler_cpu_us_per_job {
        bench.note("qos.job.cpu", "us", cpu_us);
    }
    Ok(())
}

/// The adapter that is meant: for `auto`, a hardware GPU, else a software one; none for `cpu`.
fn adapter_of(choice: &DeviceChoice) -> Result<Option<DeviceInfo>> {
    match choice {
        DeviceChoice::Cpu => Ok(None),
        DeviceChoice::Auto => Ok(Devices::find(1)?.list().into_iter().find(|device| device.kind != DeviceKind::Cpu)),
        choice => {
            let options = EngineOptions { device: choice.clone(), threads: 1, ..EngineOptions::default() };
            Ok(Some(Engine::open(&options)?.device().clone()))
        }
    }
}
