//! Faults on purpose: a device around another one that fails when it is told to, so that what happens then can be tested.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{CompileReport, Device, Keeper, PlanOptions, PreparedPlan};
use crate::error::{Error, Result};
use crate::qos::Qos;
use crate::recording::Recording;
use crate::recording::batch::Batch;
use crate::recording::results::RunOutput;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Advance, Network, NetworkOptions, NetworkState};
use crate::telemetry::{DeviceInfo, MemorySnapshot};

/// What a device does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is lost: this run fails, and whatever is asked of this device afterwards.
    Lost,
    /// The driver reports an error for this run.
    Failed,
    /// It does not answer for so long, and counts as lost then.
    Hung(Duration),
}

/// Faults that the devices of an engine make, for tests of what an app does then. Empty unless set: nothing fails.
///
/// Runs are counted through all devices of the engine from 0: each piece of a job is one, and with a denoiser each call of
/// its network is one more.
///
/// ```
/// use auricle::{Engine, EngineOptions, Fault, FaultPlan, FrameShape, Graph, HealthState, PhiResolvent};
///
/// let options = EngineOptions { faults: FaultPlan::new().at(1, Fault::Lost), ..EngineOptions::default() };
/// let engine = Engine::open(&options)?;
/// let graph = Graph::new()
///     .input("samples", FrameShape::real(64))
///     .filter("filter", "samples", PhiResolvent::default())
///     .output("clean", "filter");
/// let plan = engine.compile(&graph)?;
/// let before = plan.run(&[&[0.5; 64]], 1)?;
/// // The device is lost; the run is done on another one.
/// let after = plan.run(&[&[0.5; 64]], 1)?;
/// assert_eq!(before.dense("clean"), after.dense("clean"));
/// assert_eq!(engine.snapshot()?.health.state, HealthState::Degraded);
/// # Ok::<(), auricle::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    faults: BTreeMap<u64, Fault>,
    lost_in_compiling: Option<u64>,
    refusals: u32,
    has_no_fallback: bool,
}

impl FaultPlan {
    /// No fault.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more fault, in this run.
    #[must_use]
    pub fn at(mut self, run: u64, fault: Fault) -> Self {
        self.faults.insert(run, fault);
        self
    }

    /// The device is lost before it compiles; such compilations are counted from 0: one for each command queue, two where
    /// something stands behind a denoiser.
    #[must_use]
    pub fn at_compiling(mut self, compilation: u64) -> Self {
        self.lost_in_compiling = Some(compilation);
        self
    }

    /// The driver refuses to open so many devices in place of lost ones.
    #[must_use]
    pub fn refuse_to_open(mut self, devices: u32) -> Self {
        self.refusals = devices;
        self
    }

    /// Not even the CPU does the work of devices that failed.
    #[must_use]
    pub fn without_fallback(mut self) -> Self {
        self.has_no_fallback = true;
        self
    }

    /// The device, with these faults; as it is where there are none.
    pub(crate) fn around(&self, device: Arc<dyn Device>) -> Arc<dyn Device> {
        if *self == Self::default() {
            return device;
        }
        let faults = Mutex::new(self.faults.clone());
        let refusals = AtomicU32::new(self.refusals);
        let (runs, compiled, lost_in_compiling) = (AtomicU64::new(0), AtomicU64::new(0), self.lost_in_compiling);
        let has_no_fallback = self.has_no_fallback;
        let state = State { runs, faults, compiled, lost_in_compiling, refusals, has_no_fallback };
        Arc::new(FaultyDevice { device, state: Arc::new(state), is_lost: Arc::default() })
    }
}

#[derive(Debug)]
struct State {
    runs: AtomicU64,
    faults: Mutex<BTreeMap<u64, Fault>>,
    compiled: AtomicU64,
    lost_in_compiling: Option<u64>,
    refusals: AtomicU32,
    has_no_fallback: bool,
}

#[derive(Clone, Debug)]
struct FaultyDevice {
    device: Arc<dyn Device>,
    state: Arc<State>,
    is_lost: Arc<AtomicBool>,
}

impl FaultyDevice {
    fn lost(&self, reason: &str) -> Error {
        Error::DeviceLost { device: self.device.info().name.clone(), reason: reason.to_owned() }
    }

    fn check(&self) -> Result<()> {
        if self.is_lost.load(Ordering::Acquire) { Err(self.lost("a fault on purpose, before")) } else { Ok(()) }
    }

    /// One more run.
    fn run(&self) -> Result<()> {
        self.check()?;
        let run = self.state.runs.fetch_add(1, Ordering::Relaxed);
        let fault = self.state.faults.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        match fault {
            None => Ok(()),
            Some(Fault::Failed) => Err(Error::Device {
                device: self.device.info().name.clone(),
                action: "running a plan",
                reason: "a fault on purpose".to_owned(),
            }),
            Some(Fault::Lost) => {
                self.is_lost.store(true, Ordering::Release);
                Err(self.lost("a fault on purpose"))
            }
            Some(Fault::Hung(time)) => {
                std::thread::sleep(time);
                self.is_lost.store(true, Ordering::Release);
                Err(self.lost("no answer, on purpose"))
            }
        }
    }
}

impl Device for FaultyDevice {
    fn info(&self) -> &DeviceInfo {
        self.device.info()
    }

    fn another(&self, qos: Qos) -> Result<Option<Arc<dyn Device>>> {
        let refuse = |left: u32| left.checked_sub(1);
        let is_replacement = self.is_lost.load(Ordering::Acquire);
        if is_replacement && self.state.refusals.try_update(Ordering::Relaxed, Ordering::Relaxed, refuse).is_ok() {
            return Err(Error::Device {
                device: self.device.info().name.clone(),
                action: "opening it",
                reason: "refused on purpose".to_owned(),
            });
        }
        let device = self.device.another(qos)?.unwrap_or_else(|| Arc::clone(&self.device));
        Ok(Some(Arc::new(Self { device, state: Arc::clone(&self.state), is_lost: Arc::default() })))
    }

    fn has_priority(&self) -> bool {
        self.device.has_priority()
    }

    fn fallback(&self) -> Option<Arc<dyn Device>> {
        if self.state.has_no_fallback {
            return None;
        }
        Some(self.device.fallback().unwrap_or_else(|| Arc::clone(&self.device)))
    }

    fn has_fallback(&self) -> bool {
        !self.state.has_no_fallback
    }

    fn memory(&self) -> Option<MemorySnapshot> {
        self.device.memory()
    }

    fn sleep(&self) -> Result<u64> {
        self.check()?;
        self.device.sleep()
    }

    fn wake(&self) -> Result<()> {
        self.check()?;
        self.device.wake()
    }

    fn handles(&self) -> Option<(&wgpu::Device, &wgpu::Queue)> {
        self.device.handles()
    }

    fn prepare(&self, recording: Arc<Recording>, options: &PlanOptions) -> Result<Box<dyn PreparedPlan>> {
        if self.state.lost_in_compiling == Some(self.state.compiled.fetch_add(1, Ordering::Relaxed)) {
            self.is_lost.store(true, Ordering::Release);
        }
        self.check()?;
        Ok(Box::new(FaultyPlan { plan: self.device.prepare(recording, options)?, device: self.clone() }))
    }

    fn open_network(&self, model: &Arc<Model>, channels: usize, options: &NetworkOptions) -> Result<Box<dyn Network>> {
        self.check()?;
        let network = self.device.open_network(model, channels, options)?;
        Ok(Box::new(FaultyNetwork { network, device: self.clone() }))
    }
}

#[derive(Debug)]
struct FaultyPlan {
    plan: Box<dyn PreparedPlan>,
    device: FaultyDevice,
}

impl PreparedPlan for FaultyPlan {
    fn run(&mut self, batch: &Batch<'_>, output: &mut RunOutput) -> Result<()> {
        self.device.run()?;
        self.plan.run(batch, output)
    }

    fn report(&self) -> &CompileReport {
        self.plan.report()
    }

    fn keep_for(&mut self, keeper: &Keeper) {
        self.plan.keep_for(keeper);
    }

    fn wake(&mut self) -> Result<()> {
        self.plan.wake()
    }
}

#[derive(Debug)]
struct FaultyNetwork {
    network: Box<dyn Network>,
    device: FaultyDevice,
}

impl Network for FaultyNetwork {
    fn advance(&mut self, call: &Advance<'_>, output: &mut [f32]) -> Result<()> {
        self.device.run()?;
        self.network.advance(call, output)
    }

    fn call_rows(&self) -> usize {
        self.network.call_rows()
    }

    fn wake(&mut self) -> Result<()> {
        self.network.wake()
    }

    fn save(&mut self, channels: &[u32]) -> Result<Vec<NetworkState>> {
        self.device.check()?;
        self.network.save(channels)
    }

    fn restore(&mut self, channel: u32, state: &NetworkState) -> Result<()> {
        self.device.check()?;
        self.network.restore(channel, state)
    }

    fn clear(&mut self, channels: &[u32]) -> Result<()> {
        self.device.check()?;
        self.network.clear(channels)
    }

    fn set_scale(&mut self, channel: u32, layer: usize, scale: &[f32]) -> Result<()> {
        self.device.check()?;
        self.network.set_scale(channel, layer, scale)
    }
}
