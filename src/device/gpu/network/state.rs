//! What is kept of channels, on its way to the host and back.

use wgpu::BufferUsages as Usage;

use super::memory::{READ_AT_ONCE, bytes_of};
use super::{Bank, GpuNetwork};
use crate::error::{Error, Result};
use crate::stage::denoise::network::NetworkState;
use crate::stage::denoise::program::Place;

impl GpuNetwork {
    /// The bank of a channel, and its place there.
    fn place_of(&self, channel: usize) -> Result<(&Bank, usize)> {
        let bank = self.banks.get(channel / self.bank_len).filter(|_| channel < self.channels);
        let refused = || Error::setting("the channel", channel, format!("there are {}", self.channels));
        Ok((bank.ok_or_else(refused)?, channel % self.bank_len))
    }

    pub(super) fn save_channels(&self, channels: &[u32]) -> Result<Vec<NetworkState>> {
        let len: usize = self.program.per_channel.values().sum();
        if channels.is_empty() || len == 0 {
            return Ok(vec![NetworkState::default(); channels.len()]);
        }
        let places: Vec<(&Bank, usize)> =
            channels.iter().map(|channel| self.place_of(*channel as usize)).collect::<Result<_>>()?;
        let mut states = Vec::with_capacity(channels.len());
        for places in places.chunks((READ_AT_ONCE / (len * size_of::<f32>())).max(1)) {
            let copied = self.read_back(bytes_of(len * places.len()), |encoder, readback| {
                let mut to = 0;
                for (bank, index) in places {
                    for (place, len) in &self.program.per_channel {
                        if let Some(buffer) = bank.buffers.get(place) {
                            encoder.copy_buffer_to_buffer(buffer, bytes_of(index * len), readback, to, bytes_of(*len));
                        }
                        to += bytes_of(*len);
                    }
                }
            })?;
            let floats: Vec<f32> = bytemuck::pod_collect_to_vec(&copied);
            states.extend(floats.chunks_exact(len).map(|floats| self.named(floats)));
        }
        Ok(states)
    }

    /// The bytes that `copy` puts into a buffer of that size.
    pub(super) fn read_back(
        &self,
        bytes: u64,
        copy: impl FnOnce(&mut wgpu::CommandEncoder, &wgpu::Buffer),
    ) -> Result<Vec<u8>> {
        let (readback, _reservation) = self.shared.allocate("allocating a readback buffer", |allocator| {
            allocator.buffer("denoise.state.readback", bytes, Usage::MAP_READ | Usage::COPY_DST)
        })?;
        let faults_before = self.shared.faults.count();
        let mut encoder = self.shared.encoder("denoise");
        copy(&mut encoder, &readback);
        let submission = self.shared.queue.submit([encoder.finish()]);
        readback.slice(..bytes).map_async(wgpu::MapMode::Read, |_| {});
        self.shared.wait(&submission, faults_before, "reading the state of a denoiser")?;
        let view = readback
            .get_mapped_range(..bytes)
            .map_err(|error| self.shared.error("mapping a readback buffer", error))?;
        Ok(view.to_vec())
    }

    /// A channel's floats, place after place.
    fn named(&self, mut floats: &[f32]) -> NetworkState {
        let mut state = NetworkState::default();
        for (place, len) in &self.program.per_channel {
            let (here, rest) = floats.split_at(*len);
            floats = rest;
            match place {
                Place::History => state.history = here.to_vec(),
                Place::Tails => state.tails = here.to_vec(),
                Place::Scales(_) => state.scales.push(here.to_vec()),
                _ => state.layers.push(here.to_vec()),
            }
        }
        state
    }

    pub(super) fn restore_channel(&self, channel: usize, state: &NetworkState) -> Result<()> {
        let (bank, index) = self.place_of(channel)?;
        let (mut layers, mut scales) = (state.layers.iter(), state.scales.iter());
        self.shared.create("writing the state of a denoiser", || {
            for (place, len) in &self.program.per_channel {
                let floats = match place {
                    Place::History => Some(&state.history),
                    Place::Tails => Some(&state.tails),
                    Place::Scales(_) => scales.next(),
                    _ => layers.next(),
                };
                if let (Some(floats), Some(buffer)) = (floats, bank.buffers.get(place)) {
                    self.shared.queue.write_buffer(buffer, bytes_of(index * len), bytemuck::cast_slice(floats));
                }
            }
        })
    }

    pub(super) fn clear_channels(&self, channels: &[u32]) -> Result<()> {
        let faults_before = self.shared.faults.count();
        let mut encoder = self.shared.encoder("denoise");
        for run in runs(channels, self.bank_len) {
            let (bank, index) = self.place_of(run.start)?;
            let count = run.len();
            self.place_of(run.end - 1)?;
            for (place, len) in &self.program.per_channel {
                let Some(buffer) = bank.buffers.get(place).filter(|_| *len > 0) else { continue };
                match place {
                    Place::Scales(layer) => {
                        let factors = self.factors.get(layer).map_or(&[][..], Vec::as_slice).repeat(count);
                        let factors: &[u8] = bytemuck::cast_slice(&factors);
                        let write = || self.shared.queue.write_buffer(buffer, bytes_of(index * len), factors);
                        self.shared.create("resetting a layer's factors", write)?;
                    }
                    _ => encoder.clear_buffer(buffer, bytes_of(index * len), Some(bytes_of(count * len))),
                }
            }
        }
        self.shared.queue.submit([encoder.finish()]);
        self.shared.check(faults_before, "clearing the state of a denoiser")
    }
}

/// Channels that lie side by side in one bank.
fn runs(channels: &[u32], bank_len: usize) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for channel in channels.iter().map(|channel| *channel as usize) {
        match runs.last_mut().filter(|run| run.end == channel && !channel.is_multiple_of(bank_len)) {
            Some(run) => run.end += 1,
            None => runs.push(channel..channel + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_channels_are_missing_and_where_banks_end() {
        assert_eq!(runs(&[0, 1, 2, 5, 6, 8], 6), [0..3, 5..6, 6..7, 8..9]);
        assert!(runs(&[], 6).is_empty(), "no channel, no run");
    }
}
