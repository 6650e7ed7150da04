//! The weights of models on one device, packed for the kernels: once for all networks of a model.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::super::Shared;
use super::super::memory::Reservation;
use crate::error::Result;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::Precision;
use crate::stage::denoise::program::Program;

/// The tables of one model at one precision, in the order of its program.
#[derive(Debug)]
pub(super) struct Tables {
    /// Kept, so that no other model can come to stand where this one is looked for.
    model: Arc<Model>,
    precision: Precision,
    pub(super) buffers: Vec<wgpu::Buffer>,
    _reservation: Reservation,
}

/// Those that some network still uses.
#[derive(Debug, Default)]
pub(in crate::device::gpu) struct TableCache {
    known: Mutex<Vec<Weak<Tables>>>,
}

impl TableCache {
    pub(super) fn get(
        &self,
        shared: &Shared,
        model: &Arc<Model>,
        precision: Precision,
        program: &Program,
    ) -> Result<Arc<Tables>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|tables| tables.strong_count() > 0);
        let is_it = |tables: &Arc<Tables>| Arc::ptr_eq(&tables.model, model) && tables.precision == precision;
        if let Some(tables) = known.iter().filter_map(Weak::upgrade).find(is_it) {
            return Ok(tables);
        }
        let (buffers, reservation) = shared.allocate("uploading a model", |allocator| {
            let upload = |table: &crate::stage::denoise::program::Table| {
                let words = table.words(model);
                allocator.filled(&table.label, bytemuck::cast_slice(&words), wgpu::BufferUsages::STORAGE)
            };
            program.tables.iter().map(upload).collect()
        })?;
        let tables = Arc::new(Tables { model: Arc::clone(model), precision, buffers, _reservation: reservation });
        known.push(Arc::downgrade(&tables));
        Ok(tables)
    }
}
