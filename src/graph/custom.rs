//! Kernels that users bring: WGSL with a closure as its CPU twin, validated before any driver sees it.

use std::fmt;
use std::sync::Arc;

use super::limits::{self, Needs};
use super::{loops, weight};
use crate::error::{Error, Result};
use crate::frame::FrameShape;
use crate::recording::{CheckedModule, Kernel, Twin, TwinCall, TwinWorker, word};
use crate::simd::SimdLevel;

/// `flat_workgroup`, for custom kernels. It goes behind their source, so that lines in error messages are theirs.
const SHARED_WGSL: &str = include_str!("../../shaders/dispatch.wgsl");

type TwinFn = dyn Fn(&[&[f32]], &mut [f32]) + Send + Sync;

/// A kernel of your own, with its CPU twin.
///
/// The WGSL module has one compute entry point, run with one workgroup per live frame, and these bindings in group 0:
///
/// | binding | address space | what |
/// | --- | --- | --- |
/// | 0 | `uniform` | a struct: `count: u32` (live frames), `frame_len: u32` (floats in a result frame), then each [parameter](Self::param) |
/// | 1 to n | `storage, read` | the frames of each source, side by side, as an array |
/// | n + 1 | `storage, read_write` | the result's frames, side by side, as an array |
///
/// `flat_workgroup(workgroup_id, num_workgroups)` is there to call: it is the index of the frame. Return when it is
/// `count` or more. The module must keep to what every adapter has: 256 invocations, 16 KiB of workgroup memory,
/// 8 storage buffers (7 where there is a loop), no extensions; to 64 KiB of text, 64 KiB of variables in each invocation, and
/// 1,000,000 steps with called functions written out. All loops of one invocation may turn 60,000 times together, the look at
/// the condition that ends one included; where some of them have barriers and others do not, those with barriers 20,000
/// times and the others 40,000. Beyond that they are ended, and the run fails with [`Error::CustomKernel`], so that no kernel
/// holds a GPU for ever. The twin has no such budget: it is the app's own code.
///
/// The twin is called for each live frame with the frame of each source, and writes all of the result frame. It must
/// compute the same function; the parameters that it needs it captures.
///
/// ```
/// use auricle::CustomKernel;
/// let double = CustomKernel::new(
///     "struct Params { count: u32, frame_len: u32, gain: f32 }
///      @group(0) @binding(0) var<uniform> params: Params;
///      @group(0) @binding(1) var<storage, read> source: array<f32>;
///      @group(0) @binding(2) var<storage, read_write> result: array<f32>;
///      @compute @workgroup_size(64)
///      fn amplify(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
///                 @builtin(local_invocation_index) lane: u32) {
///          let frame = flat_workgroup(id, count);
///          if frame >= params.count { return; }
///          for (var i = lane; i < params.frame_len; i += 64u) {
///              let at = frame * params.frame_len + i;
///              result[at] = params.gain * source[at];
///          }
///      }",
///     |sources, result| result.iter_mut().zip(sources[0]).for_each(|(y, x)| *y = 2.0 * x),
/// )
/// .param(2.0_f32);
/// # let _ = double;
/// ```
#[derive(Clone)]
pub struct CustomKernel {
    wgsl: String,
    twin: Arc<TwinFn>,
    params: Vec<u32>,
    shape: Option<FrameShape>,
}

impl CustomKernel {
    /// A kernel and its twin; see the type for what both must do.
    pub fn new(wgsl: &str, twin: impl Fn(&[&[f32]], &mut [f32]) + Send + Sync + 'static) -> Self {
        Self { wgsl: wgsl.to_owned(), twin: Arc::new(twin), params: Vec::new(), shape: None }
    }

    /// Whether it is a clone of the same kernel, with the same parameters.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_twin = Arc::ptr_eq(&self.twin, &other.twin);
        same_twin && self.wgsl == other.wgsl && self.params == other.params && self.shape == other.shape
    }

    /// Appends a parameter (`f32`, `u32` or `i32`) to the uniform struct, after `frame_len`. A struct that is larger than its
    /// parameters is refused; where WGSL leaves gaps between its members, or within the last one, those count as parameters.
    #[must_use]
    pub fn param(mut self, value: impl Into<ParamWord>) -> Self {
        self.params.push(value.into().0);
        self
    }

    /// The shape of the result's frames; that of the first source unless set.
    #[must_use]
    pub fn result_shape(mut self, shape: FrameShape) -> Self {
        self.shape = Some(shape);
        self
    }

    pub(crate) fn compile(&self, node: &str, sources: &[FrameShape]) -> Result<(Kernel, FrameShape)> {
        let shape = self.shape.unwrap_or(sources[0]);
        shape.check_size().map_err(|problem| Error::graph(node, format!("of the result: {problem}")))?;
        let wgsl = format!("{}\n{SHARED_WGSL}", self.wgsl);
        let (entry, checked) = weight::with_room(&wgsl, || validate(&wgsl, sources.len(), self.params.len()))
            .map_err(|problem| Error::CustomKernel { node: node.to_owned(), problem })?;
        let kernel = Kernel {
            name: format!("{node}.{entry}"),
            wgsl: wgsl.into(),
            entry,
            constants: Vec::new(),
            constants_in_software: Vec::new(),
            params: std::iter::once(word(shape.floats())).chain(self.params.iter().copied()).collect(),
            reads_units: false,
            tables: Vec::new(),
            checked: Some(checked),
            items_per_frame: 1,
            items_per_workgroup: 1,
            twin: Arc::new(ClosureTwin {
                twin: Arc::clone(&self.twin),
                sources: sources.iter().map(|source| source.floats()).collect(),
                result: shape.floats(),
            }),
        };
        Ok((kernel, shape))
    }
}

impl fmt::Debug for CustomKernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CustomKernel").field("params", &self.params).field("shape", &self.shape).finish()
    }
}

/// A parameter of a custom kernel: anything of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamWord(u32);

impl From<f32> for ParamWord {
    fn from(value: f32) -> Self {
        Self(value.to_bits())
    }
}

impl From<u32> for ParamWord {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl From<i32> for ParamWord {
    fn from(value: i32) -> Self {
        Self(value.cast_unsigned())
    }
}

/// Checks a user's module; returns the name of its entry point, and the module with a budget for its loops.
fn validate(wgsl: &str, sources: usize, params: usize) -> Result<(String, CheckedModule), String> {
    let (mut module, info) = limits::resolve(wgsl, &[])?;
    weight::check(&module)?;
    let [entry] = module.entry_points.as_slice() else {
        return Err(format!("it has {} entry points; it must have one", module.entry_points.len()));
    };
    if entry.stage != naga::ShaderStage::Compute {
        return Err(format!("its entry point `{}` is no compute shader", entry.name));
    }
    let entry = entry.name.clone();
    let has_loop_budget = loops::has_loops(&module);
    let mut needs = Needs::of(&module, &info, 0);
    needs.storage_buffers += usize::from(has_loop_budget);
    needs.check().map_err(|problem| match has_loop_budget {
        true => format!("{problem} (the budget of its loops is one of the storage buffers)"),
        false => problem,
    })?;
    check_bindings(&module, sources)?;
    check_params(&module, params)?;
    if has_loop_budget {
        loops::bound(&mut module, word(sources + 2));
        limits::validate(&module).map_err(|problem| format!("with a budget for its loops: {problem}"))?;
    }
    Ok((entry, CheckedModule { module: Arc::new(module), has_loop_budget }))
}

fn check_bindings(module: &naga::Module, sources: usize) -> Result<(), String> {
    let read_only = naga::AddressSpace::Storage { access: naga::StorageAccess::LOAD };
    let read_write = naga::AddressSpace::Storage { access: naga::StorageAccess::LOAD | naga::StorageAccess::STORE };
    let mut expected = vec![("params", "var<uniform>", naga::AddressSpace::Uniform)];
    expected.extend((0..sources).map(|_| ("a source", "var<storage, read>", read_only)));
    expected.push(("the result", "var<storage, read_write>", read_write));
    let bound = |index: usize| {
        let is_here = |binding: &naga::ResourceBinding| binding.group == 0 && binding.binding as usize == index;
        module.global_variables.iter().find(|(_, variable)| variable.binding.as_ref().is_some_and(is_here))
    };
    for (index, (what, declaration, space)) in expected.iter().enumerate() {
        let found = bound(index).map(|(_, variable)| variable.space);
        if found != Some(*space) {
            return Err(format!("@group(0) @binding({index}) must be {what}, declared as `{declaration}`"));
        }
    }
    let bindings = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count();
    if bindings != expected.len() {
        return Err(format!("it has {bindings} bindings; with {sources} sources it must have {}", expected.len()));
    }
    Ok(())
}

/// Refuses a uniform that is larger than what it is filled with: a parameter that was not given would be 0 on a GPU.
fn check_params(module: &naga::Module, params: usize) -> Result<(), String> {
    let is_uniform = |variable: &naga::GlobalVariable| variable.space == naga::AddressSpace::Uniform;
    let Some((_, variable)) = module.global_variables.iter().find(|(_, variable)| is_uniform(variable)) else {
        return Ok(());
    };
    let naga::TypeInner::Struct { members, .. } = &module.types[variable.ty].inner else {
        return Err("@group(0) @binding(0) must be a struct that begins with `count` and `frame_len`".to_owned());
    };
    // Up to the last member's end: what comes after it only fills up a vector's alignment.
    let end_of = |member: &naga::StructMember| member.offset + module.types[member.ty].inner.size(module.to_ctx());
    let (bytes, given) = (members.last().map_or(0, end_of) as usize, 4 * (2 + params));
    if bytes > given {
        return Err(format!(
            "its `params` struct has {bytes} bytes; count, frame_len and {params} parameters are {given}"
        ));
    }
    Ok(())
}

/// A twin that is called for each frame.
pub(super) struct ClosureTwin {
    pub(super) twin: Arc<TwinFn>,
    /// Floats in a frame of each source, and of the result.
    pub(super) sources: Vec<usize>,
    pub(super) result: usize,
}

impl fmt::Debug for ClosureTwin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClosureTwin")
    }
}

impl Twin for ClosureTwin {
    fn worker(&self, _level: SimdLevel) -> Box<dyn TwinWorker> {
        Box::new(ClosureWorker { twin: Arc::clone(&self.twin), sources: self.sources.clone(), result: self.result })
    }
}

struct ClosureWorker {
    twin: Arc<TwinFn>,
    sources: Vec<usize>,
    result: usize,
}

impl TwinWorker for ClosureWorker {
    fn run(&mut self, call: &mut TwinCall<'_, '_>) -> Result<()> {
        for (index, result) in call.results[0].chunks_exact_mut(self.result).enumerate() {
            let sources = call.operands.iter().zip(&self.sources).map(|(operand, &len)| operand.frame(index, len));
            let sources: Vec<&[f32]> = sources.collect();
            (self.twin)(&sources, result);
        }
        Ok(())
    }
}
