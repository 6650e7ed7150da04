//! The scaling curves as a picture.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use plotters::prelude::*;

use super::document::Document;

/// One panel: results whose names begin and end so have between that where they are on the horizontal axis.
struct Panel {
    prefix: &'static str,
    suffix: String,
    title: &'static str,
    across: &'static str,
    /// Whether each doubling takes as much room.
    is_log: bool,
}

fn panels(cores: usize) -> [Panel; 5] {
    let panel = |prefix, suffix: &str, title, across| Panel {
        prefix,
        suffix: suffix.to_owned(),
        title,
        across,
        is_log: prefix != "pipeline.sparse",
    };
    let all_cores = format!(".{cores}t");
    [
        panel("curve.batch.", "", "Filter: frames in a batch", "frames/s"),
        panel("curve.threads.", "", "Filter: threads", "frames/s"),
        panel("curve.length.", "", "Filter: samples in a frame", "samples/s"),
        panel("pipeline.sparse", &all_cores, "Gate and filter: % of the frames quiet", "frames/s"),
        panel("denoise.dtln.", "ch.1t", "DTLN: channels at once, 1 thread", "channels"),
    ]
}

impl Panel {
    fn points(&self, document: &Document) -> Vec<(f64, f64)> {
        let results = document.results.iter().filter_map(|result| {
            let at: f64 = result.name.strip_prefix(self.prefix)?.strip_suffix(&*self.suffix)?.parse().ok()?;
            Some((if self.is_log { at.log2() } else { at }, result.median))
        });
        let mut points: Vec<(f64, f64)> = results.collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points
    }

    /// What stands at a place of the horizontal axis.
    fn label(&self, at: f64) -> String {
        match (self.is_log, (at - at.round()).abs() < 1e-6) {
            (false, _) => format!("{at:.0}"),
            (true, true) => format!("{:.0}", at.exp2()),
            (true, false) => String::new(),
        }
    }
}

/// Draws the curves that were measured as SVG.
pub(super) fn draw(document: &Document, path: &Path) -> Result<()> {
    let panels = panels(document.machine.cores).map(|panel| (panel.points(document), panel));
    let panels: Vec<_> = panels.into_iter().filter(|(points, _)| points.len() > 1).collect();
    if panels.is_empty() {
        bail!("there is no curve to draw; `auricle bench all --picture FILE` measures them");
    }
    let area = SVGBackend::new(path, (900, 300 * u32::try_from(panels.len().div_ceil(2))?)).into_drawing_area();
    let drawn = || -> std::result::Result<(), Box<dyn std::error::Error + '_>> {
        area.fill(&WHITE)?;
        let parts = area.split_evenly((panels.len().div_ceil(2), 2));
        for (part, (points, panel)) in parts.iter().zip(&panels) {
            curve(part, panel, points)?;
        }
        area.present()?;
        Ok(())
    };
    drawn().map_err(|error| anyhow::anyhow!("{error}")).with_context(|| format!("drawing {}", path.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn curve<'a>(
    area: &Area<'a>,
    panel: &Panel,
    points: &[(f64, f64)],
) -> std::result::Result<(), Box<dyn std::error::Error + 'a>> {
    let most = points.iter().fold(0.0, |most: f64, (_, y)| most.max(*y));
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(panel.title, ("sans-serif", 16))
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(first..last, 0.0..1.1 * most)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .y_desc(panel.across)
        .x_label_formatter(&|x| panel.label(*x))
        .y_label_formatter(&|y| super::document::short(*y))
        .draw()?;
    let colour = RGBColor(0, 114, 178);
    chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    Ok(())
}
