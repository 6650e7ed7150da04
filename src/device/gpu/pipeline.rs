//! Pipelines: built once per device, whichever plans use them, as long as they are among those that were used last.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::Shared;
use super::cache::{self, PipelineCacheDir};
use crate::error::Result;
use crate::recording::CheckedModule;

/// Pipelines that are kept: more than the plans of an app use, and an end for one that goes on making kernels.
const MOST_BUILT: usize = 256;

/// What a binding of a kernel is; its position is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Binding {
    Uniform,
    Read,
    ReadWrite,
}

/// Everything that a pipeline depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    wgsl: Arc<str>,
    entry: String,
    /// Values as bits.
    constants: Vec<(String, u64)>,
    bindings: Vec<Binding>,
}

#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

#[derive(Debug)]
pub(super) struct Pipelines {
    built: Mutex<Built<Pipeline>>,
    cache: Option<DiskCache>,
}

/// What was built last, with the turn of its last use. Whoever holds one keeps it, also when it has left.
#[derive(Debug)]
struct Built<T> {
    known: BTreeMap<Key, (u64, T)>,
    /// Counts uses.
    turn: u64,
}

impl<T: Clone> Built<T> {
    fn new() -> Self {
        Self { known: BTreeMap::new(), turn: 0 }
    }

    fn get(&mut self, key: &Key) -> Option<T> {
        self.turn += 1;
        let (last_used, built) = self.known.get_mut(key)?;
        *last_used = self.turn;
        Some(built.clone())
    }

    /// Adds one, in the place of the one that was used least recently where there are too many.
    fn add(&mut self, key: Key, built: T) {
        if self.known.len() >= MOST_BUILT {
            let oldest = self.known.iter().min_by_key(|(_, (last_used, _))| *last_used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.known.remove(&oldest);
            }
        }
        self.turn += 1;
        self.known.insert(key, (self.turn, built));
    }
}

#[derive(Debug)]
struct DiskCache {
    file: PathBuf,
    cache: wgpu::PipelineCache,
    loaded_bytes: usize,
}

/// What a plan asks for.
pub(super) struct PipelineRequest<'a> {
    pub(super) label: &'a str,
    pub(super) wgsl: &'a Arc<str>,
    pub(super) entry: &'a str,
    pub(super) constants: &'a [(String, f64)],
    pub(super) bindings: Vec<Binding>,
    /// What to compile in the place of the text.
    pub(super) checked: Option<&'a CheckedModule>,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, adapter: &wgpu::Adapter, folder: &PipelineCacheDir) -> Self {
        let file = device
            .features()
            .contains(wgpu::Features::PIPELINE_CACHE)
            .then(|| folder.file(&adapter.get_info()))
            .flatten();
        let cache = file.map(|file| {
            let data = cache::load(&file);
            let descriptor = wgpu::PipelineCacheDescriptor {
                label: Some("auricle.pipelines"),
                data: data.as_deref(),
                fallback: true,
            };
            #[expect(unsafe_code, reason = "wgpu cannot check the driver's bytes")]
            // SAFETY: the bytes came from `get_data` of such a cache, in a file whose name holds the adapter and its
            // driver and whose checksum is right; wgpu compares the driver's own header as well.
            let cache = unsafe { device.create_pipeline_cache(&descriptor) };
            DiskCache { file, cache, loaded_bytes: data.map_or(0, |data| data.len()) }
        });
        Self { built: Mutex::new(Built::new()), cache }
    }

    pub(super) fn disk_cache_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.loaded_bytes)
    }

    /// Writes what the driver has built by now to disk.
    pub(super) fn store(&self) {
        if let Some(disk) = &self.cache
            && let Some(data) = disk.cache.get_data()
        {
            cache::store(&disk.file, &data);
        }
    }

    /// The pipeline, and whether it had to be built.
    pub(super) fn get(&self, shared: &Shared, request: &PipelineRequest<'_>) -> Result<(Pipeline, bool)> {
        let constants = request.constants.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect();
        let key = Key {
            wgsl: Arc::clone(request.wgsl),
            entry: request.entry.to_owned(),
            constants,
            bindings: request.bindings.clone(),
        };
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = built.get(&key) {
            return Ok((pipeline, false));
        }
        let pipeline = shared.create("building a pipeline", || self.build(&shared.device, request))?;
        built.add(key, pipeline.clone());
        Ok((pipeline, true))
    }

    fn build(&self, device: &wgpu::Device, request: &PipelineRequest<'_>) -> Pipeline {
        let label = Some(request.label);
        let source = match request.checked {
            Some(checked) => wgpu::ShaderSource::Naga(Cow::Owned(naga::Module::clone(&checked.module))),
            None => wgpu::ShaderSource::Wgsl(request.wgsl.as_ref().into()),
        };
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
        let entries: Vec<_> =
            (0..).zip(&request.bindings).map(|(index, binding)| layout_entry(index, *binding)).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        let constants: Vec<_> = request.constants.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(request.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Our kernels write workgroup memory before they read it.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.cache.as_ref().map(|disk| &disk.cache),
        });
        Pipeline { pipeline, layout }
    }
}

fn layout_entry(binding: u32, kind: Binding) -> wgpu::BindGroupLayoutEntry {
    let ty = match kind {
        Binding::Uniform => wgpu::BufferBindingType::Uniform,
        Binding::Read => wgpu::BufferBindingType::Storage { read_only: true },
        Binding::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}

/// Binds buffers in order: the first is binding 0.
pub(super) fn bind<'a>(
    device: &wgpu::Device,
    label: &str,
    layout: &wgpu::BindGroupLayout,
    buffers: impl Iterator<Item = &'a wgpu::Buffer>,
) -> wgpu::BindGroup {
    let entries: Vec<_> = (0..)
        .zip(buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        let constants = vec![("NUMBER".to_owned(), number as u64)];
        Key { wgsl: "".into(), entry: "kernel".to_owned(), constants, bindings: vec![Binding::Uniform] }
    }

    #[test]
    fn an_app_that_goes_on_making_kernels_keeps_what_it_uses() {
        let mut built = Built::new();
        for number in 0..10 * MOST_BUILT {
            assert_eq!(built.get(&key(number)), None, "{number}: it is new");
            built.add(key(number), number);
            assert_eq!(built.get(&key(0)), Some(0), "{number}: what is used all the time stays");
            assert!(built.known.len() <= MOST_BUILT, "{number}: {} are kept", built.known.len());
        }
        let last = 10 * MOST_BUILT - 1;
        assert_eq!((built.get(&key(last)), built.get(&key(1))), (Some(last), None), "the oldest left");
    }
}
