//! What a submission is answered through: exactly one answer, however it is waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::Schedule;
use super::dispatch::JobId;
use crate::error::{Error, Result};

/// The place where one answer is put and taken from.
#[derive(Debug)]
pub(crate) struct AnswerCell<T> {
    slot: Mutex<Slot<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Slot<T> {
    answer: Option<Result<T>>,
    /// Stays true when the answer has been taken.
    is_answered: bool,
    waker: Option<Waker>,
    /// Threads that wait.
    waiting: usize,
    /// The ticket is gone: nobody will take the answer.
    is_abandoned: bool,
}

/// What has to be done when an answer is there.
#[must_use]
pub(crate) struct Answered {
    pub(crate) waker: Option<Waker>,
    /// Whether a ticket holds the answer; else it goes with the job.
    pub(crate) is_kept: bool,
}

/// Whatever can be told that there will be no result.
pub(crate) trait Answer: Send + Sync {
    fn fail(&self, error: Error);
}

impl<T> AnswerCell<T> {
    pub(crate) fn new() -> Arc<Self> {
        let slot = Slot { answer: None, is_answered: false, waker: None, waiting: 0, is_abandoned: false };
        Arc::new(Self { slot: Mutex::new(slot), filled: Condvar::new() })
    }

    /// Puts the answer there. What comes after the first one is dropped. What is to be woken is for the caller, since that
    /// may come back here at once.
    pub(crate) fn answer(&self, answer: Result<T>) -> Answered {
        let mut slot = self.lock();
        if slot.is_answered {
            return Answered { waker: None, is_kept: true };
        }
        slot.is_answered = true;
        slot.answer = Some(answer);
        let waker = slot.waker.take();
        let (has_waiting, is_kept) = (slot.waiting > 0, !slot.is_abandoned);
        drop(slot);
        if has_waiting {
            self.filled.notify_all();
        }
        Answered { waker, is_kept }
    }

    /// Waits a while, or until there may be an answer.
    fn wait<'a>(&'a self, mut slot: MutexGuard<'a, Slot<T>>, timeout: Option<Duration>) -> MutexGuard<'a, Slot<T>> {
        slot.waiting += 1;
        let mut slot = match timeout {
            None => self.filled.wait(slot).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => self.filled.wait_timeout(slot, timeout).unwrap_or_else(PoisonError::into_inner).0,
        };
        slot.waiting -= 1;
        slot
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send> Answer for AnswerCell<T> {
    fn fail(&self, error: Error) {
        self.answer(Err(error)).waker.into_iter().for_each(Waker::wake);
    }
}

/// The claim to the answer of one job: its result, or why there is none.
///
/// Wait for it ([`wait`](Self::wait), [`wait_timeout`](Self::wait_timeout)), look now and then
/// ([`try_result`](Self::try_result)), or await it: it is a future too, on any runtime. A ticket that is dropped does not
/// cancel its job.
#[derive(Debug)]
pub struct Ticket<T> {
    id: JobId,
    cell: Arc<AnswerCell<T>>,
    schedule: Weak<Schedule>,
}

impl<T> Ticket<T> {
    pub(crate) fn new(id: JobId, cell: Arc<AnswerCell<T>>, schedule: Weak<Schedule>) -> Self {
        Self { id, cell, schedule }
    }

    /// Waits for the answer, however long that takes. A job with a deadline is answered by then.
    ///
    /// # Errors
    /// What the job failed with; [`Error::Expired`], [`Error::Cancelled`] or [`Error::ShutDown`] when it was not finished;
    /// [`Error::AnswerTaken`] when the answer has been taken from this ticket before.
    pub fn wait(self) -> Result<T> {
        let mut slot = self.cell.lock();
        while !slot.is_answered {
            slot = self.cell.wait(slot, None);
        }
        slot.answer.take().unwrap_or(Err(Error::AnswerTaken))
    }

    /// Waits for the answer so long at most; none when it is not there by then. The ticket stays good.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<T>> {
        let start = Instant::now();
        let mut slot = self.cell.lock();
        while !slot.is_answered {
            let left = timeout.checked_sub(start.elapsed())?;
            slot = self.cell.wait(slot, Some(left));
        }
        Some(slot.answer.take().unwrap_or(Err(Error::AnswerTaken)))
    }

    /// The answer if it is there already.
    pub fn try_result(&mut self) -> Option<Result<T>> {
        let mut slot = self.cell.lock();
        slot.is_answered.then(|| slot.answer.take().unwrap_or(Err(Error::AnswerTaken)))
    }

    /// Gives the job up: it is answered with [`Error::Cancelled`] at once, and what is left of it is not done. False when
    /// it has been answered already. What runs on the device just then runs to its end, and nobody sees it.
    pub fn cancel(&self) -> bool {
        self.schedule.upgrade().is_some_and(|schedule| schedule.cancel(self.id))
    }
}

impl<T> Drop for Ticket<T> {
    /// An answer that is there ends here, on the thread of whoever asked for it.
    fn drop(&mut self) {
        let mut slot = self.cell.lock();
        slot.is_abandoned = true;
        let answer = slot.answer.take();
        drop(slot);
        drop(answer);
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        // Cloning and dropping wakers is the app's own code: not under the lock.
        let waker = context.waker().clone();
        let mut slot = self.cell.lock();
        if slot.is_answered {
            return Poll::Ready(slot.answer.take().unwrap_or(Err(Error::AnswerTaken)));
        }
        let before = slot.waker.replace(waker);
        drop(slot);
        drop(before);
        Poll::Pending
    }
}
