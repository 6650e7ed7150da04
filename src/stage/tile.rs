//! What the kernels that transform a tile in workgroup memory have in common: `shaders/fft.wgsl`.

use std::f64::consts::TAU;

use crate::recording::Table;

/// Complex values that fit into 16 KiB of workgroup memory.
pub(super) const LARGEST_TILE: usize = 2048;
/// Places of a tile of short windows, which are put side by side up to this.
pub(super) const USUAL_TILE: usize = 512;
/// An invocation does one butterfly of radix 8 in a pass; in software, more.
pub(super) const VALUES_PER_INVOCATION: usize = 8;

/// The source of such a kernel with all that it includes, `$values` being what a place of the tile holds.
macro_rules! tile_wgsl {
    ($values:literal, $($kernel:literal),+) => {
        concat!(
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/dispatch.wgsl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/complex.wgsl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/frames.wgsl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $values)),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/butterflies.wgsl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/fft.wgsl")),
            $(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $kernel)),)+
        )
    };
}

pub(super) use tile_wgsl;

/// Invocations in a workgroup on GPUs in software: one vector of lavapipe, whose barriers then stop nobody. A filter of
/// 1024 samples took 22.8 us of the CPU so, and 27.7 with 64. Others of the kind were not measured.
const INVOCATIONS_IN_SOFTWARE: usize = 8;

/// The constants of such a kernel that are different there.
pub(super) fn in_software(tile: usize) -> Vec<(String, f64)> {
    vec![("WORKGROUP_SIZE".to_owned(), INVOCATIONS_IN_SOFTWARE.min(tile / VALUES_PER_INVOCATION) as f64)]
}

/// `exp(-2 pi i k / len)` for each k.
pub(super) fn twiddles(len: usize) -> Table {
    let entries = (0..len).flat_map(|k| {
        let (sin, cos) = (-TAU * k as f64 / len as f64).sin_cos();
        [cos, sin]
    });
    table("twiddles", entries)
}

/// A table of floats, each rounded once.
pub(super) fn table(label: &'static str, floats: impl Iterator<Item = f64>) -> Table {
    let floats: Vec<f32> = floats.map(rounded).collect();
    Table { label, bytes: bytemuck::cast_slice(&floats).into() }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
pub(super) fn rounded(value: f64) -> f32 {
    value as f32
}
