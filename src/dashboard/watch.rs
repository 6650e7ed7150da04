//! Looks at the engine, ten times a second, and keeps what it sees.

use std::sync::Mutex;
use std::time::Duration;

use super::desk::{Shared, lock};
use super::feed::{Feed, FeedFigures};
use super::history::Suggestion;
use super::operator::{Running, engine_of};
use crate::{Engine, PerQos, Qos};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Of those, how many until it is asked for batches again.
const HINTS_EVERY: u32 = 5;

/// Looks at the engine, whatever it is at the moment.
pub(super) fn watch(shared: &Shared, engine: &Mutex<Option<Running>>) {
    let mut hints: Option<PerQos<Suggestion>> = None;
    let mut turn = 0;
    while !shared.quits() {
        if let Some(engine) = engine_of(engine) {
            if turn % HINTS_EVERY == 0 {
                hints = Some(suggestions(shared, &engine));
            }
            look(shared, &engine, hints.as_ref());
        }
        turn += 1;
        shared.rest(LOOK_EVERY);
    }
}

/// How large the next job of each level should be.
fn suggestions(shared: &Shared, engine: &Engine) -> PerQos<Suggestion> {
    let targets = *lock(&shared.targets);
    PerQos::from_fn(|qos: Qos| {
        let hint = engine.suggest_batch(qos, targets[qos]).ok();
        hint.map_or_else(Suggestion::default, |hint| Suggestion { frames: hint.suggested_batch, reason: hint.reason })
    })
}

fn look(shared: &Shared, engine: &Engine, hints: Option<&PerQos<Suggestion>>) {
    match engine.snapshot() {
        Ok(snapshot) => {
            // Before anything is waited for.
            let now_s = shared.now_s();
            let streams: Vec<FeedFigures> = lock(&shared.feeds).iter_mut().map(Feed::figures).collect();
            let mut figures = shared.figures();
            figures.history.add(now_s, snapshot, hints);
            figures.streams = streams;
        }
        Err(error) => shared.complain("looking at the engine", &error),
    }
}
