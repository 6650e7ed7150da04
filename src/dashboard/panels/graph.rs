//! The nodes of a plan, joined by their edges, with what each of them takes.

use egui::{Align2, Color32, FontId, Pos2, Rect, Sense, Shape, Stroke, StrokeKind, Ui, epaint, pos2, vec2};

use super::{card, described, empty};
use crate::dashboard::app::Dashboard;
use crate::dashboard::desk::Figures;
use crate::dashboard::history::PlanRates;
use crate::dashboard::text;
use crate::dashboard::theme::{SMALL, Tokens, title};
use crate::telemetry::{NodeKind, NodeSnapshot, PlanSnapshot};

impl Dashboard {
    pub(in crate::dashboard) fn graph(&mut self, ui: &mut Ui, place: Rect, figures: &Figures, tokens: &Tokens) {
        let plans = &figures.history.plans;
        let tabs = self.tab_choice();
        let (mut tab, mut wanted) = (self.tab, self.plan);
        let busiest =
            plans.iter().max_by(|one, other| one.stages.iter().sum::<f64>().total_cmp(&other.stages.iter().sum()));
        let shown = plans.iter().find(|plan| Some(plan.now.id) == wanted).or(busiest);
        let right = |ui: &mut Ui| {
            super::choice(ui, &mut tab, &tabs);
            if plans.len() > 1 {
                ui.separator();
                let id = shown.map_or(0, |plan| plan.now.id);
                let chosen = egui::ComboBox::from_id_salt("plan").selected_text(format!("plan {id}")).width(70.0);
                let response = chosen.show_ui(ui, |ui| {
                    for plan in plans {
                        ui.selectable_value(&mut wanted, Some(plan.now.id), format!("plan {}", plan.now.id));
                    }
                });
                response
                    .response
                    .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Plan to look at"));
            }
        };
        let what = "of each node: time per second, bytes per second; all runs of the plan";
        card(ui, tokens, place, ("Graph", what), right, |ui| match shown {
            Some(plan) => draw(ui, plan, tokens),
            None => empty(ui, tokens, "No plan", "There is one as soon as somebody compiles a graph."),
        });
        (self.tab, self.plan) = (tab, wanted);
    }
}

/// How far each node is from the inputs, and which of its like it is.
fn layers(plan: &PlanSnapshot) -> Vec<(usize, usize)> {
    let index = |source: &str| plan.nodes.iter().position(|node| node.name == node_of(source));
    let mut depths = vec![0; plan.nodes.len()];
    // A graph without cycles has settled after as many rounds as it has nodes.
    for _ in 0..plan.nodes.len() {
        for at in 0..plan.nodes.len() {
            let below =
                plan.nodes[at].sources.iter().filter_map(|source| index(source)).map(|source| depths[source] + 1);
            depths[at] = below.max().unwrap_or(0).min(plan.nodes.len());
        }
    }
    let mut rows = vec![0; plan.nodes.len() + 1];
    depths
        .into_iter()
        .map(|depth| {
            rows[depth] += 1;
            (depth, rows[depth] - 1)
        })
        .collect()
}

/// `<filter>.powers` is an output of the filter.
fn node_of(source: &str) -> &str {
    source.strip_suffix(".powers").unwrap_or(source)
}

fn draw(ui: &mut Ui, plan: &PlanRates, tokens: &Tokens) {
    let (place, response) = ui.allocate_exact_size(ui.available_size(), Sense::hover());
    let painter = ui.painter_at(place);
    let nodes = &plan.now.nodes;
    let layers = layers(&plan.now);
    let columns = layers.iter().map(|(depth, _)| depth + 1).max().unwrap_or(1);
    let rows_in = |depth: usize| layers.iter().filter(|(other, _)| *other == depth).count().max(1);
    let graph = Rect::from_min_max(place.min, pos2(place.right(), place.bottom() - 18.0));
    let cell = graph.width() / columns as f32;
    let size = vec2((cell * 0.76).min(150.0), 62.0_f32.min(graph.height() * 0.42));
    let at = |(depth, row): (usize, usize)| {
        let part = (row as f32 + 0.5) / rows_in(depth) as f32;
        Rect::from_center_size(
            pos2(graph.left() + cell * (depth as f32 + 0.5), graph.top() + graph.height() * part),
            size,
        )
    };
    for (node, layer) in nodes.iter().zip(&layers) {
        let to = at(*layer);
        for source in &node.sources {
            let from = nodes.iter().position(|other| other.name == node_of(source));
            from.into_iter().for_each(|from| edge(&painter, at(layers[from]), to, tokens));
        }
    }
    let mut told = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let room = at(layers[index]);
        let (time, is_shared) = time_of(plan, node);
        told.push(draw_node(&painter, ui, node, plan.nodes[index], (time, is_shared), room, tokens));
        if response.hover_pos().is_some_and(|pointer| room.contains(pointer)) {
            painter.rect_stroke(room, 5.0, Stroke::new(1.0, tokens.accent), StrokeKind::Inside);
        }
    }
    let others = plan.now.stages.iter().zip(&plan.stages).filter(|(stage, _)| stage.nodes.is_empty());
    let others: Vec<String> = others.map(|(stage, part)| format!("{} {}", stage.name, per_second(*part))).collect();
    let line = format!("around them: {}", if others.is_empty() { "nothing".to_owned() } else { others.join(", ") });
    painter.text(place.left_bottom(), Align2::LEFT_BOTTOM, &line, FontId::proportional(SMALL), tokens.subdued);
    described(&response, format!("Graph: {}; {line}", told.join(", ")));
}

/// The part of the time that its stage takes, and whether that is several nodes' stage.
fn time_of(plan: &PlanRates, node: &NodeSnapshot) -> (Option<f64>, bool) {
    let mut stages = plan.now.stages.iter().zip(&plan.stages);
    let found = stages.find(|(stage, _)| stage.nodes.contains(&node.name));
    (found.map(|(_, part)| *part), found.is_some_and(|(stage, _)| stage.nodes.len() > 1))
}

fn per_second(part: f64) -> String {
    format!("{}/s", text::millis(1e3 * part))
}

fn draw_node(
    painter: &egui::Painter,
    ui: &Ui,
    node: &NodeSnapshot,
    (frames, bytes): (f64, f64),
    (time, is_shared): (Option<f64>, bool),
    room: Rect,
    tokens: &Tokens,
) -> String {
    painter.rect(room, 5.0, tokens.well, Stroke::new(1.0, tokens.stroke), StrokeKind::Inside);
    let painter = painter.with_clip_rect(room);
    let kind = match node.kind {
        NodeKind::Input => "input",
        NodeKind::Gate => "max-abs gate",
        NodeKind::Filter => "phi-resolvent",
        NodeKind::Fourier => "transform",
        NodeKind::Denoise => "denoiser",
        NodeKind::Kernel => "kernel",
        NodeKind::Output => "output",
    };
    let small = FontId::proportional(SMALL);
    let line = |index: f32| room.min + vec2(9.0, 6.0 + 13.0 * index);
    painter.text(line(0.0), Align2::LEFT_TOP, &node.name, title().resolve(ui.style()), tokens.strong);
    let shares = if is_shared { " (with others)" } else { "" };
    let time_text = time.map_or_else(|| kind.to_owned(), |part| format!("{}{shares}", per_second(part)));
    painter.text(line(1.0), Align2::LEFT_TOP, &time_text, small.clone(), tokens.text);
    let flow = format!("{}/s, {} frames/s", text::bytes(bytes), text::short(frames));
    painter.text(line(2.0), Align2::LEFT_TOP, &flow, FontId::proportional(9.5), tokens.subdued);
    if let Some(part) = time {
        let bar = Rect::from_min_max(pos2(room.left() + 9.0, room.bottom() - 9.0), room.max - vec2(9.0, 5.0));
        painter.rect_filled(bar, 1.0, tokens.stroke);
        #[expect(clippy::cast_possible_truncation, reason = "it is drawn")]
        let filled = bar.width() * part.clamp(0.0, 1.0) as f32;
        let colour = if part > 0.7 { tokens.warning } else { tokens.accent };
        painter.rect_filled(Rect::from_min_size(bar.min, vec2(filled, bar.height())), 1.0, colour);
    }
    format!("{} {time_text} {flow}", node.name)
}

fn edge(painter: &egui::Painter, from: Rect, to: Rect, tokens: &Tokens) {
    let (begin, end): (Pos2, Pos2) = (from.right_center(), to.left_center());
    let bend = vec2((end.x - begin.x) * 0.5, 0.0);
    let points = [begin, begin + bend, end - bend, end];
    let stroke = Stroke::new(1.5, tokens.subdued.gamma_multiply(0.7));
    painter.add(epaint::CubicBezierShape::from_points_stroke(points, false, Color32::TRANSPARENT, stroke));
    let head = vec![end, end + vec2(-6.0, -3.5), end + vec2(-6.0, 3.5)];
    painter.add(Shape::convex_polygon(head, tokens.subdued, Stroke::NONE));
}
