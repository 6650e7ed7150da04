//! What a description may say: limits, and layers that fit together.
//!
//! The limits are far above what runs in real time, and far below what would make a device fail: whoever passes
//! these checks can multiply sizes without overflow, and knows that the first layer takes the features of its part,
//! that each layer takes what the one before gives, and that the last one gives a mask.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::model::{Activation, Basis, Description, Feature, Layer, LayerKind, Part};
use crate::tensors::{ModelError, quotable};

/// Samples per second that a model may be made for.
pub const SAMPLE_RATES_HZ: RangeInclusive<u32> = 1000..=384_000;

/// Samples that a window may have; an even number of them.
pub const WINDOW_LENS: RangeInclusive<usize> = 16..=8192;

/// Hops that a window may be made of.
pub const HOPS_PER_WINDOW: RangeInclusive<usize> = 1..=64;

/// Inputs or outputs of a layer, vectors of a learned basis. A layer may also take or give a whole spectrum.
pub const LAYER_SIZES: RangeInclusive<usize> = 1..=4096;

/// Layers of all parts.
pub const MOST_LAYERS: usize = 64;

/// Levels that a model may be best at.
const LEVELS_DBFS: RangeInclusive<f32> = -120.0..=0.0;

/// The longest name of a model, a part or a layer, and the longest other text; in bytes.
const LONGEST_NAME: usize = 64;
const LONGEST_TEXT: usize = 4096;

type Checked = Result<(), ModelError>;

pub(super) fn check(description: &Description) -> Checked {
    check_texts(description)?;
    check_framing(description)?;
    check_levels(description)?;
    check_parts(description)
}

fn ensure(holds: bool, field: &str, problem: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(ModelError::description(field, problem())) }
}

fn check_texts(description: &Description) -> Checked {
    let Description { name, version, licence, source, .. } = description;
    check_name("name", name)?;
    for (field, text) in [("version", version), ("licence", licence), ("source", source)] {
        ensure(!text.trim().is_empty(), field, || "expected text, got none".to_owned())?;
        ensure(text.len() <= LONGEST_TEXT, field, || {
            format!("expected at most {LONGEST_TEXT} bytes, got {}", text.len())
        })?;
        let control = text.chars().find(|character| character.is_control());
        ensure(control.is_none(), field, || format!("expected one line of plain text, got `{}`", quotable(text)))?;
    }
    Ok(())
}

/// Names are parts of tensor names and of messages: letters, digits, and `. _ -` between them.
fn check_name(field: &str, name: &str) -> Checked {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    ensure((1..=LONGEST_NAME).contains(&name.len()) && is_plain, field, || {
        format!("expected 1 to {LONGEST_NAME} letters, digits, `.`, `_` or `-`, got `{}`", quotable(name))
    })
}

fn check_framing(description: &Description) -> Checked {
    let &Description { sample_rate_hz, window_len, hop, .. } = description;
    let (low, high) = SAMPLE_RATES_HZ.into_inner();
    ensure(SAMPLE_RATES_HZ.contains(&sample_rate_hz), "sample_rate_hz", || {
        format!("expected {low} to {high}, got {sample_rate_hz}")
    })?;
    let (low, high) = WINDOW_LENS.into_inner();
    ensure(WINDOW_LENS.contains(&window_len) && window_len % 2 == 0, "window_len", || {
        format!("expected an even number from {low} to {high}, got {window_len}")
    })?;
    let fits = hop > 0 && window_len % hop == 0 && HOPS_PER_WINDOW.contains(&(window_len / hop));
    let most = HOPS_PER_WINDOW.end();
    ensure(fits, "hop", || {
        format!("expected one to {most} hops to make the window of {window_len} exactly, got hops of {hop}")
    })
}

fn check_levels(description: &Description) -> Checked {
    if let Some(level) = description.level_dbfs {
        let (low, high) = LEVELS_DBFS.into_inner();
        ensure(LEVELS_DBFS.contains(&level), "level_dbfs", || format!("expected {low} to {high} dB, got {level}"))?;
    }
    if let Some(floor) = description.mask_floor_db {
        ensure(floor.is_finite() && floor <= 0.0, "mask_floor_db", || format!("expected 0 dB or less, got {floor}"))?;
    }
    Ok(())
}

fn check_parts(description: &Description) -> Checked {
    let parts = &description.parts;
    ensure(!parts.is_empty(), "parts", || "expected at least one, got none".to_owned())?;
    let layers: usize = parts.iter().map(|part| part.layers.len()).sum();
    ensure(layers <= MOST_LAYERS, "layers", || format!("expected at most {MOST_LAYERS} in all parts, got {layers}"))?;
    let mut names = BTreeSet::new();
    for part in parts {
        for name in std::iter::once(&part.name).chain(part.layers.iter().map(|layer| &layer.name)) {
            check_name("name", name)?;
            ensure(names.insert(name), name, || "two parts or layers have this name".to_owned())?;
        }
        check_part(part, description)?;
    }
    Ok(())
}

fn check_part(part: &Part, description: &Description) -> Checked {
    check_basis(part)?;
    ensure(!part.layers.is_empty(), &part.name, || "expected at least one layer, got none".to_owned())?;
    let features = part.features(description.window_len);
    let (mut given, mut by) = (features, "the features");
    for layer in &part.layers {
        check_layer(layer, description.bins())?;
        ensure(layer.inputs == given, &layer.name, || {
            format!("expected {given} inputs, as {by} of part `{}` give, got {}", part.name, layer.inputs)
        })?;
        (given, by) = (layer.outputs, "the outputs of the layer before it");
    }
    let ends_in_mask = part.layers.last().is_some_and(|layer| layer.kind == LayerKind::Dense(Activation::Sigmoid));
    ensure(ends_in_mask, &part.name, || "expected its last layer to be dense with a sigmoid".to_owned())?;
    ensure(given == features, &part.name, || {
        format!("expected its last layer to give {features} outputs, one for each feature, got {given}")
    })
}

fn check_basis(part: &Part) -> Checked {
    // Logarithms are of normal numbers: some devices take smaller ones for 0.
    let floor_is_normal = |floor: f32| {
        ensure(floor.is_finite() && floor >= f32::MIN_POSITIVE, &part.name, || {
            format!("expected `floor` of its features to be at least {:e}, got {floor:e}", f32::MIN_POSITIVE)
        })
    };
    match part.basis {
        Basis::Spectrum(Feature::Magnitude) => Ok(()),
        Basis::Spectrum(Feature::LogMagnitude { floor }) => floor_is_normal(floor),
        Basis::Spectrum(Feature::Log10Power { floor, offset, scale }) => {
            floor_is_normal(floor)?;
            ensure(offset.is_finite(), &part.name, || format!("expected `offset` to be finite, got {offset}"))?;
            ensure(scale.is_finite() && scale != 0.0, &part.name, || {
                format!("expected `scale` to be finite and not 0, got {scale}")
            })
        }
        Basis::Learned { size } => check_size(&part.name, "size", size, None),
    }
}

fn check_layer(layer: &Layer, bins: usize) -> Checked {
    check_size(&layer.name, "inputs", layer.inputs, Some(bins))?;
    check_size(&layer.name, "outputs", layer.outputs, Some(bins))?;
    if let LayerKind::LayerNorm { epsilon } = layer.kind {
        ensure(epsilon.is_finite() && epsilon > 0.0, &layer.name, || {
            format!("expected `epsilon` to be above 0, got {epsilon}")
        })?;
        ensure(layer.inputs == layer.outputs, &layer.name, || {
            format!("expected as many outputs as inputs, {}, got {}", layer.inputs, layer.outputs)
        })?;
    }
    Ok(())
}

/// A size of a layer or a basis; with `bins`, that of the whole spectrum is always one.
fn check_size(name: &str, field: &str, size: usize, bins: Option<usize>) -> Checked {
    let (low, high) = LAYER_SIZES.into_inner();
    ensure(LAYER_SIZES.contains(&size) || Some(size) == bins, name, || {
        format!("expected {low} to {high} {field}, got {size}")
    })
}
