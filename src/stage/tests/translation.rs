//! Every kernel goes through naga into the languages of all backends, and through tint, which checks what naga does
//! not: that barriers stand in uniform control flow.

use std::path::Path;
use std::process::{Command, Output};

use super::{filters, first_of_each_text, layer_entries, layers, others, transforms};
use naga::back::{hlsl, msl, spv};

#[test]
fn every_kernel_is_translated_for_every_backend() {
    let layers = layers().into_iter().map(|layer| layer.entry);
    for entry in filters().into_iter().chain(transforms()).chain(others()).chain(layers) {
        let (module, info, index) = entry.resolve();
        let what = &entry.name;
        let pipeline = spv::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: module.entry_points[index].name.clone(),
        };
        let words = spv::write_vec(&module, &info, &spv::Options::default(), Some(&pipeline));
        let words = words.unwrap_or_else(|error| panic!("{what} to SPIR-V: {error}"));
        assert_eq!(words.first(), Some(&0x0723_0203), "{what}: the magic number of SPIR-V");

        let metal = msl::write_string(&module, &info, &msl::Options::default(), &msl::PipelineOptions::default());
        let (metal, translated) = metal.unwrap_or_else(|error| panic!("{what} to MSL: {error}"));
        assert!(metal.contains("kernel void"), "{what}: a kernel in MSL");
        assert!(translated.entry_point_names.iter().all(Result::is_ok), "{what}: its entry points in MSL");

        let mut text = String::new();
        let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
        let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
        let written = written.unwrap_or_else(|error| panic!("{what} to HLSL: {error}"));
        assert!(text.contains("[numthreads("), "{what}: a compute shader in HLSL");
        assert!(written.entry_point_names.iter().all(Result::is_ok), "{what}: its entry points in HLSL");
    }
}

/// Runs tint on a module; none when it is not installed.
fn tint(folder: &Path, name: &str, wgsl: &str) -> Option<Output> {
    let file = folder.join(format!("{name}.wgsl"));
    std::fs::write(&file, wgsl).expect("a small file should be writable");
    let out = folder.join("out.wgsl");
    let run = Command::new("tint").arg(&file).args(["--format", "wgsl", "-o"]).arg(out).output();
    match run {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("tint should run: {error}"),
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped check should say so")]
fn tint_finds_all_barriers_in_uniform_control_flow() {
    let folder = tempfile::tempdir().expect("a temporary folder should be possible");
    let layers = layer_entries().into_iter().map(|layer| layer.entry);
    let tiles = first_of_each_text(filters().into_iter().chain(transforms()));
    assert_eq!(
        tiles.len(),
        6,
        "filter and transform, of one window and of two, the former with leaves of three lengths"
    );
    for entry in tiles.into_iter().chain(others()).chain(layers) {
        let Some(output) = tint(folder.path(), &entry.entry, &entry.wgsl) else {
            eprintln!("SKIPPED: `tint` is not installed, so nothing checks the uniformity of barriers");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", entry.name);
        // Or else tint could not tell.
        let barrier = "if samples[lane].x > 0 { workgroupBarrier(); }";
        if entry.entry == "max_abs_gate" {
            let bad = entry.wgsl.replacen("var peak = 0u;", &format!("var peak = 0u; {barrier}"), 1);
            assert_ne!(bad, entry.wgsl, "the barrier was put in");
            let output = tint(folder.path(), "bad", &bad).expect("it ran a moment ago");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains("uniform"), "a barrier in a branch is refused: {said}");
        }
    }
}
