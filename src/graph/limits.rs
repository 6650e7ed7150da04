//! What every kernel keeps to, ours or a user's, so that it runs on any adapter: measured from its naga module.

/// Invocations in a workgroup.
pub(crate) const MOST_INVOCATIONS: u32 = 256;
/// Bytes of workgroup memory. Vulkan drivers are not made to check this, so we do.
pub(crate) const MOST_WORKGROUP_BYTES: u32 = 16 * 1024;
/// Storage buffers.
pub(crate) const MOST_STORAGE_BUFFERS: usize = 8;

/// What a module needs of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) invocations: u32,
    pub(crate) workgroup_bytes: u32,
    pub(crate) storage_buffers: usize,
}

impl Needs {
    /// Of the entry point, in a module whose overrides have been resolved.
    pub(crate) fn of(module: &naga::Module, info: &naga::valid::ModuleInfo, entry: usize) -> Self {
        let uses = info.get_entry_point(entry);
        let used = module.global_variables.iter().filter(|(handle, _)| !uses[*handle].is_empty());
        let (mut workgroup_bytes, mut storage_buffers) = (0_u32, 0);
        for (_, variable) in used {
            match variable.space {
                naga::AddressSpace::WorkGroup => {
                    let bytes = module.types[variable.ty].inner.size(module.to_ctx());
                    workgroup_bytes = workgroup_bytes.saturating_add(bytes);
                }
                naga::AddressSpace::Storage { .. } => storage_buffers += 1,
                _ => {}
            }
        }
        let sizes = module.entry_points[entry].workgroup_size;
        let invocations = sizes.into_iter().fold(1, u32::saturating_mul);
        Self { invocations, workgroup_bytes, storage_buffers }
    }

    /// Says which limit is passed, if one is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let limits = [
            ("invocations in a workgroup", self.invocations as usize, MOST_INVOCATIONS as usize),
            ("bytes of workgroup memory", self.workgroup_bytes as usize, MOST_WORKGROUP_BYTES as usize),
            ("storage buffers", self.storage_buffers, MOST_STORAGE_BUFFERS),
        ];
        match limits.iter().find(|(_, actual, most)| actual > most) {
            None => Ok(()),
            Some((what, actual, most)) => Err(format!("it has {actual} {what}; at most {most} run everywhere")),
        }
    }
}

/// Parses and validates WGSL with the capabilities that every adapter has, and fills in the override constants.
pub(crate) fn resolve(
    wgsl: &str,
    constants: &[(String, f64)],
) -> Result<(naga::Module, naga::valid::ModuleInfo), String> {
    resolve_with(wgsl, constants, naga::valid::Capabilities::empty())
}

/// Validates a module that has no text.
pub(crate) fn validate(module: &naga::Module) -> Result<(), String> {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let checked = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(module);
    checked.map(drop).map_err(|error| error.into_inner().to_string())
}

/// The same with more capabilities.
pub(crate) fn resolve_with(
    wgsl: &str,
    constants: &[(String, f64)],
    capabilities: naga::valid::Capabilities,
) -> Result<(naga::Module, naga::valid::ModuleInfo), String> {
    use naga::valid::{ValidationFlags, Validator};
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(wgsl))?;
    let constants = constants.iter().cloned().collect();
    let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, None, &constants)
        .map_err(|error| error.to_string())?;
    Ok((module.into_owned(), info.into_owned()))
}

/// What tests read out of a module, to hold it against the Rust side.
#[cfg(test)]
pub(crate) mod inspect {
    /// (name, offset) of each member of a struct, and its size.
    pub(crate) type Members = (Vec<(String, usize)>, usize);

    /// The members of a struct that holds words only.
    pub(crate) fn members(module: &naga::Module, name: &str) -> Members {
        let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name));
        let (_, ty) = found.unwrap_or_else(|| panic!("the module should have a struct `{name}`"));
        let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("`{name}` should be a struct") };
        let word = |member: &naga::StructMember| {
            let inner = &module.types[member.ty].inner;
            let words = [naga::Scalar::U32, naga::Scalar::F32].map(naga::TypeInner::Scalar);
            assert!(words.contains(inner), "`{name}` should hold words, not {inner:?}");
            (member.name.clone().unwrap_or_default(), member.offset as usize)
        };
        (members.iter().map(word).collect(), *span as usize)
    }

    /// The value of a `const` of type u32.
    pub(crate) fn constant(module: &naga::Module, name: &str) -> u32 {
        let found = module.constants.iter().find(|(_, constant)| constant.name.as_deref() == Some(name));
        let (_, constant) = found.unwrap_or_else(|| panic!("the module should have a constant `{name}`"));
        match module.global_expressions[constant.init] {
            naga::Expression::Literal(naga::Literal::U32(value)) => value,
            ref other => panic!("`{name}` should be a literal, not {other:?}"),
        }
    }
}
