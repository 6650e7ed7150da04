//! Figures over time: throughput, latency, batches, coherence. All have one time axis, which is zoomed and moved together.

use egui::{Rect, Ui, vec2};
use egui_plot::{GridInput, GridMark, HLine, Line, LineStyle, MarkerShape, Plot, PlotPoints, PlotUi, Points};

use super::{card, choice, columns, empty, legend};
use crate::dashboard::app::Dashboard;
use crate::dashboard::desk::Figures;
use crate::dashboard::history::{LevelPoint, Point, Times};
use crate::dashboard::text;
use crate::dashboard::theme::{SMALL, Tokens};
use crate::dashboard::view::TimeView;
use crate::qos::Qos;

/// Which part of a job's time is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dashboard) enum Part {
    Total,
    Queue,
    Compute,
}

/// Which of two plots that share a place is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dashboard) enum Lower {
    Batch,
    Coherence,
    Sparsity,
}

/// The plot whose numbers are powers of two.
const BATCH: &str = "batch";
/// What a label needs, in the least steps that `egui_plot` would draw a line for, which are 8 points.
const LABEL_STEPS: f64 = 3.0;

impl Dashboard {
    pub(in crate::dashboard) fn upper_plots(&mut self, ui: &mut Ui, row: Rect, figures: &Figures, tokens: &Tokens) {
        let [left, right] = columns(row, [1.0, 1.15], 8.0);
        card(
            ui,
            tokens,
            left,
            ("Throughput", "frames/s"),
            |_| {},
            |ui| {
                self.plot(ui, "throughput", figures, tokens, text::short, |plot, lines| {
                    lines.line(plot, "throughput", tokens.accent, LineStyle::Solid, |point| point.frames_per_s);
                    plot.hline(HLine::new("zero", 0.0).color(tokens.stroke).width(0.5));
                });
            },
        );
        let (part, mut wanted) = (self.part, self.part);
        let right_of_title = |ui: &mut Ui| {
            legend(ui, tokens);
            ui.separator();
            // From right to left.
            choice(ui, &mut wanted, &[(Part::Compute, "compute"), (Part::Queue, "queue"), (Part::Total, "total")]);
        };
        card(ui, tokens, right, ("Latency", "p50, p95 dashed, p99 dotted"), right_of_title, |ui| {
            let targets = self.targets();
            self.plot(ui, "latency", figures, tokens, text::millis, |plot, lines| {
                for qos in Qos::ALL {
                    let colour = tokens.qos(qos);
                    let of = move |level: &LevelPoint| match part {
                        Part::Total => level.total,
                        Part::Queue => level.queue,
                        Part::Compute => level.compute,
                    };
                    let styles: [(&str, LineStyle, Quantile); 3] = [
                        ("p50", LineStyle::Solid, |times| times.p50_ms),
                        ("p95", LineStyle::Dashed { length: 5.0 }, |times| times.p95_ms),
                        ("p99", LineStyle::Dotted { spacing: 4.0 }, |times| times.p99_ms),
                    ];
                    for (name, style, pick) in styles {
                        let pick = move |point: &Point| of(&point.qos[qos]).map(pick);
                        lines.line(plot, &format!("{qos} {name}"), colour, style, pick);
                    }
                    let most = lines.most(|point| of(&point.qos[qos]).map(|times| times.p99_ms));
                    let target_ms = 1e3 * targets[qos].as_secs_f64();
                    // A target far above everything would press what is measured to the ground.
                    if part == Part::Total && most.is_some_and(|most| target_ms < 3.0 * most) {
                        let name = format!("{qos} target");
                        plot.hline(HLine::new(name, target_ms).color(colour.gamma_multiply(0.6)).width(1.0));
                    }
                }
            });
        });
        self.part = wanted;
    }

    pub(in crate::dashboard) fn lower_plot(&mut self, ui: &mut Ui, place: Rect, figures: &Figures, tokens: &Tokens) {
        let mut lower = self.lower;
        let choices = [(Lower::Sparsity, "sparsity"), (Lower::Coherence, "coherence"), (Lower::Batch, "batch")];
        let what = match lower {
            Lower::Batch => "Batch",
            Lower::Coherence => "Coherence",
            Lower::Sparsity => "Gate",
        };
        card(
            ui,
            tokens,
            place,
            (what, ""),
            |ui| choice(ui, &mut lower, &choices),
            |ui| match self.lower {
                Lower::Batch => self.batches(ui, figures, tokens),
                Lower::Coherence => self.coherence(ui, figures, tokens),
                Lower::Sparsity => {
                    let percent = |value: f64| format!("{value:.0} %");
                    self.plot(ui, "sparsity", figures, tokens, percent, |plot, lines| {
                        let percent = |point: &Point| point.sparsity.map(|part| 100.0 * part);
                        lines.line(plot, "quiet frames", tokens.good, LineStyle::Solid, percent);
                        plot.set_plot_bounds_y(-2.0..=105.0);
                    });
                }
            },
        );
        self.lower = lower;
    }

    fn batches(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        let frames = |power: f64| format!("{:.0}", power.exp2());
        self.plot(ui, BATCH, figures, tokens, frames, |plot, lines| {
            for qos in Qos::ALL {
                let of = move |point: &Point| point.qos[qos].batch.map(|frames| f64::from(frames).log2());
                lines.line(plot, &format!("{qos} batch"), tokens.qos(qos), LineStyle::Solid, of);
            }
            for change in figures.history.changes.iter().filter(|change| lines.shows(change.at_s)) {
                let at = [change.at_s - lines.now_s, (change.frames as f64).log2()];
                let name = format!("{}: {} frames\n{}", change.qos, change.frames, change.reason);
                let mark = Points::new(name, vec![at]).shape(MarkerShape::Circle).radius(2.5);
                plot.points(mark.color(tokens.qos(change.qos)));
            }
        });
    }

    fn coherence(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        let of = |qos: Qos| move |point: &Point| point.qos[qos].coherence.map(f64::from);
        if !figures.history.points.iter().any(|point| Qos::ALL.into_iter().any(|qos| of(qos)(point).is_some())) {
            empty(ui, tokens, "No coherence yet", "Background jobs have one where the filter is on: it measures it.");
            return;
        }
        self.plot(
            ui,
            "coherence",
            figures,
            tokens,
            |value| format!("{value:.2}"),
            |plot, lines| {
                for qos in Qos::ALL {
                    lines.line(plot, &format!("{qos} coherence"), tokens.qos(qos), LineStyle::Solid, of(qos));
                }
                if let Some(threshold) = figures.coherence_threshold {
                    plot.hline(HLine::new("threshold", threshold).color(tokens.subdued).width(1.0));
                }
                plot.set_plot_bounds_y(-0.02..=1.05);
            },
        );
    }

    /// A plot over the time that all of them show.
    fn plot(
        &mut self,
        ui: &mut Ui,
        name: &'static str,
        figures: &Figures,
        tokens: &Tokens,
        write: impl Fn(f64) -> String + Copy,
        draw: impl FnOnce(&mut PlotUi<'_>, &Lines<'_>),
    ) {
        if figures.history.points.len() < 2 {
            let next =
                if self.is_local() { "The engine is starting." } else { "Waiting for the service's first answer." };
            empty(ui, tokens, "No samples yet", next);
            return;
        }
        let view = self.view;
        // The labels of axes are as large as text.
        if let Some(font) = ui.style_mut().text_styles.get_mut(&egui::TextStyle::Body) {
            font.size = SMALL;
        }
        let size = ui.available_size();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels are few")]
        let columns = (size.x * ui.pixels_per_point()).max(50.0) as usize;
        let lines = Lines { figures, view, columns, now_s: figures.history.last_s };
        let plot = Plot::new(name)
            .height(size.y)
            .show_background(false)
            .show_crosshair(true)
            .grid_color(tokens.stroke)
            .grid_fade(0.0)
            .x_grid_spacer(grid)
            .y_grid_spacer(if name == BATCH { whole_grid } else { grid })
            .allow_zoom(false)
            .allow_drag(false)
            .allow_scroll(false)
            .allow_boxed_zoom(false)
            .allow_double_click_reset(false)
            .set_margin_fraction(vec2(0.0, 0.08))
            .y_axis_min_width(36.0)
            .x_axis_formatter(|mark, _| seconds_ago(mark.value))
            .y_axis_formatter(move |mark, _| write(mark.value))
            .label_formatter(move |hover| match hover {
                egui_plot::HoverPosition::NearDataPoint { plot_name, position, .. } => {
                    Some(format!("{plot_name}\n{}: {}", seconds_ago(position.x), write(position.y)))
                }
                egui_plot::HoverPosition::Elsewhere { .. } => None,
            });
        let shown = plot.show(ui, |plot| {
            plot.set_plot_bounds_x(-view.back_s - view.span_s..=-view.back_s + 0.03 * view.span_s);
            draw(plot, &lines);
        });
        super::described(&shown.response, format!("{name} over the last {}", text::duration(view.span_s)));
        self.view.follow_pointer(ui, &shown.response, shown.response.rect.x_range());
    }
}

/// Picks one of three times.
type Quantile = fn(Times) -> f64;

/// The points of the time that is shown, for as many columns as there are pixels.
struct Lines<'a> {
    figures: &'a Figures,
    view: TimeView,
    columns: usize,
    now_s: f64,
}

impl Lines<'_> {
    fn shows(&self, at_s: f64) -> bool {
        let (end, span) = (self.now_s - self.view.back_s, self.view.span_s);
        (end - 1.02 * span..=end + 0.02 * span).contains(&at_s)
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.figures.history.points.iter().filter(|point| self.shows(point.at_s))
    }

    fn most(&self, of: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
        self.points().filter_map(of).reduce(f64::max)
    }

    /// Draws what is known. Where something is not, there is a gap, and no line across it.
    fn line(
        &self,
        plot: &mut PlotUi<'_>,
        name: &str,
        colour: egui::Color32,
        style: LineStyle,
        of: impl Fn(&Point) -> Option<f64>,
    ) {
        let mut piece: Vec<[f64; 2]> = Vec::new();
        let mut last_s = f64::NEG_INFINITY;
        let mut flush = |piece: &mut Vec<[f64; 2]>| {
            if !piece.is_empty() {
                let points = decimated(&std::mem::take(piece), self.columns);
                plot.line(Line::new(name, PlotPoints::from(points)).color(colour).width(1.4).style(style));
            }
        };
        for point in self.points() {
            match of(point) {
                Some(value) if point.at_s - last_s < 2.0 => piece.push([point.at_s - self.now_s, value]),
                Some(value) => {
                    flush(&mut piece);
                    piece.push([point.at_s - self.now_s, value]);
                }
                None => flush(&mut piece),
            }
            last_s = point.at_s;
        }
        flush(&mut piece);
    }
}

/// At most two points for each column: the least and the most of what falls into it, in the order in which they came.
fn decimated(points: &[[f64; 2]], columns: usize) -> Vec<[f64; 2]> {
    let group = points.len().div_ceil(columns.max(1));
    if group <= 2 {
        return points.to_vec();
    }
    let two = |part: &[[f64; 2]]| {
        let by = |one: &&[f64; 2], other: &&[f64; 2]| one[1].total_cmp(&other[1]);
        let (least, most) = (part.iter().min_by(by).copied(), part.iter().max_by(by).copied());
        let mut both: Vec<[f64; 2]> = least.into_iter().chain(most).collect();
        both.sort_by(|one, other| one[0].total_cmp(&other[0]));
        both
    };
    points.chunks(group).flat_map(two).collect()
}

pub(super) fn seconds_ago(at_s: f64) -> String {
    match at_s {
        at if at > -0.05 => "now".to_owned(),
        at if at <= -120.0 => format!("-{} min", ((-at / 60.0) * 10.0).round() / 10.0),
        at => format!("{} s", (at * 10.0).round() / 10.0),
    }
}

/// Lines at whole numbers, which are powers of two in the plot of batches.
fn whole_grid(input: GridInput) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    let step = ((high - low) / 5.0).max(LABEL_STEPS * input.base_step_size).ceil().max(1.0);
    let marks = std::iter::successors(Some((low / step).ceil() * step), |at| Some(at + step));
    marks.take_while(|at| *at <= high).take(50).map(|value| GridMark { value, step_size: step }).collect()
}

/// Some five lines, at steps of 1, 2, 2.5 or 5; fewer where their labels would have no room.
fn grid(input: GridInput) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    let raw = ((high - low) / 5.0).max(LABEL_STEPS * input.base_step_size).max(1e-9);
    let magnitude = 10_f64.powf(raw.log10().floor());
    let step = magnitude * [1.0, 2.0, 2.5, 5.0].into_iter().find(|step| step * magnitude >= raw).unwrap_or(10.0);
    let mut marks = Vec::new();
    let mut at = (low / step).ceil();
    while at * step <= high && marks.len() < 50 {
        marks.push(GridMark { value: if at == 0.0 { 0.0 } else { at * step }, step_size: step });
        at += 1.0;
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::{decimated, grid};

    #[test]
    fn what_is_rare_survives_decimation() {
        let points: Vec<[f64; 2]> = (0..10_000).map(|n| [f64::from(n), if n == 7777 { 9.0 } else { 0.0 }]).collect();
        let few = decimated(&points, 500);
        assert!(few.len() <= 1000 && few.contains(&[7777.0, 9.0]));
        assert!(few.windows(2).all(|pair| pair[0][0] <= pair[1][0]), "in order");
        assert_eq!(decimated(&points[..900], 500).len(), 900, "what fits is left as it is");
    }

    #[test]
    fn grids_are_few_round_numbers() {
        for (low, high) in [(0.0, 1.0), (-60.0, 0.0), (3.0, 17.0), (0.0, 12_345.0)] {
            let input = egui_plot::GridInput { bounds: (low, high), base_step_size: (high - low) / 40.0 };
            let marks = grid(input);
            assert!((2..=7).contains(&marks.len()), "{low} to {high}: {}", marks.len());
        }
    }
}
