//! What draws: a device of the window's own, and pictures without a window.

use std::time::{Duration, Instant};

use super::{Dashboard, DashboardOptions, WindowOptions, export};
use crate::error::{Error, Result};

/// A device that draws.
pub(super) struct DrawingDevice {
    pub(super) instance: wgpu::Instance,
    pub(super) adapter: wgpu::Adapter,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// Whether a CPU does it.
    pub(super) is_software: bool,
}

const NO_ADAPTER: &str =
    "install a Vulkan driver; on Debian and Ubuntu, mesa-vulkan-drivers has one for machines without a GPU";

/// Opens one: a GPU where there is one. It is never the engine's, for whose dispatches it would wait.
pub(super) fn device_of_the_window() -> Result<DrawingDevice> {
    let failed = |reason: String| Error::Window { reason, next: NO_ADAPTER };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.retain(|adapter| adapter.get_info().backend != wgpu::Backend::Noop);
    let rank = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::IntegratedGpu => 0,
            wgpu::DeviceType::DiscreteGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        (kind, info.backend == wgpu::Backend::Gl)
    };
    adapters.sort_by_key(rank);
    let adapter = adapters.into_iter().next().ok_or_else(|| failed("nothing here can draw".to_owned()))?;
    let is_software = adapter.get_info().device_type == wgpu::DeviceType::Cpu;
    let descriptor = wgpu::DeviceDescriptor { label: Some("auricle.window"), ..wgpu::DeviceDescriptor::default() };
    let opened = pollster::block_on(adapter.request_device(&descriptor));
    let (device, queue) = opened.map_err(|error| failed(error.to_string()))?;
    Ok(DrawingDevice { instance, adapter, device, queue, is_software })
}

/// What a dashboard shows after `window.after`, 5 s unless set, as RGBA rows from the top, with its width and height in
/// pixels. Needs no display, but a driver to draw with.
///
/// # Errors
/// [`Error::Window`] when nothing can draw; [`Error::Setting`] when the size is too large, or the report cannot be
/// written; and what [`Dashboard::new`] says.
pub fn picture(options: DashboardOptions, window: &WindowOptions) -> Result<([u32; 2], Vec<u8>)> {
    let drawing = device_of_the_window()?;
    let WindowOptions { size, scale, after, report } = window;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the limits below")]
    let pixels = size.map(|side| (side * scale).round().clamp(1.0, 65_536.0) as u32);
    let most = drawing.device.limits().max_texture_dimension_2d;
    if pixels.iter().any(|side| *side > most) || !(0.5..=8.0).contains(scale) {
        let actual = format!("{} x {} pixels at {scale} pixels per point", pixels[0], pixels[1]);
        return Err(Error::setting("the size of the picture", actual, format!("at most {most} a side, at 0.5 to 8")));
    }
    let context = egui::Context::default();
    let mut dashboard = Dashboard::new(&context, options, drawing.is_software)?;
    let mut canvas = Canvas::new(drawing, pixels, *scale);
    let begin = Instant::now();
    let after = after.unwrap_or(Duration::from_secs(5));
    // It follows the engine as a window does, but draws nothing until it has to.
    loop {
        canvas.pass(&context, &mut dashboard, begin.elapsed());
        let left = after.saturating_sub(begin.elapsed());
        if left == Duration::ZERO {
            break;
        }
        std::thread::sleep(left.min(Duration::from_millis(500)));
    }
    // Sizes that depend on what was drawn before have settled after another one.
    let output = canvas.pass(&context, &mut dashboard, begin.elapsed());
    if let Some(path) = report {
        export::write_report(path, &dashboard.export().1)?;
    }
    let background = dashboard.background();
    canvas.paint(&context, output, background).map(|rgba| (pixels, rgba))
}

/// A texture that egui draws into.
struct Canvas {
    drawing: DrawingDevice,
    renderer: egui_wgpu::Renderer,
    pixels: [u32; 2],
    scale: f32,
}

const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

impl Canvas {
    fn new(drawing: DrawingDevice, pixels: [u32; 2], scale: f32) -> Self {
        let options = egui_wgpu::RendererOptions::default();
        let renderer = egui_wgpu::Renderer::new(&drawing.device, FORMAT, options);
        Self { drawing, renderer, pixels, scale }
    }

    /// Lays everything out once, and gives the device its textures.
    #[expect(clippy::iter_over_hash_type, reason = "each goes to a texture of its own")]
    fn pass(&mut self, context: &egui::Context, dashboard: &mut Dashboard, time: Duration) -> egui::FullOutput {
        let [width, height] = self.pixels;
        let size = egui::vec2(width as f32, height as f32) / self.scale;
        let mut input = egui::RawInput {
            screen_rect: Some(egui::Rect::from_min_size(egui::Pos2::ZERO, size)),
            time: Some(time.as_secs_f64()),
            ..egui::RawInput::default()
        };
        input.viewports.entry(egui::ViewportId::ROOT).or_default().native_pixels_per_point = Some(self.scale);
        let mut output = context.run_ui(input, |ui| dashboard.ui(ui));
        for (id, deltas) in output.textures_delta.set.drain() {
            for delta in deltas {
                self.renderer.update_texture(&self.drawing.device, &self.drawing.queue, id, &delta);
            }
        }
        let freed: Vec<_> = output.textures_delta.free.drain().collect();
        freed.iter().for_each(|id| self.renderer.free_texture(id));
        output
    }

    fn paint(
        &mut self,
        context: &egui::Context,
        output: egui::FullOutput,
        background: egui::Color32,
    ) -> Result<Vec<u8>> {
        let DrawingDevice { device, queue, .. } = &self.drawing;
        let [width, height] = self.pixels;
        let shapes = context.tessellate(output.shapes, output.pixels_per_point);
        let screen =
            egui_wgpu::ScreenDescriptor { size_in_pixels: self.pixels, pixels_per_point: output.pixels_per_point };
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("dashboard.picture"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let before = self.renderer.update_buffers(device, queue, &mut encoder, &shapes, &screen);
        let [r, g, b, a] = background.to_normalized_gamma_f32().map(f64::from);
        let load = wgpu::LoadOp::Clear(wgpu::Color { r, g, b, a });
        let attachment = wgpu::RenderPassColorAttachment {
            view: &view,
            resolve_target: None,
            depth_slice: None,
            ops: wgpu::Operations { load, store: wgpu::StoreOp::Store },
        };
        let pass = wgpu::RenderPassDescriptor { color_attachments: &[Some(attachment)], ..Default::default() };
        self.renderer.render(&mut encoder.begin_render_pass(&pass).forget_lifetime(), &shapes, &screen);
        let row_bytes = (width * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let readback = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("dashboard.readback"),
            size: u64::from(row_bytes) * u64::from(height),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row_bytes), rows_per_image: None };
        let target = wgpu::TexelCopyBufferInfo { buffer: &readback, layout };
        encoder.copy_texture_to_buffer(texture.as_image_copy(), target, texture.size());
        queue.submit(before.into_iter().chain([encoder.finish()]));
        readback.slice(..).map_async(wgpu::MapMode::Read, |_| {});
        let failed = |reason: String| Error::Window { reason, next: NO_ADAPTER };
        device.poll(wgpu::PollType::wait_indefinitely()).map_err(|error| failed(error.to_string()))?;
        let bytes = readback.slice(..).get_mapped_range().map_err(|error| failed(error.to_string()))?;
        let row = |row: &[u8]| row[..width as usize * 4].to_vec();
        Ok(bytes.chunks_exact(row_bytes as usize).flat_map(row).collect())
    }
}
