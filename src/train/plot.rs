//! The course of the loss, as a picture in SVG.

use std::fmt::Write as _;

use super::checkpoint::{Mark, Progress};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
/// Vermilion and blue, which the colour-blind can tell apart.
const TRAINING: &str = "#d55e00";
const VALIDATION: &str = "#0072b2";

/// A drawing of the training and the validation loss over the steps.
pub(crate) fn loss_plot(progress: &Progress) -> String {
    let scale = Scale::of(progress);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    scale.grid(&mut svg);
    for (index, (name, color, of)) in lines().into_iter().enumerate() {
        let points = progress.history.iter().map(|mark| scale.point(mark.step, of(mark)));
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (x, y) = (LEFT + 8.0 + 110.0 * index as f64, TOP - 14.0);
        _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>\n\
             <text x=\"{x}\" y=\"{y}\" fill=\"{color}\">{name}</text>",
            points.join(" "),
        );
    }
    svg + "</svg>\n"
}

type Line = (&'static str, &'static str, fn(&Mark) -> f64);

fn lines() -> [Line; 2] {
    [("training", TRAINING, |mark| mark.training), ("validation", VALIDATION, |mark| mark.validation)]
}

/// From steps and losses to places in the picture.
struct Scale {
    steps: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(progress: &Progress) -> Self {
        let losses = || progress.history.iter().flat_map(|mark| [mark.training, mark.validation]);
        let (low, high) = (losses().fold(f64::MAX, f64::min), losses().fold(f64::MIN, f64::max));
        let (low, high) = if low < high { (low.floor(), high.ceil()) } else { (0.0, 1.0) };
        let steps = progress.history.last().map_or(1, |mark| mark.step.max(1)) as f64;
        Self { steps, low, high }
    }

    fn point(&self, step: usize, loss: f64) -> (f64, f64) {
        let (across, up) = (step as f64 / self.steps, (loss - self.low) / (self.high - self.low));
        (LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))
    }

    fn grid(&self, svg: &mut String) {
        for part in 0..=4 {
            let loss = self.low + (self.high - self.low) * f64::from(part) / 4.0;
            let ((left, y), (right, _)) = (self.point(0, loss), (WIDTH - RIGHT, 0.0));
            let step = (self.steps * f64::from(part) / 4.0).round();
            let x = LEFT + (WIDTH - LEFT - RIGHT) * f64::from(part) / 4.0;
            let under = HEIGHT - BOTTOM + 18.0;
            _ = writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{loss:.1}</text>\n\
                 <text x=\"{x:.1}\" y=\"{under}\" text-anchor=\"middle\">{step}</text>",
                left - 6.0,
                y + 4.0,
            );
        }
        _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">steps</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">loss</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 8.0,
            LEFT - 6.0,
            TOP - 14.0,
        );
    }
}
