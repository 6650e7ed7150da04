//! A denoiser on the machine's own cores: its channels in groups, each group one job of the pool.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::host::HostPool;
use crate::error::{Error, Result};
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Advance, HopStep, Network, NetworkOptions, NetworkState};
use crate::stage::denoise::twin::{BLOCK_ROWS, Group, PackedModel, TwinRoom};

#[derive(Debug)]
struct CpuNetwork {
    host: HostPool,
    model: Arc<PackedModel>,
    /// Of each channel.
    states: Vec<Vec<f32>>,
    /// Of each worker.
    rooms: Vec<Mutex<TwinRoom>>,
}

impl CpuNetwork {
    fn new(host: HostPool, model: Arc<PackedModel>, channels: usize) -> Self {
        let states = vec![model.initial_state(); channels];
        let rooms = (0..host.threads).map(|_| Mutex::default()).collect();
        Self { host, model, states, rooms }
    }

    /// Channels in a group: as many as fill a block, unless that would leave workers without any.
    fn group_len(&self, channels: usize) -> usize {
        let groups = channels.div_ceil(BLOCK_ROWS).max(self.host.threads.min(channels)).max(1);
        let fair = channels.div_ceil(groups);
        if fair > 8 { fair.next_multiple_of(8) } else { fair }
    }
}

/// One group's part of a call.
struct Job<'a> {
    states: Vec<&'a mut [f32]>,
    samples: &'a [f32],
    steps: &'a [HopStep],
    output: &'a mut [f32],
}

impl Network for CpuNetwork {
    fn advance(&mut self, call: &Advance<'_>, output: &mut [f32]) -> Result<()> {
        if call.channels.is_empty() || call.hops == 0 {
            return Ok(());
        }
        let group_len = self.group_len(call.channels.len());
        let row = call.hops * self.model.hop();
        let mut wanted = call.channels.iter().peekable();
        let mut states =
            self.states.iter_mut().zip(0_u32..).filter_map(|(state, channel)| {
                wanted.next_if(|wanted| **wanted == channel).map(|_| state.as_mut_slice())
            });
        let pieces = call.samples.chunks(group_len * row).zip(call.steps.chunks(group_len * call.hops));
        let jobs: Vec<Job<'_>> = pieces
            .zip(output.chunks_mut(group_len * row))
            .map(|((samples, steps), output)| {
                let states = states.by_ref().take(group_len).collect();
                Job { states, samples, steps, output }
            })
            .collect();
        let (model, rooms, hops) = (&*self.model, &self.rooms, call.hops);
        self.host.for_each(jobs, |worker, mut job| {
            let mut room = rooms[worker].lock().unwrap_or_else(PoisonError::into_inner);
            let Job { samples, steps, ref mut output, ref mut states } = job;
            model.advance(&mut Group { hops, states, samples, steps, output }, &mut room);
            Ok(())
        })
    }

    fn call_rows(&self) -> usize {
        4 * BLOCK_ROWS * self.host.threads
    }

    fn save(&mut self, channels: &[u32]) -> Result<Vec<NetworkState>> {
        Ok(channels.iter().map(|channel| self.model.save(&self.states[*channel as usize])).collect())
    }

    fn restore(&mut self, channel: u32, state: &NetworkState) -> Result<()> {
        self.model.restore(&mut self.states[channel as usize], state);
        Ok(())
    }

    fn clear(&mut self, channels: &[u32]) -> Result<()> {
        for channel in channels {
            self.states[*channel as usize] = self.model.initial_state();
        }
        Ok(())
    }

    fn set_scale(&mut self, channel: u32, layer: usize, scale: &[f32]) -> Result<()> {
        let places = self.model.scale_at(layer).zip(self.states.get_mut(channel as usize));
        let Some((at, state)) = places else {
            let expected = "it must be one of a scaled layer of the model, and of a channel that there is";
            return Err(Error::setting("the scale", format!("for channel {channel}, layer {layer}"), expected));
        };
        state[at..at + scale.len()].copy_from_slice(scale);
        Ok(())
    }
}

/// Models whose weights are packed already, as long as somebody uses them.
#[derive(Debug, Default)]
pub(super) struct PackedModels {
    packed: Mutex<Vec<Packed>>,
}

#[derive(Debug)]
struct Packed {
    model: Weak<Model>,
    options: NetworkOptions,
    packed: Weak<PackedModel>,
}

impl PackedModels {
    /// Opens a model on the pool.
    pub(super) fn open(
        &self,
        host: &HostPool,
        model: &Arc<Model>,
        channels: usize,
        options: &NetworkOptions,
    ) -> Box<dyn Network> {
        Box::new(CpuNetwork::new(host.clone(), self.packed(host, model, options), channels))
    }

    fn packed(&self, host: &HostPool, model: &Arc<Model>, options: &NetworkOptions) -> Arc<PackedModel> {
        let mut known = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.packed.strong_count() > 0);
        let same = |known: &&Packed| known.options == *options && known.model.as_ptr() == Arc::as_ptr(model);
        if let Some(packed) = known.iter().find(same).and_then(|known| known.packed.upgrade()) {
            return packed;
        }
        let packed = Arc::new(PackedModel::new(model, host.level, options));
        let entry = Packed { model: Arc::downgrade(model), options: *options, packed: Arc::downgrade(&packed) };
        known.push(entry);
        packed
    }
}
