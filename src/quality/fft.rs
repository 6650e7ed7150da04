//! Real FFTs in f64, for measures rather than for speed: rustfft's scalar kernels. Its vector kernels, once more for f64,
//! would be a third of what the compiler has to work through in this crate.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlannerScalar};

/// Transforms of one length, there and back, without scaling.
pub(super) struct RealFft {
    forward: Arc<dyn Fft<f64>>,
    back: Arc<dyn Fft<f64>>,
    room: Vec<Complex<f64>>,
}

impl RealFft {
    /// For any number of samples.
    pub(super) fn new(len: usize) -> Self {
        let mut planner = FftPlannerScalar::new();
        let room = vec![Complex::default(); len];
        Self { forward: planner.plan_fft_forward(len), back: planner.plan_fft_inverse(len), room }
    }

    pub(super) fn len(&self) -> usize {
        self.room.len()
    }

    /// Bins from 0 to half the rate.
    pub(super) fn bins(&self) -> usize {
        self.room.len() / 2 + 1
    }

    pub(super) fn spectrum(&mut self, samples: &[f64], spectrum: &mut [Complex<f64>]) {
        self.room.iter_mut().zip(samples).for_each(|(room, sample)| *room = Complex::new(*sample, 0.0));
        self.forward.process(&mut self.room);
        spectrum.copy_from_slice(&self.room[..spectrum.len()]);
    }

    /// The other half of the bins is what makes the samples real.
    pub(super) fn samples(&mut self, spectrum: &[Complex<f64>], samples: &mut [f64]) {
        let len = self.room.len();
        self.room[..spectrum.len()].copy_from_slice(spectrum);
        for bin in spectrum.len()..len {
            self.room[bin] = spectrum[len - bin].conj();
        }
        self.back.process(&mut self.room);
        samples.iter_mut().zip(&self.room).for_each(|(sample, room)| *sample = room.re);
    }
}
