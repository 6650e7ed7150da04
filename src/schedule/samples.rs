//! Samples that a job brings along.

use std::ops::Deref;
use std::sync::Arc;

use crate::memory::HostBuffer;

/// Samples that a job brings, or shares with others: a `Vec<f32>`, a [`HostBuffer`], or either behind an `Arc`.
///
/// Handing over a `Vec` copies nothing, but filling a new one for each job costs more than most jobs do: where the samples
/// stay as they are, share them.
#[derive(Clone)]
pub struct Samples {
    owner: Arc<dyn Deref<Target = [f32]> + Send + Sync>,
}

impl std::fmt::Debug for Samples {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Samples").field("len", &self.owner.len()).finish_non_exhaustive()
    }
}

impl Deref for Samples {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.owner
    }
}

impl From<Vec<f32>> for Samples {
    fn from(samples: Vec<f32>) -> Self {
        Arc::new(samples).into()
    }
}

impl From<HostBuffer> for Samples {
    fn from(samples: HostBuffer) -> Self {
        Arc::new(samples).into()
    }
}

impl From<Arc<Vec<f32>>> for Samples {
    fn from(owner: Arc<Vec<f32>>) -> Self {
        Self { owner }
    }
}

impl From<Arc<HostBuffer>> for Samples {
    fn from(owner: Arc<HostBuffer>) -> Self {
        Self { owner }
    }
}

impl From<Arc<[f32]>> for Samples {
    fn from(samples: Arc<[f32]>) -> Self {
        Self { owner: Arc::new(samples) }
    }
}
