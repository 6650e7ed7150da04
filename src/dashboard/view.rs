//! The stretch of time that a part of the window shows, and how the pointer moves it.

use egui::{Rangef, Response, Ui};

use super::history::KEPT_S;

/// A stretch of time, of which at most so much can be seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TimeView {
    /// Its length.
    pub(super) span_s: f64,
    /// How far before now it ends.
    pub(super) back_s: f64,
    /// Its length unless somebody zooms.
    usual_s: f64,
    shortest_s: f64,
    /// How far back one can look.
    most_s: f64,
}

impl TimeView {
    /// That of all plots.
    pub(super) fn of_plots() -> Self {
        Self { span_s: 60.0, back_s: 0.0, usual_s: 60.0, shortest_s: 2.0, most_s: KEPT_S }
    }

    /// That of the lanes.
    pub(super) fn of_lanes() -> Self {
        Self { span_s: 2.0, back_s: 0.0, usual_s: 2.0, shortest_s: 0.002, most_s: 60.0 }
    }

    /// As it was before anybody touched it.
    pub(super) fn reset(&mut self) {
        (self.span_s, self.back_s) = (self.usual_s, 0.0);
    }

    /// Makes it shorter or longer; what lies `at`, 0 to 1 from its beginning to its end, stays where it is.
    pub(super) fn zoom(&mut self, factor: f64, at: f64) {
        let span_s = (self.span_s * factor).clamp(self.shortest_s, self.most_s);
        self.back_s = (self.back_s + (1.0 - at) * (self.span_s - span_s)).clamp(0.0, self.most_s - span_s);
        self.span_s = span_s;
    }

    pub(super) fn pan(&mut self, seconds: f64) {
        self.back_s = (self.back_s + seconds).clamp(0.0, self.most_s - self.span_s);
    }

    /// Wheel and pinch zoom, a drag moves, a double click goes back; `time` is where the stretch is drawn.
    pub(super) fn follow_pointer(&mut self, ui: &Ui, response: &Response, time: Rangef) {
        let width = time.span().max(1.0);
        if let Some(pointer) = response.hover_pos() {
            let (scroll, pinch) = ui.input(|input| (input.smooth_scroll_delta(), input.zoom_delta()));
            let factor = f64::from(pinch) * (f64::from(scroll.y) * 0.004).exp();
            if (factor - 1.0).abs() > 1e-6 {
                self.zoom(1.0 / factor, f64::from(((pointer.x - time.min) / width).clamp(0.0, 1.0)));
            }
        }
        let drag = response.drag_delta().x;
        if drag != 0.0 {
            self.pan(f64::from(drag / width) * self.span_s);
        }
        if response.double_clicked() {
            self.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TimeView;

    #[test]
    fn zooming_keeps_what_is_under_the_pointer() {
        let mut view = TimeView { back_s: 120.0, ..TimeView::of_plots() };
        let at = |view: &TimeView, part: f64| -view.back_s - view.span_s * (1.0 - part);
        let before = at(&view, 0.25);
        view.zoom(0.5, 0.25);
        assert!((at(&view, 0.25) - before).abs() < 1e-9 && (view.span_s - 30.0).abs() < 1e-9);
        view.zoom(1e6, 0.5);
        assert!(view.span_s <= 600.0 && view.back_s >= 0.0);
        view.pan(-1e6);
        assert!(view.back_s.abs() < 1e-9);
    }
}
