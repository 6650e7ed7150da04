//! Custom kernels that are refused before any driver sees them: each message says what is wrong, and in which node.

use auricle::{CustomKernel, Error, FrameShape, Graph};

use crate::adapter::{engines, plans};
use crate::compare::assert_same_bits;
use crate::custom::wgsl;
use crate::signals::noise;

/// What every device says about a kernel of `sources` sources.
fn refusal(source: &str, sources: usize) -> String {
    let names: Vec<String> = (0..sources).map(|index| format!("in{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut graph = Graph::new();
    for name in &names {
        graph = graph.input(name, FrameShape::real(64));
    }
    let kernel = CustomKernel::new(source, |_, _| panic!("a refused kernel should not run"));
    let graph = graph.kernel("mine", &names, kernel).output("out", "mine");
    let messages = engines().iter().map(|engine| {
        let error = engine.compile(&graph).expect_err("the kernel should be refused");
        assert!(matches!(&error, Error::CustomKernel { node, .. } if node == "mine"), "names the node: {error:?}");
        error.to_string()
    });
    let messages: Vec<String> = messages.collect();
    assert!(messages.iter().all(|message| *message == messages[0]), "every device says the same: {messages:?}");
    messages[0].clone()
}

fn assert_says(message: &str, parts: &[&str]) {
    let missing = parts.iter().find(|part| !message.contains(**part));
    assert_eq!(missing, None, "{message}");
}

const COPY: &str = "value = source_0[frame * params.frame_len + i];";

#[test]
fn the_kernel_that_the_others_are_made_from_compiles() {
    let kernel = CustomKernel::new(&wgsl("", 1, COPY), |_, _| {});
    let graph = Graph::new().input("in", FrameShape::real(64)).kernel("mine", &["in"], kernel).output("out", "mine");
    for engine in engines() {
        engine.compile(&graph).expect("nothing is wrong with it");
    }
}

/// What our own kernels call things is nobody else's business.
#[test]
fn a_kernel_may_use_the_names_of_ours() {
    let names = "struct Unit { slot: u32 } struct HopStep { gain: f32 } const NO_SLOT: u32 = 4u; const RUN: f32 = 0.5;";
    let body = "let unit = Unit(NO_SLOT); value = HopStep(RUN).gain * f32(unit.slot) * source_0[frame * 64u + i];";
    let kernel = CustomKernel::new(&format!("{names}\n{}", wgsl("", 1, body)), |sources, result| {
        result.iter_mut().zip(sources[0]).for_each(|(y, x)| *y = 2.0 * x);
    });
    let graph = Graph::new().input("in", FrameShape::real(64)).kernel("mine", &["in"], kernel).output("out", "mine");
    let samples = noise(64 * 5, 61);
    let expected: Vec<f32> = samples.iter().map(|x| 2.0 * x).collect();
    for (name, plan) in plans(&graph, &[4]) {
        let output = plan.run(&[&samples], 1).expect("nothing is wrong with it");
        assert_same_bits(output.dense("out").expect("it is there"), &expected, &name);
    }
}

#[test]
fn text_that_is_no_wgsl_is_shown_with_its_line() {
    let good = wgsl("", 1, COPY);
    let bad = good.replacen("let frame =", "let frame = = ", 1);
    let line = good.lines().position(|line| line.contains("let frame =")).expect("it is there") + 1;
    assert_says(&refusal(&bad, 1), &["`mine`", &format!("wgsl:{line}:"), "expected"]);
    assert_says(&refusal(&wgsl("", 1, "value = nothing;"), 1), &["nothing"]);
    assert_says(&refusal(&wgsl("", 1, "value = 1u;"), 1), &["`mine`"]);
    let half = format!("enable f16;\n{}", wgsl("", 1, "value = f32(f16(source_0[i]) * 2.0h);"));
    assert_says(&refusal(&half, 1), &["`mine`", "invalid", "f16(source_0[i])"]);
}

#[test]
fn entry_points_are_counted() {
    let two = format!("{}\n@compute @workgroup_size(1) fn other() {{}}", wgsl("", 1, COPY));
    assert_says(&refusal(&two, 1), &["2 entry points", "must have one"]);
    assert_says(&refusal("fn nothing() {}", 1), &["0 entry points"]);
    let fragment = "@fragment fn shade() -> @location(0) vec4<f32> { return vec4(0.0); }";
    assert_says(&refusal(fragment, 1), &["`shade`", "no compute shader"]);
}

#[test]
fn limits_of_every_adapter_are_kept() {
    let many = wgsl("", 1, COPY).replace("@workgroup_size(64)", "@workgroup_size(257)");
    assert_says(&refusal(&many, 1), &["257 invocations", "at most 256"]);
    let flat = wgsl("", 1, COPY).replace("@workgroup_size(64)", "@workgroup_size(16, 17)");
    assert_says(&refusal(&flat, 1), &["272 invocations"]);
    let memory = |floats: usize| {
        let body = "shared_floats[lane] = 1.0; value = shared_floats[lane];";
        format!("var<workgroup> shared_floats: array<f32, {floats}>;\n{}", wgsl("", 1, body))
    };
    assert_says(&refusal(&memory(4097), 1), &["16388 bytes of workgroup memory", "at most 16384"]);
    let fits = CustomKernel::new(&memory(4096), |_, _| {});
    let graph = Graph::new().input("in", FrameShape::real(64)).kernel("mine", &["in"], fits).output("out", "mine");
    engines()[0].compile(&graph).expect("16 KiB fit");
    let all: String = (0..8).map(|index| format!("value += source_{index}[i];")).collect();
    assert_says(&refusal(&wgsl("", 8, &all), 8), &["10 storage buffers", "at most 8", "loops"]);
}

#[test]
fn bindings_are_those_of_the_contract() {
    let good = wgsl("", 1, COPY);
    let storage_params = good.replace("var<uniform> params", "var<storage, read> params");
    assert_says(&refusal(&storage_params, 1), &["@binding(0)", "params", "var<uniform>"]);
    let written_source = good.replace("var<storage, read> source_0", "var<storage, read_write> source_0");
    assert_says(&refusal(&written_source, 1), &["@binding(1)", "a source", "var<storage, read>"]);
    assert_says(&refusal(&good, 2), &["@binding(2)", "a source"]);
    let swapped = good.replace("@binding(1)", "@binding(9)");
    assert_says(&refusal(&swapped, 1), &["@binding(1)"]);
    let other_group = good.replace("@group(0) @binding(2)", "@group(1) @binding(2)");
    assert_says(&refusal(&other_group, 1), &["@binding(2)", "the result", "var<storage, read_write>"]);
    let extra = format!("@group(0) @binding(3) var<storage, read_write> extra: array<f32>;\n{good}");
    assert_says(&refusal(&extra, 1), &["4 bindings", "must have 3"]);
}

/// Each ended the process, or kept the compiler of some driver busy for ever.
#[test]
fn text_that_compilers_would_choke_on_is_refused() {
    let with =
        |before: &str, body: &str| wgsl("", 1, body).replacen("struct Params", &format!("{before}\nstruct Params"), 1);
    let sum = format!("let x = source_0[i]; value = x{};", "+x".repeat(30_000));
    assert_says(&refusal(&with("", &sum), 1), &["expressions within expressions", "500"]);
    let choice = format!("let x = source_0[i]; if x < 1.0 {{}}{}", " else if x < 2.0 {}".repeat(3000));
    assert_says(&refusal(&with("", &choice), 1), &["blocks within blocks", "64"]);
    let calls: String = (1..40)
        .map(|n| format!("fn call{n}(x: f32) -> f32 {{ return call{0}(x) + call{0}(x + 1.0); }}\n", n - 1))
        .collect();
    let calls = format!("fn call0(x: f32) -> f32 {{ return x; }}\n{calls}");
    assert_says(&refusal(&with(&calls, "value = call39(source_0[i]);"), 1), &["steps", "1000000"]);
    let large = "var<private> large: array<f32, 200000000>;";
    assert_says(&refusal(&with(large, "large[i] = 1.0; value = large[i + 1u];"), 1), &["bytes of variables", "65536"]);
    assert_says(&refusal(&with("", &"value += 1.0;".repeat(10_000)), 1), &["bytes", "65536"]);
    let constants: String = (1..3000).map(|n| format!("const a{n} = a{};", n - 1)).collect();
    let graph = |text: &str| {
        let kernel = CustomKernel::new(text, |_, _| {});
        Graph::new().input("in", FrameShape::real(64)).kernel("mine", &["in"], kernel).output("out", "mine")
    };
    let nested = format!("value = {}1.0{};", "(".repeat(20_000), ")".repeat(20_000));
    let minus = format!("value = {}1.0;", "-".repeat(50_000));
    for text in [with(&format!("const a0 = 1.0; {constants}"), "value = a2999;"), with("", &nested), with("", &minus)] {
        // Whether they are kernels is naga's to say.
        drop(engines()[0].compile(&graph(&text)));
    }
}

/// Before there is a state for each of them.
#[test]
fn more_channels_than_there_are_samples_for_are_refused_at_once() {
    let denoise = auricle::Denoise::new(auricle::stage::denoise::model::Model::builtin());
    let graph =
        Graph::new().input("in", FrameShape::real(256)).denoise("denoise", "in", denoise).output("out", "denoise");
    for engine in engines() {
        let plan = engine.compile(&graph).unwrap();
        for channels in [1_000_000_000, usize::MAX] {
            let error = plan.run(&[&[0.5; 256]], channels).unwrap_err();
            assert!(matches!(error, Error::BatchShape { .. }), "{channels}: {error}");
        }
        let error = plan.session(usize::MAX).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
}
