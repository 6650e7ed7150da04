//! What is told about a device.

/// What kind of processor a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// The CPU, through native code.
    Cpu,
    /// A GPU.
    Gpu,
    /// A GPU's interface computed on the CPU: lavapipe, `SwiftShader`, WARP.
    SoftwareGpu,
}

/// What is known about a device.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceInfo {
    /// Its name, as the driver gives it; `cpu` for the CPU.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The interface: `vulkan`, `metal`, `dx12`, `gl`, or `native`.
    pub backend: String,
    /// The driver and its version, or what the CPU offers.
    pub driver: String,
    /// Optional features that kernels can use, by wgpu's names.
    pub features: Vec<String>,
}
