//! What all kernels of the stages have to keep to, whichever device runs them; here they are listed, as a plan asks
//! for them. What they compute is tested through the public API.

/// Parameters and bindings: Rust against WGSL.
mod layout;

/// Invocations, memory, loops.
mod limits;

/// What all layers of the denoiser compute with.
mod functions;

/// Other shading languages, and a second opinion on barriers.
mod translation;

use std::collections::{BTreeMap, BTreeSet};

use crate::frame::{Domain, FrameShape};
use crate::graph::gather_kernel;
use crate::recording::{Kernel, Operand};
use crate::stage::denoise::model::{Basis, Description, Feature, LayerKind, Window};
use crate::stage::denoise::network::{NetworkOptions, Precision};
use crate::stage::denoise::program::{Program, Work};
use crate::stage::denoise::tests::denoise_models::{
    LINEAR, SIGMOID, description, scaled, small_descriptions, with_part, with_random_weights,
};
use crate::stage::filter::{FilterMode, Measure, PhiResolvent, WindowLayout, filter_kernel};
use crate::stage::fourier::{Fourier, Taper};
use crate::stage::gate;

/// An entry point with its constants filled in.
struct Entry {
    name: String,
    wgsl: String,
    entry: String,
    constants: Vec<(String, f64)>,
}

impl Entry {
    fn of(name: String, kernel: &Kernel) -> Self {
        let (wgsl, entry) = (kernel.wgsl.to_string(), kernel.entry.clone());
        Self { name, wgsl, entry, constants: kernel.constants.clone() }
    }

    /// On GPUs, and on those in software.
    fn both(name: &str, kernel: &Kernel) -> [Self; 2] {
        let on = |is_software: bool, which: &str| {
            let of = Self::of(format!("{name}{which}"), kernel);
            Self { constants: kernel.constants_on(is_software), ..of }
        };
        [on(false, ""), on(true, ", in software")]
    }

    #[expect(clippy::cast_possible_truncation, reason = "whole numbers of 32 bits, all of them")]
    fn constant(&self, name: &str) -> u64 {
        let (_, value) = self.constants.iter().find(|(known, _)| known == name).expect("the constant should be set");
        (*value as i64).cast_unsigned()
    }

    /// The module with its constants, and the entry point's index in it.
    fn resolve(&self) -> (naga::Module, naga::valid::ModuleInfo, usize) {
        // Weights in 16 bits are unpacked by a function that WebGPU has, and old OpenGL has not.
        let is_packed = self.wgsl.contains("unpack2x16float");
        let capability = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        let capabilities = if is_packed { capability } else { naga::valid::Capabilities::empty() };
        let resolved = crate::graph::limits::resolve_with(&self.wgsl, &self.constants, capabilities);
        let (module, info) = resolved.unwrap_or_else(|problem| panic!("{}: {problem}", self.name));
        let entry = module.entry_points.iter().position(|entry| entry.name == self.entry);
        (module, info, entry.expect("the entry point should be there"))
    }
}

/// The first of those with the same text, whose constants differ.
fn first_of_each_text(entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let mut seen = BTreeSet::new();
    entries.into_iter().filter(|entry| seen.insert(entry.wgsl.clone())).collect()
}

/// Every shape that the stages work on.
fn shapes() -> Vec<FrameShape> {
    let sides = (0..12).flat_map(|rows| (1..13).map(move |columns| (1 << rows, 1 << columns)));
    let shapes = sides.flat_map(|(rows, columns)| {
        [FrameShape::block(Domain::Real, rows, columns), FrameShape::block(Domain::Complex, rows, columns)]
    });
    let shapes: Vec<FrameShape> = shapes.filter(|shape| shape.check().is_ok()).collect();
    assert_eq!(shapes.len(), 126, "all shapes should be there");
    shapes
}

fn filter_of(shape: FrameShape, mode: FilterMode, measure: Measure) -> Option<(WindowLayout, Kernel)> {
    let filter = PhiResolvent { mode, measure, ..PhiResolvent::default() };
    let layout = WindowLayout::new(&filter, shape).ok()?;
    let operand = if mode == FilterMode::Block { Operand::Buffer(0) } else { Operand::Input(0) };
    Some((layout, filter_kernel(&filter, shape, layout, operand)))
}

/// The filter for every shape, in every variant, each set of constants once.
fn filters() -> Vec<Entry> {
    let mut entries = BTreeMap::new();
    for shape in shapes() {
        for mode in [FilterMode::Block, FilterMode::Seamless] {
            for measure in [Measure::Nothing, Measure::Coherence] {
                let Some((_, kernel)) = filter_of(shape, mode, measure) else {
                    assert!(mode == FilterMode::Seamless && shape.rows() > 1, "{shape} should have a filter");
                    continue;
                };
                for entry in Entry::both(&format!("filter of {shape}, {mode:?}, {measure:?}"), &kernel) {
                    entries.insert(format!("{:?}", entry.constants), entry);
                }
            }
        }
    }
    assert!(entries.len() > 50, "there are many variants, not {}", entries.len());
    entries.into_values().collect()
}

/// The transform for every length, there and back, of inputs and of what kernels wrote.
fn transforms() -> Vec<Entry> {
    let of = |len: usize, fourier: Fourier, operand: Operand| {
        let kernel = fourier.kernel(FrameShape::complex(len), operand);
        Entry::both(&format!("{fourier:?} of {len} from {operand:?}"), &kernel)
    };
    let lengths = (6..12).map(|log2| 1 << log2);
    let both = [Fourier::Forward(Taper::Hann), Fourier::Inverse];
    lengths
        .flat_map(|len| both.map(|fourier| [Operand::Input(0), Operand::Buffer(0)].map(|from| of(len, fourier, from))))
        .flatten()
        .flatten()
        .collect()
}

fn others() -> Vec<Entry> {
    let gate = |entry: &str| Entry {
        name: entry.to_owned(),
        wgsl: gate::WGSL.to_owned(),
        entry: entry.to_owned(),
        constants: Vec::new(),
    };
    let gather = Entry::of("gather_frames".to_owned(), &gather_kernel(FrameShape::complex(4096)));
    let delay = Entry::of("estimate_delay".to_owned(), &crate::locate::kernel_of_longest_delay());
    vec![gate("max_abs_gate"), gate("compact_live"), gather, delay]
}

/// Models that between them bring every kernel of the denoiser in every variant: all kinds of layers, the most units of
/// each tile, the longest windows.
fn denoisers() -> Vec<Description> {
    let spectrum = Basis::Spectrum(Feature::Magnitude);
    let mut descriptions = small_descriptions();
    for (window_len, hop) in [(16, 1), (1022, 511), (2048, 32)] {
        let window = description("long", window_len, hop, Window::SqrtHann);
        descriptions.push(with_part(window, spectrum, &[(SIGMOID, window_len / 2 + 1)]));
    }
    let kept = description("kept", 4096, 64, Window::Rectangular);
    descriptions.push(with_part(kept, Basis::Learned { size: 33 }, &[(LINEAR, 2048), (SIGMOID, 33)]));
    for units in [64, 128, 256, 400, 512, 1024, 2048] {
        for kind in [LayerKind::Lstm, LayerKind::Gru] {
            let recurrent = description("units", 64, 32, Window::Rectangular);
            let recurrent = with_part(recurrent, spectrum, &[(LINEAR, 1), (kind, units), (LINEAR, 1), (SIGMOID, 33)]);
            descriptions.extend([scaled(recurrent.clone()), recurrent]);
        }
    }
    descriptions
}

/// The programs of those at every precision.
fn programs() -> Vec<Program> {
    let precisions = [Precision::F32, Precision::F16, Precision::Int8];
    let of = |description: Description| {
        let model = with_random_weights(description, 1);
        precisions.map(|precision| {
            Program::new(&model, NetworkOptions { precision, mask_floor: 0.0 }).expect("a GPU should run it")
        })
    };
    denoisers().into_iter().flat_map(of).collect()
}

/// An entry point of the denoiser, with what the program asks of it.
struct Layer {
    entry: Entry,
    work: Work,
    most_hops: usize,
    hop: usize,
    /// The words of its parameters.
    params: Vec<u32>,
    bound: Vec<bool>,
}

/// Every kernel of the denoiser in every variant, each set of constants once.
fn layers() -> Vec<Layer> {
    let mut layers = BTreeMap::new();
    for program in programs() {
        for operation in &program.operations {
            for variant in operation.work.variants() {
                let constants = operation.constants.iter().chain(&variant);
                let constants: Vec<(String, f64)> =
                    constants.map(|(name, value)| ((*name).to_owned(), *value as f64)).collect();
                let name = format!("{} {constants:?}", operation.entry);
                let (wgsl, entry) = (operation.wgsl.to_owned(), operation.entry.to_owned());
                let layer = Layer {
                    entry: Entry { name: name.clone(), wgsl, entry, constants },
                    work: operation.work.clone(),
                    most_hops: program.most_hops,
                    hop: program.hop,
                    params: operation.params.clone(),
                    bound: operation.bound.iter().map(|(_, written)| *written).collect(),
                };
                layers.insert(name, layer);
            }
        }
    }
    assert!(layers.len() > 50, "there are many variants, not {}", layers.len());
    layers.into_values().collect()
}

/// One of each entry point.
fn layer_entries() -> Vec<Layer> {
    let layers = layers().into_iter().map(|layer| (layer.entry.entry.clone(), layer));
    let entries: BTreeMap<String, Layer> = layers.collect();
    assert_eq!(entries.len(), 12, "every kernel of the denoiser: {:?}", entries.keys());
    entries.into_values().collect()
}
