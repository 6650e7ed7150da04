//! One processor as its users share it: each level of service has a command queue of its own, so that urgent work need not
//! stand behind other work in the driver's.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Device, DeviceInfo};
use crate::error::Result;
use crate::qos::{PerQos, Qos};

/// A processor, with its command queues.
#[derive(Debug)]
pub(crate) struct Processor {
    /// The engine's own, which is also that of [`Qos::Default`].
    main: Arc<dyn Device>,
    /// Those of the others, as they are asked for.
    others: PerQos<Mutex<Option<Arc<dyn Device>>>>,
}

impl Processor {
    pub(crate) fn new(main: Arc<dyn Device>) -> Self {
        Self { main, others: PerQos::default() }
    }

    pub(crate) fn info(&self) -> &DeviceInfo {
        self.main.info()
    }

    pub(crate) fn main(&self) -> Arc<dyn Device> {
        Arc::clone(&self.main)
    }

    /// The device whose command queue serves a level.
    ///
    /// # Errors
    /// What the driver says when it has no more.
    pub(crate) fn device(&self, qos: Qos) -> Result<Arc<dyn Device>> {
        if qos == Qos::Default {
            return Ok(self.main());
        }
        let mut other = self.others[qos].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = &*other {
            return Ok(Arc::clone(device));
        }
        let device = self.main.another()?.unwrap_or_else(|| self.main());
        *other = Some(Arc::clone(&device));
        Ok(device)
    }
}
