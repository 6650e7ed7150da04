//! Compiled plans, one for each way to clean that clients ask for; the one that was not used for longest leaves.

use std::sync::{Mutex, PoisonError};

use crate::chain::Chain;
use crate::{Engine, Plan};

/// Plans that are kept.
const MOST_PLANS: usize = 32;

/// Compiled plans by what they clean, at most 32.
#[derive(Debug)]
pub(super) struct Plans {
    engine: Engine,
    /// The one that was used last is the last one.
    kept: Mutex<Vec<(String, Plan)>>,
    /// Held while one compiles: two who want the same do it once, and many who want many keep one core busy, not all.
    compiling: Mutex<()>,
}

impl Plans {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, kept: Mutex::default(), compiling: Mutex::default() }
    }

    /// The plan for a chain, compiled if it is new: that takes time.
    pub(super) fn get(&self, chain: &Chain, model: &str) -> crate::Result<Plan> {
        let key = key(chain, model);
        if let Some(plan) = self.known(&key) {
            return Ok(plan);
        }
        let _compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = self.known(&key) {
            return Ok(plan);
        }
        let plan = self.engine.compile(&chain.graph())?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MOST_PLANS {
            kept.remove(0);
        }
        kept.push((key, plan.clone()));
        Ok(plan)
    }

    fn known(&self, key: &str) -> Option<Plan> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let index = kept.iter().position(|(known, _)| known == key)?;
        let used = kept.remove(index);
        let plan = used.1.clone();
        kept.push(used);
        Some(plan)
    }
}

/// What makes two chains the same. A model is known by its name, since its weights are long.
fn key(chain: &Chain, model: &str) -> String {
    let denoise = chain.denoise.as_ref().map(|denoise| {
        let crate::Denoise { sample_rate_hz, precision, strength, level, mask_floor_db, .. } = denoise;
        format!("{model:?} {sample_rate_hz:?} {precision:?} {strength:?} {level:?} {mask_floor_db:?}")
    });
    format!("{:?} {:?} {:?} {denoise:?}", chain.shape, chain.gate, chain.filter)
}
