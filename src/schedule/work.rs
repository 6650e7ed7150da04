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

/// An app's own code over many items, some of them at a time.
pub(crate) struct Microbatches<F, I, T> {
    pub(crate) items: std::vec::IntoIter<I>,
    /// Items in a batch.
    pub(crate) size: usize,
    pub(crate) run: F,
    /// Of each batch so far.
    pub(crate) results: Vec<T>,
    pub(crate) cell: Arc<AnswerCell<Vec<T>>>,
}

impl<F, I, T> Work for Microbatches<F, I, T>
where
    F: FnMut(&Lane, Vec<I>) -> T + Send + 'static,
    I: Send + 'static,
    T: Send + 'static,
{
    fn advance(mut self: Box<Self>, lane: &Lane, _budget: Option<Duration>) -> Progress {
        let batch: Vec<I> = self.items.by_ref().take(self.size).collect();
        if !batch.is_empty() {
            self.results.push((self.run)(lane, batch));
        }
        if self.items.len() > 0 {
            return Progress::Again(self);
        }
        let Self { results, cell, .. } = *self;
        Progress::Done(Box::new(move || cell.answer(Ok(results))))
    }
}
