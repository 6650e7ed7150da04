//! Colours, fonts and sizes: the one place where they are numbers.
//!
//! Levels have the colours of Okabe and Ito (2008), which people with any kind of colour vision tell apart; and text beside
//! them always. On a software rasteriser, where each filled area costs milliseconds, panels and cards are outlines only.

use std::sync::Arc;

use egui::{Color32, CornerRadius, FontFamily, FontId, Margin, Stroke, TextStyle, Visuals};

use crate::qos::Qos;

const REGULAR: &[u8] = include_bytes!("../../assets/fonts/Inter-Regular.otf");
const SEMIBOLD: &[u8] = include_bytes!("../../assets/fonts/Inter-SemiBold.otf");

/// Colours of one theme.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    pub(super) is_dark: bool,
    pub(super) background: Color32,
    pub(super) bar: Color32,
    pub(super) card: Color32,
    pub(super) well: Color32,
    pub(super) stroke: Color32,
    pub(super) text: Color32,
    pub(super) subdued: Color32,
    pub(super) strong: Color32,
    pub(super) accent: Color32,
    pub(super) good: Color32,
    pub(super) warning: Color32,
    pub(super) error: Color32,
    high: Color32,
    default: Color32,
    low: Color32,
}

const fn rgb(value: u32) -> Color32 {
    let [_, red, green, blue] = value.to_be_bytes();
    Color32::from_rgb(red, green, blue)
}

const DARK: Tokens = Tokens {
    is_dark: true,
    background: rgb(0x0e_1116),
    bar: rgb(0x12_161c),
    card: rgb(0x17_1c23),
    well: rgb(0x0b_0e12),
    stroke: rgb(0x27_2e38),
    text: rgb(0xc9_d1da),
    subdued: rgb(0x8a_96a4),
    strong: rgb(0xf2_f5f8),
    accent: rgb(0x56_b4e9),
    good: rgb(0x2b_c29a),
    warning: rgb(0xe6_9f00),
    error: rgb(0xf0_743a),
    high: rgb(0x56_b4e9),
    default: rgb(0xe6_9f00),
    low: rgb(0xcc_79a7),
};

const LIGHT: Tokens = Tokens {
    is_dark: false,
    background: rgb(0xf3_f5f7),
    bar: rgb(0xff_ffff),
    card: rgb(0xff_ffff),
    well: rgb(0xf7_f9fa),
    stroke: rgb(0xd8_dee4),
    text: rgb(0x2a_323b),
    subdued: rgb(0x56_626f),
    strong: rgb(0x0b_0f14),
    accent: rgb(0x00_72b2),
    good: rgb(0x00_795a),
    warning: rgb(0x9a_6700),
    error: rgb(0xb8_4a00),
    high: rgb(0x00_72b2),
    default: rgb(0xd5_5e00),
    low: rgb(0xa6_508a),
};

impl Tokens {
    /// Those of a theme; `is_flat` where the window is drawn without a GPU.
    pub(super) fn of(is_dark: bool, is_flat: bool) -> Self {
        let tokens = if is_dark { DARK } else { LIGHT };
        let clear = Color32::TRANSPARENT;
        if is_flat { Self { background: clear, bar: clear, card: clear, ..tokens } } else { tokens }
    }

    /// What the window is cleared with.
    pub(super) fn clear(is_dark: bool) -> Color32 {
        if is_dark { DARK.background } else { LIGHT.background }
    }

    pub(super) fn qos(&self, qos: Qos) -> Color32 {
        match qos {
            Qos::High => self.high,
            Qos::Default => self.default,
            Qos::Low => self.low,
        }
    }
}

/// Captions.
pub(super) const SMALL: f32 = 10.5;

/// Titles of cards.
pub(super) fn title() -> TextStyle {
    TextStyle::Name("title".into())
}

/// The large numbers of tiles.
pub(super) fn figure() -> TextStyle {
    TextStyle::Name("figure".into())
}

/// Gives a context the fonts and both themes.
pub(super) fn install(context: &egui::Context) {
    let mut fonts = egui::FontDefinitions::default();
    for (name, bytes) in [("inter", REGULAR), ("inter-semibold", SEMIBOLD)] {
        fonts.font_data.insert(name.into(), Arc::new(egui::FontData::from_static(bytes)));
    }
    fonts.families.entry(FontFamily::Proportional).or_default().insert(0, "inter".into());
    let mut semibold = vec!["inter-semibold".to_owned()];
    semibold.extend(fonts.families.get(&FontFamily::Proportional).into_iter().flatten().cloned());
    fonts.families.insert(FontFamily::Name("semibold".into()), semibold);
    context.set_fonts(fonts);
    for (theme, tokens) in [(egui::Theme::Dark, DARK), (egui::Theme::Light, LIGHT)] {
        context.style_mut_of(theme, |style| apply(style, &tokens));
    }
}

fn apply(style: &mut egui::Style, tokens: &Tokens) {
    let semibold = FontFamily::Name("semibold".into());
    style.text_styles = [
        (TextStyle::Small, FontId::new(SMALL, FontFamily::Proportional)),
        (TextStyle::Body, FontId::new(12.5, FontFamily::Proportional)),
        (TextStyle::Button, FontId::new(12.5, FontFamily::Proportional)),
        (TextStyle::Monospace, FontId::new(11.5, FontFamily::Monospace)),
        (TextStyle::Heading, FontId::new(15.0, semibold.clone())),
        (title(), FontId::new(11.5, semibold)),
        (figure(), FontId::new(19.0, FontFamily::Monospace)),
    ]
    .into();
    style.visuals = visuals(tokens);
    let spacing = &mut style.spacing;
    spacing.item_spacing = egui::vec2(8.0, 6.0);
    spacing.button_padding = egui::vec2(8.0, 3.0);
    spacing.interact_size.y = 22.0;
    spacing.window_margin = Margin::same(10);
    spacing.menu_margin = Margin::same(6);
    spacing.slider_width = 110.0;
    spacing.slider_rail_height = 4.0;
    spacing.scroll.bar_width = 6.0;
    // Every frame of an animation is a frame of the whole window.
    style.animation_time = 0.0;
}

fn visuals(tokens: &Tokens) -> Visuals {
    let mut visuals = if tokens.is_dark { Visuals::dark() } else { Visuals::light() };
    visuals.panel_fill = tokens.background;
    visuals.window_fill = tokens.card;
    visuals.window_stroke = Stroke::new(1.0, tokens.stroke);
    visuals.faint_bg_color = tokens.well;
    visuals.extreme_bg_color = tokens.well;
    visuals.hyperlink_color = tokens.accent;
    visuals.warn_fg_color = tokens.warning;
    visuals.error_fg_color = tokens.error;
    visuals.slider_trailing_fill = true;
    visuals.weak_text_color = Some(tokens.subdued);
    let lift = |alpha: u8| {
        if tokens.is_dark { Color32::from_white_alpha(alpha) } else { Color32::from_black_alpha(alpha) }
    };
    let widgets = &mut visuals.widgets;
    for (widget, weak, fill, stroke, text) in [
        (&mut widgets.inactive, 12, 26, tokens.stroke, tokens.text),
        (&mut widgets.hovered, 24, 40, tokens.subdued, tokens.strong),
        (&mut widgets.active, 36, 52, tokens.accent, tokens.strong),
        (&mut widgets.open, 24, 40, tokens.subdued, tokens.strong),
    ] {
        (widget.weak_bg_fill, widget.bg_fill) = (lift(weak), lift(fill));
        (widget.bg_stroke, widget.fg_stroke) = (Stroke::new(1.0, stroke), Stroke::new(1.0, text));
    }
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, tokens.stroke);
    widgets.noninteractive.fg_stroke = Stroke::new(1.0, tokens.text);
    widgets.noninteractive.bg_fill = tokens.card;
    let all = [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ];
    for widget in all {
        (widget.corner_radius, widget.expansion) = (CornerRadius::same(4), 0.0);
    }
    visuals.selection.bg_fill = tokens.accent.gamma_multiply(if tokens.is_dark { 0.55 } else { 0.35 });
    visuals.selection.stroke = Stroke::new(1.0, if tokens.is_dark { tokens.strong } else { tokens.accent });
    (visuals.window_corner_radius, visuals.menu_corner_radius) = (CornerRadius::same(6), CornerRadius::same(6));
    visuals
}
