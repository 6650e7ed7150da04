//! An 8-bit sRGB image with the four things a picture needs: rectangles, pixels, text and PNG.

use std::io;

use ab_glyph::{Font as _, FontRef, PxScale, ScaleFont as _};

/// Red, green and blue, as in the PNG.
pub(super) type Rgb = [u8; 3];

/// Pixels from the top left corner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rect {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Rect {
    pub(super) fn right(self) -> usize {
        self.left + self.width
    }

    pub(super) fn bottom(self) -> usize {
        self.top + self.height
    }
}

/// How a line of text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextStyle {
    pub(super) weight: Weight,
    /// Pixels per em.
    pub(super) size: f32,
    pub(super) color: Rgb,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Weight {
    Regular,
    SemiBold,
}

/// Which point of a line of text its position gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    /// Rows from the top, three bytes per pixel.
    bytes: Vec<u8>,
    regular: FontRef<'static>,
    semi_bold: FontRef<'static>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize, background: Rgb) -> Self {
        Self {
            width,
            height,
            bytes: background.repeat(width * height),
            regular: embedded(include_bytes!("../../assets/fonts/Inter-Regular.otf")),
            semi_bold: embedded(include_bytes!("../../assets/fonts/Inter-SemiBold.otf")),
        }
    }

    /// Mixes `color` into one pixel; `opacity` 1 replaces it. Outside the canvas it does nothing.
    pub(super) fn blend(&mut self, x: usize, y: usize, color: Rgb, opacity: f32) {
        if x >= self.width || y >= self.height {
            return;
        }
        let start = (y * self.width + x) * 3;
        for (byte, new) in self.bytes[start..start + 3].iter_mut().zip(color) {
            let mixed = f32::from(*byte) + (f32::from(new) - f32::from(*byte)) * opacity;
            #[expect(clippy::cast_possible_truncation, reason = "between two bytes")]
            let mixed = mixed.round() as u8;
            *byte = mixed;
        }
    }

    pub(super) fn fill(&mut self, rect: Rect, color: Rgb, opacity: f32) {
        for y in rect.top..rect.bottom() {
            for x in rect.left..rect.right() {
                self.blend(x, y, color, opacity);
            }
        }
    }

    /// A line of one pixel around `rect`, just outside it.
    pub(super) fn outline(&mut self, rect: Rect, color: Rgb) {
        let Rect { left, top, .. } = rect;
        let (width, height) = (rect.width + 2, rect.height + 2);
        let line = |left, top, width, height| Rect { left, top, width, height };
        self.fill(line(left - 1, top - 1, width, 1), color, 1.0);
        self.fill(line(left - 1, rect.bottom(), width, 1), color, 1.0);
        self.fill(line(left - 1, top - 1, 1, height), color, 1.0);
        self.fill(line(rect.right(), top - 1, 1, height), color, 1.0);
    }

    /// Writes one line of text, its baseline at `y`, and returns how wide it is.
    pub(super) fn text(&mut self, (x, y): (f32, f32), align: Align, style: TextStyle, text: &str) -> f32 {
        let width = self.text_width(style, text);
        let mut pen = x - match align {
            Align::Left => 0.0,
            Align::Centre => width / 2.0,
            Align::Right => width,
        };
        let (font, scale) = self.font(style);
        let glyphs = text.chars().filter_map(|character| {
            let id = font.glyph_id(character);
            let glyph = id.with_scale_and_position(scale, ab_glyph::point(pen, y));
            pen += font.as_scaled(scale).h_advance(id);
            font.outline_glyph(glyph)
        });
        for glyph in glyphs.collect::<Vec<_>>() {
            let corner = glyph.px_bounds().min;
            glyph.draw(|right, down, coverage| {
                let (x, y) = (corner.x + right as f32, corner.y + down as f32);
                if x >= 0.0 && y >= 0.0 {
                    #[expect(clippy::cast_possible_truncation, reason = "whole and not negative")]
                    self.blend(x as usize, y as usize, style.color, coverage.clamp(0.0, 1.0));
                }
            });
        }
        width
    }

    pub(super) fn text_width(&self, style: TextStyle, text: &str) -> f32 {
        let (font, scale) = self.font(style);
        let scaled = font.as_scaled(scale);
        text.chars().map(|c| scaled.h_advance(font.glyph_id(c))).sum()
    }

    /// `text`, or as much of both its ends around an ellipsis as fits into `width` pixels.
    ///
    /// The middle goes because a file's name says most where it begins and ends.
    pub(super) fn fitted(&self, style: TextStyle, text: &str, width: f32) -> String {
        // Characters without a shape of their own, as line breaks, would be drawn as boxes.
        let mut kept: Vec<char> = text.chars().filter(|c| !c.is_control()).collect();
        let mut fitted: String = kept.iter().collect();
        while self.text_width(style, &fitted) > width && !kept.is_empty() {
            kept.remove(kept.len() / 2);
            let (start, end) = kept.split_at(kept.len() / 2);
            fitted = start.iter().chain(&['…']).chain(end).collect();
        }
        fitted
    }

    /// The font of `style`, and the scale that makes its em `style.size` pixels.
    fn font(&self, style: TextStyle) -> (FontRef<'static>, PxScale) {
        let font = match style.weight {
            Weight::Regular => &self.regular,
            Weight::SemiBold => &self.semi_bold,
        };
        // ab_glyph scales by the height from descender to ascender.
        let em = font.units_per_em().unwrap_or(1000.0);
        let scale = PxScale::from(style.size * font.height_unscaled() / em);
        (font.clone(), scale)
    }

    pub(super) fn to_png(&self) -> io::Result<Vec<u8>> {
        let too_large = |_| io::Error::other("the picture is larger than a PNG can be");
        let width = u32::try_from(self.width).map_err(too_large)?;
        let height = u32::try_from(self.height).map_err(too_large)?;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
        // Noise does not compress: more effort takes four times as long for 4 % fewer bytes.
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.bytes)?;
        writer.finish()?;
        Ok(file)
    }

    #[cfg(test)]
    pub(super) fn pixel(&self, x: usize, y: usize) -> Rgb {
        let start = (y * self.width + x) * 3;
        [self.bytes[start], self.bytes[start + 1], self.bytes[start + 2]]
    }
}

fn embedded(bytes: &'static [u8]) -> FontRef<'static> {
    #[expect(clippy::expect_used, reason = "a bad font would be our own bug, which every test finds")]
    FontRef::try_from_slice(bytes).expect("the embedded font should be valid")
}

#[cfg(test)]
mod tests {
    use super::{Align, Canvas, TextStyle, Weight};

    const STYLE: TextStyle = TextStyle { weight: Weight::Regular, size: 12.0, color: [255; 3] };

    #[test]
    fn text_marks_pixels_where_it_stands_and_nowhere_else() {
        let mut canvas = Canvas::new(100, 30, [0; 3]);
        let width = canvas.text((10.0, 20.0), Align::Left, STYLE, "Hz 0.5");
        assert!((30.0..45.0).contains(&width), "{width} px wide");
        let marked = |x: usize, y: usize| canvas.pixel(x, y) != [0; 3];
        assert!((10..50).any(|x| marked(x, 15)), "nothing was drawn");
        let outside = |x: usize, y: usize| !(9..=10 + 45).contains(&x) || !(9..=23).contains(&y);
        let strays = (0..100).flat_map(|x| (0..30).map(move |y| (x, y)));
        let strays = strays.filter(|&(x, y)| outside(x, y) && marked(x, y));
        assert_eq!(strays.count(), 0, "pixels outside the line of text");
    }

    #[test]
    fn text_may_leave_the_canvas() {
        let mut canvas = Canvas::new(20, 10, [0; 3]);
        canvas.text((-10.0, 2.0), Align::Left, STYLE, "clipped on both sides");
        canvas.text((0.0, 0.0), Align::Right, STYLE, "outside");
    }

    #[test]
    fn long_text_loses_its_middle() {
        let canvas = Canvas::new(1, 1, [0; 3]);
        assert_eq!(canvas.fitted(STYLE, "short.wav", 200.0), "short.wav");
        assert_eq!(canvas.fitted(STYLE, "two\nlines", 200.0), "twolines");
        let long = canvas.fitted(STYLE, &"abcdefgh.wav".repeat(20), 100.0);
        assert!(long.starts_with("abc") && long.contains('…') && long.ends_with(".wav"), "{long}");
        assert!(canvas.text_width(STYLE, &long) <= 100.0, "{long}");
        assert_eq!(canvas.fitted(STYLE, "none", 0.0), "…", "nothing fits");
    }
}
