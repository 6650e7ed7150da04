//! A network that can leave the device while it is not in use, and comes back with the next call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::super::Shared;
use super::super::memory::{Held, Resident};
use super::{Bounds, GpuNetwork};
use crate::error::Result;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Advance, Network, NetworkOptions, NetworkState};

#[derive(Debug)]
pub(in crate::device::gpu) struct ResidentNetwork {
    sleepy: Arc<SleepyNetwork>,
    call_rows: usize,
}

#[derive(Debug)]
struct SleepyNetwork {
    shared: Arc<Shared>,
    /// Locked while in use.
    network: Mutex<GpuNetwork>,
    last_used: AtomicU64,
}

impl ResidentNetwork {
    pub(in crate::device::gpu) fn open(
        shared: Arc<Shared>,
        model: &Arc<Model>,
        channels: usize,
        options: NetworkOptions,
        bounds: Bounds,
    ) -> Result<Self> {
        let network = GpuNetwork::open(Arc::clone(&shared), model, channels, options, bounds)?;
        let call_rows = network.call_rows();
        let last_used = AtomicU64::new(shared.memory.turn());
        let sleepy = Arc::new(SleepyNetwork { shared, network: Mutex::new(network), last_used });
        let resident: Weak<SleepyNetwork> = Arc::downgrade(&sleepy);
        sleepy.shared.memory.add(resident);
        Ok(Self { sleepy, call_rows })
    }

    /// The network, awake.
    fn network(&self) -> Result<MutexGuard<'_, GpuNetwork>> {
        self.sleepy.last_used.store(self.sleepy.shared.memory.turn(), Ordering::Relaxed);
        let mut network = self.sleepy.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.wake()?;
        Ok(network)
    }
}

impl Resident for SleepyNetwork {
    fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// Live signals count on their network, so nothing of it leaves for others.
    fn held(&self) -> Held {
        Held::default()
    }

    fn sleep(&self) -> Result<()> {
        self.network.try_lock().map_or(Ok(()), |mut network| network.sleep())
    }

    fn wake(&self) -> Result<()> {
        // Whoever uses it has woken it. What is lost or broken is nobody's any more.
        self.network
            .try_lock()
            .map_or(Ok(()), |mut network| if network.broken || self.shared.is_lost() { Ok(()) } else { network.wake() })
    }

    fn leave_lost(&self) {
        // Not locked otherwise: a network that is asked to wake must find it so only where somebody uses it.
        if self.shared.is_lost()
            && let Ok(mut network) = self.network.try_lock()
        {
            network.give_up();
        }
    }
}

impl Network for ResidentNetwork {
    fn advance(&mut self, call: &Advance<'_>, output: &mut [f32]) -> Result<()> {
        self.network()?.advance(call, output)
    }

    fn call_rows(&self) -> usize {
        self.call_rows
    }

    fn wake(&mut self) -> Result<()> {
        self.network().map(drop)
    }

    fn save(&mut self, channels: &[u32]) -> Result<Vec<NetworkState>> {
        self.network()?.save(channels)
    }

    fn restore(&mut self, channel: u32, state: &NetworkState) -> Result<()> {
        self.network()?.restore(channel, state)
    }

    fn clear(&mut self, channels: &[u32]) -> Result<()> {
        self.network()?.clear(channels)
    }

    fn set_scale(&mut self, channel: u32, layer: usize, scale: &[f32]) -> Result<()> {
        self.network()?.set_scale(channel, layer, scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device as _;
    use crate::device::adapter::all_for_tests;
    use crate::stage::denoise::network::Precision;
    use crate::stage::denoise::tests::denoise_models::small_models;

    #[test]
    fn waking_everything_waits_for_nobody_and_leaves_what_is_broken() {
        for device in all_for_tests() {
            let model = Arc::new(small_models().swap_remove(0));
            let options = NetworkOptions { precision: Precision::F32, mask_floor: 0.0 };
            let bounds = Bounds::of(&device.shared.device, device.info.kind);
            let shared = Arc::clone(&device.shared);
            let network = ResidentNetwork::open(shared, &model, 1, options, bounds).expect("it should open");
            let mut in_use = network.network().expect("it is awake");
            device.wake().expect("what is in use is awake");
            in_use.broken = true;
            drop(in_use);
            device.wake().expect("nobody uses a broken one again");
            network.network().expect_err("whoever does is told");
        }
    }
}
