//! What a lane does: all kinds of work look alike to it.

use std::sync::Arc;
use std::time::Duration;

use super::Progress;
use super::lane::Lane;
use super::ticket::AnswerCell;
use crate::error::Result;

/// Something for a lane to do, at once or in pieces.
pub(crate) trait Work: Send {
    /// Does a part of it that takes about as long as `budget`; all that is left where there is none.
    fn advance(self: Box<Self>, lane: &Lane, budget: Option<Duration>) -> Progress;
}

/// An app's own code, which is done at once.
pub(crate) struct OnLane<F, T> {
    pub(crate) run: F,
    pub(crate) cell: Arc<AnswerCell<T>>,
}

impl<F: FnOnce(&Lane) -> Result<T> + Send, T: Send + 'static> Work for OnLane<F, T> {
    fn advance(self: Box<Self>, lane: &Lane, _budget: Option<Duration>) -> Progress {
        let Self { run, cell } = *self;
        match run(lane) {
            Ok(value) => Progress::Done(Box::new(move || cell.answer(Ok(value)))),
            Err(error) => Progress::Failed(error),
        }
    }
}
