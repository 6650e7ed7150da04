//! The window, through eframe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::surface::{DrawingDevice, device_of_the_window};
use super::{Dashboard, DashboardOptions, WindowOptions, export};
use crate::error::{Error, Result};

/// The least that everything has room in.
const LEAST_SIZE: [f32; 2] = [1024.0, 640.0];

/// Opens the window, and returns when it is closed. On Linux any thread may do that, elsewhere only an app's first one; and
/// only once in a process, which is winit's limit.
///
/// # Errors
/// [`Error::Window`] when there is no display, or nothing that could draw; what [`Dashboard::new`] says; and what hinders the
/// report.
pub fn run(options: DashboardOptions, window: WindowOptions) -> Result<()> {
    let WindowOptions { size, after, report, .. } = window;
    if !has_display() {
        let reason = "there is no display: DISPLAY and WAYLAND_DISPLAY are not set".to_owned();
        return Err(Error::Window { reason, next: NO_DISPLAY });
    }
    let DrawingDevice { instance, adapter, device, queue, is_software } = device_of_the_window()?;
    let setup = egui_wgpu::WgpuSetupExisting { instance, adapter, device, queue };
    let viewport = egui::ViewportBuilder::default()
        .with_title("auricle")
        .with_app_id("auricle")
        .with_inner_size(size)
        .with_min_inner_size(LEAST_SIZE);
    let mut native = eframe::NativeOptions { viewport, persist_window: false, ..eframe::NativeOptions::default() };
    native.renderer = eframe::Renderer::Wgpu;
    native.wgpu_options.wgpu_setup = egui_wgpu::WgpuSetup::Existing(setup);
    native.dithering = !is_software;
    #[cfg(all(unix, not(target_vendor = "apple")))]
    {
        use winit::platform::x11::EventLoopBuilderExtX11 as _;
        // It means Wayland's, too.
        native.event_loop_builder = Some(Box::new(|builder| {
            builder.with_any_thread(true);
        }));
    }
    let failure = Arc::new(std::sync::Mutex::new(None));
    let told = Arc::clone(&failure);
    let create: eframe::AppCreator<'_> = Box::new(move |creation| {
        let dashboard = Dashboard::new(&creation.egui_ctx, options, is_software)?;
        let close_at = after.map(|after| Instant::now() + after);
        Ok(Box::new(Window { dashboard, close_at, report, failure: told }))
    });
    let ended = eframe::run_native("auricle", native, create);
    ended.map_err(own_error)?;
    let failed = super::desk::lock(&failure).take();
    failed.map_or(Ok(()), Err)
}

/// Ours, where what failed was the making of the dashboard.
fn own_error(error: eframe::Error) -> Error {
    let of_window = |reason: String| Error::Window { reason, next: NO_DISPLAY };
    match error {
        eframe::Error::AppCreation(cause) => match cause.downcast::<Error>() {
            Ok(error) => *error,
            Err(cause) => of_window(cause.to_string()),
        },
        error => of_window(error.to_string()),
    }
}

const NO_DISPLAY: &str =
    "run it on a desktop or under Xvfb, or let it make a picture without a display: `--screenshot FILE`";

fn has_display() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(all(unix, not(target_vendor = "apple"))) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

struct Window {
    dashboard: Dashboard,
    close_at: Option<Instant>,
    report: Option<std::path::PathBuf>,
    failure: Arc<std::sync::Mutex<Option<Error>>>,
}

impl eframe::App for Window {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.dashboard.ui(ui);
        if let Some(close_at) = self.close_at {
            let left = close_at.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                ui.ctx().send_viewport_cmd(egui::ViewportCommand::Close);
            }
            ui.ctx().request_repaint_after(left);
        }
    }

    fn clear_color(&self, _visuals: &egui::Visuals) -> [f32; 4] {
        self.dashboard.background().to_normalized_gamma_f32()
    }

    fn on_exit(&mut self) {
        let Some(path) = &self.report else { return };
        if let Err(error) = export::write_report(path, &self.dashboard.export().1) {
            *super::desk::lock(&self.failure) = Some(error);
        }
    }
}
