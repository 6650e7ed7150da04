//! The course of training, and what the mask does to a signal.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use plotters::prelude::*;

use crate::locate::emitter::{Emitters, Heard, Kind, Origin, Scene};
use crate::locate::training::PolicyStep;
use crate::locate::{DelayEstimator, DelayOptions, Policy};
use crate::picture::{PictureLabels, Spectrogram, draw};
use crate::random::Random;
use crate::{CustomKernel, Domain, Engine, Fourier, FrameShape, Graph, Taper};

/// Points of the curve, at most.
const POINTS: usize = 200;
/// Frames in the picture of a signal.
const FRAMES: usize = 96;

/// Residual, on a logarithmic axis, and reward over the steps.
pub(super) fn curve(history: &[PolicyStep], path: &Path) -> Result<()> {
    let each = history.len().div_ceil(POINTS).max(1);
    let mean = |part: &[PolicyStep], of: fn(&PolicyStep) -> f64| part.iter().map(of).sum::<f64>() / part.len() as f64;
    let points: Vec<(f64, f64, f64)> = history
        .chunks(each)
        .enumerate()
        .map(|(n, part)| ((n * each + part.len()) as f64, mean(part, |s| s.residual), mean(part, |s| s.reward)))
        .collect();
    let mut svg = String::new();
    {
        let steps = 0.0..history.len().max(1) as f64;
        let area = SVGBackend::with_string(&mut svg, (760, 420)).into_drawing_area();
        let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
        area.fill(&WHITE).map_err(failed)?;
        let range = |of: fn(&(f64, f64, f64)) -> f64| {
            let values = points.iter().map(of);
            let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
            if low < high { (low, high) } else { (low - 0.5, low + 0.5) }
        };
        let (low, high) = range(|point| point.1);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .caption("Training of the policy", ("sans-serif", 16))
            .x_label_area_size(36)
            .y_label_area_size(52)
            .right_y_label_area_size(52)
            .build_cartesian_2d(steps.clone(), (0.8 * low.max(1e-4)..1.2 * high.max(2e-4)).log_scale())
            .map_err(failed)?
            .set_secondary_coord(steps, range(|point| point.2).0..range(|point| point.2).1 + 0.1);
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("steps")
            .y_desc("residual, samples")
            .draw()
            .map_err(failed)?;
        chart.configure_secondary_axes().y_desc("reward").draw().map_err(failed)?;
        // Blue and vermilion, which the colour-blind can tell apart.
        let (blue, vermilion) = (RGBColor(0, 114, 178), RGBColor(213, 94, 0));
        let residual = LineSeries::new(points.iter().map(|point| (point.0, point.1)), blue.stroke_width(2));
        chart
            .draw_series(residual)
            .map_err(failed)?
            .label("residual")
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], blue.stroke_width(2)));
        let reward = LineSeries::new(points.iter().map(|point| (point.0, point.2)), vermilion.stroke_width(1));
        chart
            .draw_secondary_series(reward)
            .map_err(failed)?
            .label("reward")
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], vermilion));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    std::fs::write(path, svg).with_context(|| path.display().to_string())
}

/// A jammed QPSK signal at 10 dB as the first receiver hears it, before and after the square of the mask.
pub(super) fn before_after(policy: &Policy, engine: &Engine, path: &Path) -> Result<()> {
    let estimator = DelayEstimator::new(engine, &DelayOptions::default())?;
    let len = estimator.options().frame_len;
    let emitters = Emitters::new(len);
    let mut random = Random::new(1, 0);
    let scene = Scene { origin: Origin::Made(Kind::Qpsk), snr_db: 10.0, has_jammer: true };
    let heard: Vec<Heard> = (0..FRAMES).map(|_| emitters.hear(&scene, &mut random)).collect();
    let frames = |of: fn(&Heard) -> &Vec<num_complex::Complex32>| -> Vec<f32> {
        heard.iter().flat_map(of).flat_map(|z| [z.re, z.im]).collect()
    };
    let (first, second) = (frames(|pair| &pair.first), frames(|pair| &pair.second));
    let spectra = (estimator.spectra(&first)?, estimator.spectra(&second)?);
    let masks: Vec<f32> = spectra
        .0
        .chunks_exact(2 * len)
        .zip(spectra.1.chunks_exact(2 * len))
        .flat_map(|(first, second)| policy.mask(first, second).into_iter().map(|mask| mask * mask))
        .collect();
    let cleaned = masked(engine, len, &first, &masks)?;
    let picture = |samples: &[f32]| {
        let mut spectrogram = Spectrogram::new(None, Domain::Complex, Some((FRAMES * len) as u64));
        spectrogram.push(samples);
        spectrogram.finish();
        spectrogram
    };
    let labels = PictureLabels {
        title: "QPSK at 10 dB with jammers",
        subtitle: "Frames of 1024 samples, each with a signal and a jammer of its own",
        before: "what the first receiver hears",
        after: "times the square of the mask, frame by frame",
    };
    let png = draw(&picture(&first), &picture(&cleaned), &labels)?;
    std::fs::write(path, png).with_context(|| path.display().to_string())
}

/// Frames with each bin multiplied: transforms of the crate around a kernel of one line.
fn masked(engine: &Engine, len: usize, samples: &[f32], masks: &[f32]) -> Result<Vec<f32>> {
    let multiply = CustomKernel::new(
        "struct Params { count: u32, frame_len: u32 }
         @group(0) @binding(0) var<uniform> params: Params;
         @group(0) @binding(1) var<storage, read> spectra: array<f32>;
         @group(0) @binding(2) var<storage, read> masks: array<f32>;
         @group(0) @binding(3) var<storage, read_write> result: array<f32>;
         @compute @workgroup_size(64)
         fn multiply(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
                     @builtin(local_invocation_index) lane: u32) {
             let frame = flat_workgroup(id, count);
             if frame >= params.count { return; }
             for (var i = lane; i < params.frame_len; i += 64u) {
                 let at = frame * params.frame_len + i;
                 result[at] = masks[at / 2u] * spectra[at];
             }
         }",
        |sources, result| {
            for (at, value) in result.iter_mut().enumerate() {
                *value = sources[1][at / 2] * sources[0][at];
            }
        },
    );
    let graph = Graph::new()
        .input("samples", FrameShape::complex(len))
        .input("masks", FrameShape::real(len))
        .fourier("spectra", "samples", Fourier::Forward(Taper::Rectangular))
        .kernel("masked", &["spectra", "masks"], multiply)
        .fourier("back", "masked", Fourier::Inverse)
        .output("cleaned", "back");
    let output = engine.compile(&graph)?.run(&[samples, masks], 1)?;
    Ok(output.dense("cleaned").unwrap_or_default().to_vec())
}
