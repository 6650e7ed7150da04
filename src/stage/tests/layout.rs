//! Parameter structs and bindings, member by member: Rust against the naga module.

use std::mem::offset_of;

use super::{FrameShape, filter_of};
use crate::graph::gather_kernel;
use crate::graph::limits::inspect::{Members, constant, members};
use crate::recording::{Kernel, NO_SLOT, Operand, Unit};
use crate::stage::denoise::kernel::{self, Extent};
use crate::stage::denoise::network::HopStep;
use crate::stage::filter::{FilterMode, FilterParams, Measure, wgsl};
use crate::stage::fourier::Fourier;
use crate::stage::gate::{self, ALWAYS_LOUD, GateParams};

fn parse(wgsl: &str) -> naga::Module {
    naga::front::wgsl::parse_str(wgsl).expect("our kernels should parse")
}

macro_rules! rust_members {
    ($type:ident { $($field:ident),* $(,)? }) => {{
        // Names every field, so that a new one does not go unnoticed.
        let $type { $($field: _),* } = bytemuck::Zeroable::zeroed();
        (vec![$((stringify!($field).to_owned(), offset_of!($type, $field))),*], size_of::<$type>())
    }};
}

#[test]
fn structs_have_one_field_list_in_both_languages() {
    let gate = parse(gate::WGSL);
    let params: Members = rust_members!(GateParams {
        frames,
        row_len,
        context_len,
        emit_begin,
        emit_end,
        frame_quads,
        threshold_bits,
        hold,
        quiet_neighbours,
        dispatches,
    });
    assert_eq!(members(&gate, "GateParams"), params);
    let unit: Members = rust_members!(Unit { slot, previous, next, frame });
    let (alone, paired) = (parse(&wgsl(3, false)), parse(&wgsl(3, true)));
    let [one_frame, two_frames] = [2048, 64].map(|len| parse(&fourier_of(len).wgsl));
    let gather = parse(&gather_kernel(FrameShape::real(64)).wgsl);
    for module in [&gate, &alone, &paired, &one_frame, &two_frames, &gather] {
        assert_eq!(members(module, "Unit"), unit);
    }
    let params: Members = rust_members!(FilterParams { count, windows_per_frame, frame_len, hop, margin });
    assert_eq!(members(&alone, "FilterParams"), params);
    assert_eq!(members(&paired, "FilterParams"), params);
    // All that it is told is the number of frames, which each run writes.
    let count_only: Members = (vec![("count".to_owned(), 0)], 4);
    assert_eq!(members(&one_frame, "FourierParams"), count_only);
    assert_eq!(members(&two_frames, "FourierParams"), count_only);
}

fn fourier_of(len: usize) -> Kernel {
    Fourier::Inverse.kernel(FrameShape::complex(len), Operand::Input(0))
}

#[test]
fn structs_of_the_denoiser_have_one_field_list_in_both_languages() {
    use kernel::{
        DENSE, DENSE_INT8, DenseInt8Params, DenseParams, FRAME, FrameParams, GRU, LAYER_NORM, LSTM, MASK,
        MASK_FEATURES, MaskFeaturesParams, MaskParams, NormParams, OVERLAP_ADD, OverlapParams, QUANTISE,
        QuantiseParams, RecurrentParams, SPECTRUM, SpectrumParams,
    };
    macro_rules! same {
        ($wgsl:expr, $type:ident { $($field:ident),* $(,)? }) => {{
            let params: Members = rust_members!($type { rows, channels, hops, $($field),* });
            let module = parse($wgsl);
            assert_eq!(members(&module, stringify!($type)), params);
            let step: Members = rust_members!(HopStep { gain, flags });
            assert_eq!(members(&module, "HopStep"), step);
        }};
    }
    same!(FRAME, FrameParams { window_len, hop, window_stride });
    same!(SPECTRUM, SpectrumParams { window_stride, feature_stride, floor, offset, scale });
    same!(DENSE, DenseParams { inputs, outputs, source_quads, weight_quads, result_stride, activation });
    same!(QUANTISE, QuantiseParams { len, stride, words });
    same!(DENSE_INT8, DenseInt8Params { outputs, source_quads, result_stride, activation });
    same!(LSTM, RecurrentParams { units, state_len, gate_stride, result_stride });
    same!(GRU, RecurrentParams { units, state_len, gate_stride, result_stride });
    same!(LAYER_NORM, NormParams { len, source_stride, result_stride, epsilon });
    same!(MASK, MaskParams { mask_stride, window_stride, floor });
    same!(MASK_FEATURES, MaskFeaturesParams { size, stride });
    same!(OVERLAP_ADD, OverlapParams { window_len, hop, window_stride });
    let extent: Members = rust_members!(Extent { rows, channels, hops });
    assert_eq!(extent.1, 12, "the words that each call sets come first");
}

#[test]
fn what_the_denoisers_kernels_are_bound_to_is_in_their_order() {
    for layer in super::layers() {
        let bindings = bindings(&layer.entry.wgsl);
        let kinds: String = bindings.iter().map(|(_, kind)| *kind).collect();
        let bound: String = layer.bound.iter().map(|written| if *written { 'w' } else { 'r' }).collect();
        assert_eq!(kinds, format!("u{bound}"), "{}", layer.entry.name);
        let module = parse(&layer.entry.wgsl);
        let params = module.global_variables.iter().find(|(_, variable)| variable.name.as_deref() == Some("params"));
        let (_, params) = params.expect("every kernel has parameters");
        let span = module.types[params.ty].inner.size(module.to_ctx());
        assert_eq!(layer.params.len() * 4, span as usize, "{}", layer.entry.name);
        assert_eq!(layer.params[..3], [0; 3], "{}: what each call sets", layer.entry.name);
    }
}

#[test]
fn names_of_the_denoisers_choices_are_the_same_in_both_languages() {
    use crate::stage::denoise::model::{Activation, Feature};
    let rows = parse(kernel::FRAME);
    assert_eq!((constant(&rows, "RUN"), constant(&rows, "RESET")), (HopStep::RUN, HopStep::RESET));
    let spectrum = parse(kernel::SPECTRUM);
    let log10 = Feature::Log10Power { floor: 1.0, offset: 0.0, scale: 1.0 };
    let features = [
        ("MAGNITUDE", Feature::Magnitude),
        ("LOG_MAGNITUDE", Feature::LogMagnitude { floor: 1.0 }),
        ("LOG10_POWER", log10),
    ];
    for (name, feature) in features {
        assert_eq!(constant(&spectrum, name), kernel::feature_constants(feature).0, "{name}");
    }
    let activations = [
        ("LINEAR", Activation::Linear),
        ("RELU", Activation::Relu),
        ("SIGMOID", Activation::Sigmoid),
        ("TANH", Activation::Tanh),
    ];
    for module in [parse(kernel::DENSE), parse(kernel::DENSE_INT8)] {
        for (name, activation) in activations {
            assert_eq!(constant(&module, name), kernel::activation_code(activation), "{name}");
        }
    }
}

#[test]
fn a_moved_field_would_be_noticed() {
    let swapped =
        gate::WGSL.replacen("row_len: u32,\n    context_len: u32,", "context_len: u32,\n    row_len: u32,", 1);
    assert_ne!(swapped, gate::WGSL, "the fields were swapped");
    assert_ne!(members(&parse(&swapped), "GateParams"), members(&parse(gate::WGSL), "GateParams"));
}

fn word(value: usize) -> u32 {
    u32::try_from(value).expect("it should be small")
}

/// The words that a kernel brings, as they lie in its uniform.
fn uniform(kernel: &Kernel) -> Vec<u32> {
    std::iter::once(0).chain(kernel.params.iter().copied()).collect()
}

#[test]
fn parameters_that_are_written_as_words_are_in_the_structs_order() {
    for shape in [FrameShape::real(64), FrameShape::complex(256), FrameShape::real(4096)] {
        let (layout, kernel) =
            filter_of(shape, FilterMode::Seamless, Measure::Nothing).expect("the default filter has a layout");
        let pairs = |samples: usize| word(samples * shape.domain().floats_per_sample() / 2);
        let params = FilterParams {
            count: 0,
            windows_per_frame: word(layout.windows_per_frame),
            frame_len: pairs(shape.len()),
            hop: pairs(layout.hop),
            margin: pairs(layout.margin),
        };
        assert_eq!(uniform(&kernel), bytemuck::cast_slice::<_, u32>(&[params]), "{shape}");
    }
    let gather = gather_kernel(FrameShape::complex(256));
    assert_eq!(uniform(&fourier_of(64)), [0], "the count alone");
    let (fields, span) = members(&parse(&gather.wgsl), "GatherParams");
    assert_eq!(fields, [("count".to_owned(), 0), ("frame_len".to_owned(), 4)]);
    assert_eq!((uniform(&gather), span), (vec![0, 512], 8), "floats, not samples");
}

#[test]
fn constants_are_the_same_in_both_languages() {
    let gate = parse(gate::WGSL);
    assert_eq!(constant(&gate, "NO_SLOT"), NO_SLOT);
    assert_eq!(constant(&gate, "ALWAYS_LOUD"), ALWAYS_LOUD);
    assert_eq!(constant(&gate, "INFINITY_BITS"), f32::INFINITY.to_bits());
    assert!(constant(&gate, "WIDEST_DISPATCH") <= 65_535, "within the limit of every adapter");
    let kept = u64::from(constant(&parse(&wgsl(3, false)), "KEPT_LEN"));
    for filter in super::filters() {
        let (tile, workgroup) = (filter.constant("TILE_LEN"), filter.constant("WORKGROUP_SIZE"));
        assert_eq!(tile % (8 * workgroup), 0, "{}: every invocation has as many butterflies", filter.name);
        if filter.constant("SPLIT") == 1 {
            assert_eq!(tile / workgroup, kept, "{} keeps all of its tile", filter.name);
        }
    }
}

/// Name and kind of each binding, in order: `u` uniform, `r` read, `w` written.
fn bindings(wgsl: &str) -> Vec<(String, char)> {
    let module = parse(wgsl);
    let mut found: Vec<(u32, String, char)> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let binding = variable.binding.as_ref()?;
            assert_eq!(binding.group, 0, "everything is in group 0");
            let kind = match variable.space {
                naga::AddressSpace::Uniform => 'u',
                naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => 'w',
                _ => 'r',
            };
            Some((binding.binding, variable.name.clone().unwrap_or_default(), kind))
        })
        .collect();
    found.sort_unstable();
    assert!(found.iter().map(|(binding, ..)| *binding).eq(0..word(found.len())), "no gaps: {found:?}");
    found.into_iter().map(|(_, name, kind)| (name, kind)).collect()
}

#[test]
fn bindings_are_params_units_operands_tables_results() {
    let (_, filter) = filter_of(FrameShape::real(64), FilterMode::Block, Measure::Coherence).expect("it has a layout");
    let kernels = [(filter, 1, 2), (gather_kernel(FrameShape::real(64)), 1, 1), (fourier_of(64), 1, 1)];
    for (kernel, operands, results) in kernels.into_iter().chain([(fourier_of(2048), 1, 1)]) {
        let bindings = bindings(&kernel.wgsl);
        let read = usize::from(kernel.reads_units) + operands + kernel.tables.len();
        let kinds: String = bindings.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, format!("u{}{}", "r".repeat(read), "w".repeat(results)), "{}", kernel.name);
        assert_eq!(bindings[0].0, "params", "{}", kernel.name);
        assert_eq!(bindings[1].0, "units", "{}", kernel.name);
        let tables: Vec<&str> = kernel.tables.iter().map(|table| table.label).collect();
        let named: Vec<&str> = bindings[2 + operands..][..tables.len()].iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(named, tables, "{}", kernel.name);
    }
}
