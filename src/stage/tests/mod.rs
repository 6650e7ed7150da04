//! What all kernels of the stages have to keep to, whichever device runs them; here they are listed, as a plan asks
//! for them. What they compute is tested through the public API.

/// Parameters and bindings: Rust against WGSL.
mod layout;

/// Invocations, memory, loops.
mod limits;

/// Other shading languages, and a second opinion on barriers.
mod translation;

use std::collections::BTreeMap;

use crate::frame::{Domain, FrameShape};
use crate::graph::gather_kernel;
use crate::recording::{Kernel, Operand};
use crate::stage::filter::{FilterMode, Measure, PhiResolvent, WindowLayout, filter_kernel};
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

    #[expect(clippy::cast_possible_truncation, reason = "whole numbers of 32 bits, all of them")]
    fn constant(&self, name: &str) -> u64 {
        let (_, value) = self.constants.iter().find(|(known, _)| known == name).expect("the constant should be set");
        (*value as i64).cast_unsigned()
    }

    /// The module with its constants, and the entry point's index in it.
    fn resolve(&self) -> (naga::Module, naga::valid::ModuleInfo, usize) {
        let resolved = crate::graph::limits::resolve(&self.wgsl, &self.constants);
        let (module, info) = resolved.unwrap_or_else(|problem| panic!("{}: {problem}", self.name));
        let entry = module.entry_points.iter().position(|entry| entry.name == self.entry);
        (module, info, entry.expect("the entry point should be there"))
    }
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
                let entry = Entry::of(format!("filter of {shape}, {mode:?}, {measure:?}"), &kernel);
                entries.insert(format!("{:?}", entry.constants), entry);
            }
        }
    }
    assert!(entries.len() > 50, "there are many variants, not {}", entries.len());
    entries.into_values().collect()
}

fn others() -> Vec<Entry> {
    let gate = |entry: &str| Entry {
        name: entry.to_owned(),
        wgsl: gate::WGSL.to_owned(),
        entry: entry.to_owned(),
        constants: Vec::new(),
    };
    let gather = Entry::of("gather_frames".to_owned(), &gather_kernel(FrameShape::complex(4096)));
    vec![gate("max_abs_gate"), gate("compact_live"), gather]
}
