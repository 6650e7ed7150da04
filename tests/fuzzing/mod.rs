//! Doors that take bytes from outside, given bytes that nobody meant: valid ones that were mutated, for some seconds each.
//!
//! `AURICLE_FUZZ_SECONDS=1800 cargo test fuzzing` goes on for as long as asked for. What libFuzzer does with the same doors,
//! guided by coverage, is in `libfuzzer`; `AURICLE_FUZZ_CORPUS=FOLDER` writes the seeds into it, a folder for each door.

mod inputs;

/// Valid bytes for each door, which mutations begin with.
mod seeds;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::adapter::skipped;
use inputs::{DOORS, Door};

/// What is put into the bytes of a seed, one after the other; places are parts of its length.
#[derive(Clone, Debug)]
enum Mutation {
    Set(f64, u8),
    Flip(f64, u8),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    Repeat(f64, usize),
    Cut(f64),
    Number(f64, u64, usize),
    Join(f64, prop::sample::Index, f64),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = || 0.0..1.0;
    let numbers = prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(0x7FFF_FFFF_FFFF_FFFF),
        Just(0x8000_0000_8000_0000),
        Just(0x7F80_0000_7FC0_0000),
        (0_u32..64).prop_map(|bits| 1 << bits),
        any::<u64>(),
    ];
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (place(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (place(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (place(), 1_usize..40).prop_map(|(at, len)| Mutation::Remove(at, len)),
        (place(), 1_usize..40).prop_map(|(at, len)| Mutation::Repeat(at, len)),
        place().prop_map(Mutation::Cut),
        (place(), numbers, 1_usize..=8).prop_map(|(at, number, len)| Mutation::Number(at, number, len)),
        (place(), any::<prop::sample::Index>(), place()).prop_map(|(at, seed, from)| Mutation::Join(at, seed, from)),
    ]
}

#[expect(clippy::cast_sign_loss, reason = "a place in some bytes")]
fn place(part: f64, len: usize) -> usize {
    (part * (len + 1) as f64) as usize
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation, seeds: &[Vec<u8>]) {
    let end = |at: usize, len: usize, bytes: &[u8]| (at + len).min(bytes.len());
    match mutation {
        Mutation::Set(at, byte) => {
            let at = place(*at, bytes.len());
            bytes.iter_mut().skip(at).take(1).for_each(|old| *old = *byte);
        }
        Mutation::Flip(at, bit) => {
            let at = place(*at, bytes.len());
            bytes.iter_mut().skip(at).take(1).for_each(|old| *old ^= 1 << bit);
        }
        Mutation::Insert(at, new) => {
            let at = place(*at, bytes.len());
            drop(bytes.splice(at..at, new.iter().copied()));
        }
        Mutation::Remove(at, len) => {
            let at = place(*at, bytes.len());
            bytes.drain(at..end(at, *len, bytes));
        }
        Mutation::Repeat(at, len) => {
            let at = place(*at, bytes.len());
            let again = bytes[at..end(at, *len, bytes)].to_vec();
            drop(bytes.splice(at..at, again));
        }
        Mutation::Cut(at) => bytes.truncate(place(*at, bytes.len())),
        Mutation::Number(at, number, len) => {
            let at = place(*at, bytes.len());
            bytes.iter_mut().skip(at).zip(&number.to_le_bytes()[..*len]).for_each(|(old, new)| *old = *new);
        }
        Mutation::Join(at, seed, from) => {
            let other = seed.get(seeds);
            bytes.truncate(place(*at, bytes.len()));
            bytes.extend(&other[place(*from, other.len())..]);
        }
    }
}

/// Bytes that once were answered wrongly.
fn regressions(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzzing/regressions").join(name);
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

/// In threads of the engine and the server, which catch them.
static PANICS_ELSEWHERE: AtomicUsize = AtomicUsize::new(0);

fn count_panics_elsewhere() {
    // Other tests in the same process panic on purpose.
    if std::env::var_os("NEXTEST").is_none() {
        return skipped("panics in other threads, which `cargo nextest` tells apart");
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let elsewhere = ["auricle", "tokio", "fuzz.server"];
        if std::thread::current().name().is_some_and(|name| elsewhere.iter().any(|known| name.starts_with(known))) {
            PANICS_ELSEWHERE.fetch_add(1, Ordering::Relaxed);
        }
        hook(info);
    }));
}

fn knock(name: &str) {
    let (_, door): &(&str, Door) = DOORS.iter().find(|(known, _)| *known == name).expect("the door should be there");
    count_panics_elsewhere();
    let mut seeds = seeds::of(name);
    let accepted = seeds.iter().filter(|seed| door(seed)).count();
    eprintln!("{name}: {accepted} of {} seeds are taken", seeds.len());
    // A graph is made of any bytes, and most bytes make one that does not fit together.
    let least = if name == "graph" { seeds.len() / 8 } else { seeds.len() };
    assert!(accepted >= least, "{name}: {accepted} of {} seeds are taken", seeds.len());
    let kept = regressions(name);
    kept.iter().for_each(|bytes| _ = door(bytes));
    assert_eq!(PANICS_ELSEWHERE.load(Ordering::Relaxed), 0, "{name}: of a seed or a regression");
    seeds.extend(kept);
    if let Some(corpus) = std::env::var_os("AURICLE_FUZZ_CORPUS") {
        let folder = Path::new(&corpus).join(name);
        std::fs::create_dir_all(&folder).expect("the folder should be made");
        for (place, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{place}")), seed).expect("the seed should be written");
        }
    }
    let seconds =
        std::env::var("AURICLE_FUZZ_SECONDS").map_or(3, |seconds| seconds.parse().expect("a number of seconds"));
    let (start, mut tried) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        let config =
            Config { cases: 50, failure_persistence: None, rng_seed: RngSeed::Fixed(tried), ..Config::default() };
        let strategy = (any::<prop::sample::Index>(), vec(mutation(), 1..6));
        let outcome = TestRunner::new(config).run(&strategy, |(seed, mutations)| {
            let mut bytes = seed.get(&seeds).clone();
            mutations.iter().for_each(|mutation| mutate(&mut bytes, mutation, &seeds));
            // The runner tells nothing but the panic's text, and what it was is what is needed.
            let outcome = std::panic::catch_unwind(|| door(&bytes));
            prop_assert!(outcome.is_ok(), "{:?}", String::from_utf8_lossy(&bytes));
            let panics = PANICS_ELSEWHERE.load(Ordering::Relaxed);
            prop_assert_eq!(panics, 0, "of the engine or the server: {:?}", String::from_utf8_lossy(&bytes));
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        tried += 50;
    }
    eprintln!("{name}: {tried} inputs in {:.0?}", start.elapsed());
}

#[test]
fn any_wav() {
    knock("wav");
}

#[test]
fn any_raw_samples() {
    knock("raw");
}

#[test]
fn any_sigmf() {
    knock("sigmf");
}

#[test]
fn any_model() {
    knock("model");
}

#[test]
fn any_policy() {
    knock("policy");
}

#[test]
fn any_snapshot() {
    knock("snapshot");
}

#[test]
fn any_kernel() {
    knock("kernel");
}

#[test]
fn any_graph() {
    knock("graph");
}

#[test]
fn any_request() {
    knock("http");
}

#[test]
fn any_message() {
    knock("websocket");
}
