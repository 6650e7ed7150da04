//! What compiling does: pipelines are built once per device, and kept on disk where the driver lets us.

use std::fs;
use std::path::{Path, PathBuf};

use auricle::{
    DeviceChoice, Engine, EngineOptions, FilterMode, FrameShape, Gate, GatePlacement, Graph, PhiResolvent,
    PipelineCacheDir, PlanOptions,
};

use crate::adapter::{adapter_names, open, skipped};
use crate::files::folder;
use crate::signals::noise;

fn graph(shape: FrameShape) -> Graph {
    let filter = PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() };
    Graph::new()
        .input("in", shape)
        .gate("gate", "in", Gate::default())
        .filter("filter", "gate", filter)
        .output("out", "filter")
}

#[test]
fn a_second_plan_reuses_pipelines() {
    for name in adapter_names() {
        let engine = open(DeviceChoice::Named(name.clone()));
        let counts = |shape, gate_on| {
            let options = PlanOptions { gate_on, buckets: vec![16] };
            let plan = engine.compile_with(&graph(shape), &options).expect("the graph should compile");
            (plan.report().pipelines_built, plan.report().pipelines_reused)
        };
        let (real, complex) = (FrameShape::real(256), FrameShape::complex(256));
        assert_eq!(counts(real, GatePlacement::Host), (1, 0), "the first plan on {name}");
        assert_eq!(counts(real, GatePlacement::Host), (0, 1), "the same again on {name}");
        assert_eq!(counts(real, GatePlacement::Device), (2, 1), "two more for the gate on {name}");
        assert_eq!(counts(real, GatePlacement::Device), (0, 3), "all are there on {name}");
        assert_eq!(counts(complex, GatePlacement::Device), (1, 2), "another filter, the same gate on {name}");
    }
}

#[test]
fn the_report_says_what_was_built() {
    for engine in crate::adapter::engines() {
        let report = engine.compile(&graph(FrameShape::real(64))).expect("the graph should compile").report().clone();
        assert!(report.buffer_bytes < 200 << 20, "{report:?}");
        assert_eq!(report.disk_cache_bytes, 0, "there is no cache on disk: {report:?}");
        let small = PlanOptions { buckets: vec![16], ..PlanOptions::default() };
        let small = engine.compile_with(&graph(FrameShape::real(64)), &small).expect("the graph should compile");
        assert!(small.report().buffer_bytes <= report.buffer_bytes, "fewer buckets take less memory");
    }
}

fn open_with(name: &str, folder: &Path) -> Engine {
    let device = DeviceChoice::Named(name.to_owned());
    let pipeline_cache = PipelineCacheDir::At(folder.to_owned());
    Engine::open(&EngineOptions { device, threads: 1, pipeline_cache, ..EngineOptions::default() })
        .expect("the device should open")
}

/// Compiles and runs; returns the bytes that came from disk, and the result.
fn use_cache(name: &str, folder: &Path) -> (usize, Vec<f32>) {
    let plan = open_with(name, folder).compile(&graph(FrameShape::real(512))).expect("the graph should compile");
    let output = plan.run(&[&noise(512 * 3, 71)], 1).expect("the run should succeed");
    (plan.report().disk_cache_bytes, output.dense("out").expect("it is there").to_vec())
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("readable").path());
    let first = files.next().expect("the cache was written");
    assert_eq!(files.next(), None, "one file for one adapter");
    first
}

#[test]
fn pipelines_are_kept_on_disk_and_damage_is_ignored() {
    for name in adapter_names() {
        let folder = folder();
        let folder = folder.path().join("made by the engine");
        let (loaded, right) = use_cache(name, &folder);
        assert_eq!(loaded, 0, "nothing is there yet for {name}");
        let has_cache = open_with(name, &folder).device().features.iter().any(|feature| feature == "pipeline_cache");
        if !has_cache {
            skipped(&format!("{name} offers no pipeline cache"));
            assert!(!folder.exists(), "nothing is written without one");
            continue;
        }
        let file = only_file(&folder);
        let whole = fs::read(&file).expect("it was just written");
        let (loaded, result) = use_cache(name, &folder);
        assert!(loaded > 0 && loaded < whole.len(), "{loaded} of {} bytes, the rest is ours, {name}", whole.len());
        assert_eq!(result, right, "the same result from the cache, {name}");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [&whole[..whole.len() / 2], b"", b"not a cache at all, but longer than its header", &flipped] {
            fs::write(&file, damaged).expect("it was writable before");
            let (loaded, result) = use_cache(name, &folder);
            assert_eq!(loaded, 0, "damage is ignored, {name}");
            assert_eq!(result, right, "the same result without it, {name}");
            assert!(use_cache(name, &folder).0 > 0, "it was written anew, {name}");
        }
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let folder = folder();
    let file = crate::files::put(&folder, "a file", b"where a folder should be");
    for name in adapter_names() {
        assert_eq!(use_cache(name, &file.join("below")).0, 0, "{name}");
    }
}
