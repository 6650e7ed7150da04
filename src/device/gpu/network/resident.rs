//! A network that can leave the device while it is not in use, and comes back with the next call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::super::Shared;
use super::super::memory::{Held, Memory, Resident};
use super::{Bounds, GpuNetwork};
use crate::error::Result;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Advance, Network, NetworkOptions, NetworkState};

#[derive(Debug)]
pub(in crate::device::gpu) struct ResidentNetwork {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    memory: Arc<Memory>,
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
        let memory = Arc::clone(&shared.memory);
        let network = Mutex::new(GpuNetwork::open(shared, model, channels, options, bounds)?);
        let last_used = AtomicU64::new(memory.turn());
        let place = Arc::new(Place { memory, network, last_used });
        let resident: Weak<Place> = Arc::downgrade(&place);
        place.memory.add(resident);
        Ok(Self { place })
    }

    /// The network, awake.
    fn network(&self) -> Result<MutexGuard<'_, GpuNetwork>> {
        self.place.last_used.store(self.place.memory.turn(), Ordering::Relaxed);
        let mut network = self.place.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.wake()?;
        Ok(network)
    }
}

impl Resident for Place {
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
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        if network.shared.is_lost() { Ok(()) } else { network.wake() }
    }

    fn leave_lost(&self) {
        if let Ok(mut network) = self.network.try_lock()
            && network.shared.is_lost()
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
        self.place.network.lock().unwrap_or_else(PoisonError::into_inner).call_rows()
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
